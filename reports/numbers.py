"""Numbers as tables show them: values with intervals, differences, counts."""

from collections.abc import Iterable

from evalkit.records.results import Interval


def decimals(unit: str) -> int:
    """Decimals of a value: one for points, four for losses."""
    return 1 if unit == "points" else 4


def figure(value: float | None, unit: str) -> str:
    """A value without its unit; `-` if there is none."""
    return "-" if value is None else f"{value:.{decimals(unit)}f}"


def measured(
    value: float | None, ci95: Interval | None, places: int, remarks: Iterable[str] = (), *, missing: str = "unscored"
) -> str:
    """A value with its interval and remarks, such as `61.2 [54.0, 68.5] (2 errored)`."""
    shown = missing if value is None else f"{value:.{places}f}{between(ci95, places)}"
    noted = ", ".join(filter(None, remarks))
    return f"{shown} ({noted})" if noted else shown


def between(ci95: Interval | None, places: int) -> str:
    """An interval behind a value, with the space between them; empty if there is none."""
    return "" if ci95 is None else f" [{ci95[0]:.{places}f}, {ci95[1]:.{places}f}]"


def left_out(errors: int, unscored: int) -> list[str]:
    """Remarks on the samples that have no score."""
    return [f"{count} {name}" for count, name in ((errors, "errored"), (unscored, "unscored")) if count]


def tested_length(tokens: float, lengths: Iterable[int]) -> str:
    """An effective length, as far as the lengths that were run can say; 0 is less than all of them."""
    tested = [length for length in lengths if length]
    if not tested:
        return f"{tokens:,.0f}" if tokens else "below the shortest length"
    if not tokens:
        return f"below {min(tested):,}, the shortest tested"
    return f"at least {tokens:,.0f}, the longest tested" if tokens >= max(tested) else f"{tokens:,.0f}"


def signed(value: float | None, interval: Interval | None, unit: str) -> str:
    """A difference with its interval."""
    if value is None:
        return "-"
    return _with_sign(value, unit) + signed_interval(interval, unit)


def signed_interval(interval: Interval | None, unit: str) -> str:
    """The interval of a difference behind its value, with the space between them; empty if there is none."""
    return "" if interval is None else f" [{_with_sign(interval[0], unit)}, {_with_sign(interval[1], unit)}]"


def _with_sign(value: float, unit: str) -> str:
    places = decimals(unit)
    # Rounded first, so that what rounds to zero has no minus.
    return f"{round(value, places) + 0.0:+.{places}f}"


def amount(value: float, unit: str) -> str:
    """A time or an amount of memory, in a readable unit."""
    return f"{value / 2**30:.2f} GiB" if unit == "bytes" else f"{value:.3g} {unit}"


def duration(seconds: float) -> str:
    """A time for readers: `45 s`, `2 min 05 s`, `1 h 20 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
