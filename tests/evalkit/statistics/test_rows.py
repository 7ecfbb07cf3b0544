"""Rows of few samples carry a warning."""

import pytest

from evalkit.records import ResultRow
from evalkit.statistics.rows import row_warnings


def row(metric: str, n: int, value: float | None = 50.0) -> ResultRow:
    return ResultRow("task", 4096, metric, value, n, None)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("all", 6), row("all", 500), row("bits_per_byte", 10)], ()),
        (
            [row("all", 5), row("all", 6), row("all", 0, None)],
            ("fewer than 6 samples in 1 of 2 rows: these rows alone cannot show a difference from another run",),
        ),
        (
            [row("bits_per_byte", 9)],
            ("fewer than 10 windows in 1 of 1 rows of losses: their intervals are too narrow if losses are lopsided",),
        ),
    ],
)
def test_few_samples_carry_a_warning(rows: list[ResultRow], expected: tuple[str, ...]) -> None:
    assert row_warnings(rows) == expected
