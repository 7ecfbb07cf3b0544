"""The kernel chooses as PyTorch does, for every kind of row and size of vocabulary."""

import pytest
import torch

from model_adapters.kernels.greedy_choice.choice import reference, sample_logits
from model_adapters.kernels.greedy_choice.triton_choice import PART, choose
from tests.model_adapters.kernels.gated_delta.cases import DEVICE


def test_every_kind_of_row() -> None:
    logits_BV = sample_logits(torch.device(DEVICE))
    found = choose(logits_BV)
    assert torch.equal(found, reference(logits_BV))
    assert found[1:6].tolist() == [-1, -1, -1, 300, 0]


@pytest.mark.parametrize("vocabulary", [1, PART - 1, PART, PART + 1, 3 * PART + 17])
def test_every_size(vocabulary: int) -> None:
    logits_BV = torch.randn(2, vocabulary, generator=torch.Generator().manual_seed(vocabulary)).to(DEVICE)
    logits_BV[1, -1] = 9.0
    assert choose(logits_BV).tolist() == [int(logits_BV[0].argmax()), vocabulary - 1]


def test_what_does_not_fit_is_one_line() -> None:
    rows = torch.zeros(2, 6, device=DEVICE)
    for logits in (rows[0], rows[:, ::2], rows.bfloat16()):
        with pytest.raises(ValueError, match=r"contiguous fp32 rows") as caught:
            choose(logits)
        assert "\n" not in str(caught.value)
