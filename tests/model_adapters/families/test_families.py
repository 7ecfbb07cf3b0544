"""Every causal family of transformers behaves in the engine as docs/families.md states, and the file is complete."""

import pytest

from tests.model_adapters.families.comparison import compare_family
from tests.model_adapters.families.recipes import CAUSAL_FAMILIES
from tests.model_adapters.families.table import PATH, read_lines, read_row, table, table_line
from tests.model_adapters.preflight.other_families import UNUSUAL_FAMILIES


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_family(family: str) -> None:
    assert table_line(compare_family(family)) == read_lines()[family]


@pytest.mark.parametrize("family", UNUSUAL_FAMILIES)
def test_the_file_states_that_unusual_families_are_right(family: str) -> None:
    """A table written anew after a fault would state the fault."""
    assert read_row(read_lines()[family]).outcome == "equal"


def test_the_file_is_the_table_of_all_families() -> None:
    lines = read_lines()
    assert tuple(lines) == CAUSAL_FAMILIES
    assert table(map(read_row, lines.values())) == PATH.read_text(encoding="utf-8")
