"""What counts as the same result."""

import torch

from model_adapters.kernels.trial import agrees, gap


def test_the_gap_is_relative() -> None:
    expected = torch.tensor([3.0, 4.0])
    assert gap(expected * 1.25, expected) == 0.25
    assert gap(1e-3 * expected, 1e-3 * expected) == 0.0


def test_what_a_number_format_allows() -> None:
    expected = torch.ones(100)
    assert agrees(expected * (1 + 5e-6), expected)
    assert not agrees(expected * (1 + 5e-5), expected)
    assert agrees(expected * 1.01, expected, torch.bfloat16)
    assert not agrees(expected.double(), expected.double() + 1e-9)  # no kernel is in fp64
    assert not agrees(torch.full((100,), torch.nan), expected)
    assert not agrees(torch.ones(99), expected)
