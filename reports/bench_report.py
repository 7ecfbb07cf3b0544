"""Measurements as tables, each with the hardware's limit and with the other programs that did the same work."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.report import Report, Table

Row = Mapping[str, Any]
OURS = "evalkit"
COLUMNS = ("what", "by", "median", "IQR", "floor", "× floor", "tokens/s", "beyond weights + KV cache", "notes")


def bench_report(record: Mapping[str, Any]) -> Report:
    """The report of a bench record, as its JSON holds it."""
    table = Table(f"bench {record['mode']}", COLUMNS, tuple(_cells(row) for row in record["rows"]))
    notices = ("stopped early: --budget-seconds was used up",) if record["stopped_early"] else ()
    headline = f"bench {record['mode']} · {record['model']}"
    return Report(headline, notices, (table,), tuple(_facts(record)), verdicts=tuple(_verdict(record["rows"])))


def _verdict(rows: Sequence[Row]) -> Iterator[str]:
    """How evalkit's times compare with the floor and with each other program's, in one sentence."""
    timed = [row for row in rows if row["timing"] is not None]
    ours = [row for row in timed if row["by"] == OURS]
    parts = []
    if over := [row["over_floor"] for row in ours if row["over_floor"] is not None]:
        parts.append(f"{_range(over)} times the floor")
    for other in dict.fromkeys(row["by"] for row in timed if row["by"] != OURS):
        theirs = {(row["what"], row["case"]): _median(row) for row in timed if row["by"] == other}
        speed = [
            theirs[row["what"], row["case"]] / _median(row) for row in ours if (row["what"], row["case"]) in theirs
        ]
        if speed:
            parts.append(f"{_range(speed)} times as fast as {other}")
    if parts:
        yield f"{OURS}: {', '.join(parts)}."


def _median(row: Row) -> float:
    return float(row["timing"]["median_seconds"])


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def row_line(row: Row) -> str:
    """One row as a line, printed when it is measured."""
    found = [f"{name} {cell}" for name, cell in zip(COLUMNS[2:-1], _cells(row)[2:-1], strict=True) if cell]
    rest = [row["failure"]] if row["failure"] is not None else []
    return f"{row['what']} {row['case']} · {row['by']}: {' · '.join(found[:1] + found[2:] + rest)}"


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{row['what']} {row['case']}"
    timing = row["timing"]
    if timing is None:
        return (name, row["by"], *("",) * 6, row["failure"] or "")
    spread = timing["third_quartile_seconds"] - timing["first_quartile_seconds"]
    return (
        name,
        row["by"],
        _seconds(timing["median_seconds"]),
        _seconds(spread) if timing["repeats"] > 1 else "",
        "" if row["floor_seconds"] is None else _seconds(row["floor_seconds"]),
        "" if row["over_floor"] is None else f"{row['over_floor']:.2f}",
        "" if row["tokens_per_second"] is None else f"{row['tokens_per_second']:,.0f}",
        "" if row["peak_bytes_above"] is None else _size(row["peak_bytes_above"]),
        _notes(row),
    )


def _notes(row: Row) -> str:
    details = row["details"]
    notes = []
    if "samples_per_minute" in details:
        notes.append(f"{details['samples_per_minute']:,.1f} samples/minute")
    if "error" in details:
        notes.append(f"error {details['error']:.1e}")
    notes += [str(details[name]) for name in ("steps", "agreement", "refused") if name in details]
    return " · ".join([*notes, *([row["failure"]] if row["failure"] is not None else [])])


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("device", f"{record['device']}, {record['dtype']}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in record["versions"].items())),
    ]
    ceilings = record["ceilings"]
    if ceilings is not None:
        # Earlier records have no rates of attention and of reading.
        attention, reading = ceilings.get("attention_flops"), ceilings.get("read_bytes_per_second")
        rates = (
            f"{ceilings['product_flops'] / 1e12:,.2f} TFLOP/s, "
            + (f"{attention / 1e12:,.2f} in attention, " if attention else "")
            + f"{ceilings['copy_bytes_per_second'] / 1e12:.3f} TB/s read and written"
            + (f", {reading / 1e12:.3f} TB/s read" if reading else "")
            + f" ({ceilings['method']})"
        )
        facts.append(("ceilings", rates))
    return [*facts, ("took", f"{record['seconds']:.0f} s")]


def _seconds(seconds: float) -> str:
    """Seconds with four digits, in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds / 1e-6:.4g} µs"


def _size(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
