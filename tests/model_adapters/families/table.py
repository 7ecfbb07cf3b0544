"""Measure how the engine runs every causal family, for docs/families.md.

`python -m tests.model_adapters.families.table [FAMILY ...]` measures all families, or some, and writes the table.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import transformers

from tests.model_adapters.families.comparison import Row, compare_family
from tests.model_adapters.families.recipes import CAUSAL_FAMILIES

PATH = Path(__file__).resolve().parents[3] / "docs" / "families.md"
_COLUMNS = ("family", "mixer", "outcome", "reason", "kernel", "bytes per token", "bytes of state")
_HEAD = """# Families

Every causal class of transformers {version}, built small with random weights (fp32, on a CPU) and run in the engine:
log-probabilities in segments that divide no prompt, continuations of a shared prefix and alone, prompts of different
lengths decoded together, generation that ends at an end-of-sequence token. *equal* means that all of them are what
transformers' own forward pass and `generate` give. *refused* is one line before weights are read. *not built* means
that transformers itself does not run the class as a language model of text alone.

A mixer is what layers keep of earlier tokens: full or window attention, a state, or both. Bytes are those of the small
model; bytes per token of a window are paid for at most as many tokens as it has.

`python -m tests.model_adapters.families.table` writes this file; the tests fail if a family does something else.

"""


def table(rows: Iterable[Row]) -> str:
    """The text of the whole file."""
    rows = list(rows)
    counts = Counter(row.outcome for row in rows)
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items(), key=lambda one: -one[1]))
    lines = [f"Of {len(rows)} families: {counted}.", "", _line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    return _HEAD.format(version=transformers.__version__) + "\n".join([*lines, *map(table_line, rows)]) + "\n"


def table_line(row: Row) -> str:
    """A family's line."""
    sizes = ["" if size is None else f"{size:,}" for size in (row.token_bytes, row.state_bytes)]
    return _line([row.family, row.mixer, row.outcome, row.reason.replace("|", "\\|"), row.kernel, *sizes])


def read_lines() -> dict[str, str]:
    """Family -> its line in the file."""
    lines = PATH.read_text(encoding="utf-8").splitlines() if PATH.exists() else []
    named = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    return {family: named[family] for family in CAUSAL_FAMILIES if family in named}


def read_row(line: str) -> Row:
    """The row that a line was written from."""
    parts = line.replace("\\|", "\0").strip("|").split("|")
    family, mixer, outcome, reason, kernel, *sizes = (part.strip().replace("\0", "|") for part in parts)
    token_bytes, state_bytes = (int(size.replace(",", "")) if size else None for size in sizes)
    return Row(family, mixer, outcome, reason, kernel, token_bytes, state_bytes)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure the named families and keep the lines of all others; without names, measure all."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    wanted = sys.argv[1:] or CAUSAL_FAMILIES
    rows = {family: read_row(line) for family, line in read_lines().items()}
    for family in wanted:
        rows[family] = compare_family(family)
        print(table_line(rows[family]), flush=True)
    PATH.write_text(table(rows[family] for family in CAUSAL_FAMILIES if family in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
