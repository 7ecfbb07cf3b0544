from hypothesis import given
from hypothesis import strategies as st

from model_adapters.kernels.sizes import cdiv, next_power_of_2


@given(count=st.integers(0, 2**40), size=st.integers(1, 2**20))
def test_blocks_hold_all_items_and_none_is_empty(count: int, size: int) -> None:
    assert (cdiv(count, size) - 1) * size < count <= cdiv(count, size) * size


@given(st.integers(1, 2**40))
def test_power_of_2_is_the_lowest_that_is_not_below(count: int) -> None:
    power = next_power_of_2(count)
    assert power.bit_count() == 1
    assert power // 2 < count <= power


def test_power_of_2_for_nothing() -> None:
    assert next_power_of_2(0) == 1
