"""A decode kernel is used only if it agrees with PyTorch's attention and reads nothing past a sequence's length."""

import pytest
import torch

from model_adapters.engine.forward.decode_backends import decode_trial, find_decode_kernel, masked_attention
from model_adapters.engine.memory.layout import AttentionShape

SHAPE = AttentionShape(torch.device("cpu"), torch.float32, 4, 2, 16, 24)


def exact(
    q_BHD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, key_counts_B: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention row by row, over the visible keys only."""
    rows = []
    for row, count in enumerate(key_counts_B.tolist()):
        k_GSD, v_GSE = k_BGSD[row : row + 1, :, :count], v_BGSE[row : row + 1, :, :count]
        counts_B = torch.tensor([count])
        rows.append(masked_attention(q_BHD[row : row + 1, :, None], k_GSD, v_GSE, key_counts_B=counts_B, scale=scale))
    return torch.cat(rows)[:, :, 0]


def test_a_right_kernel_is_taken() -> None:
    assert decode_trial(exact, SHAPE) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda q, k, v, counts, scale: exact(q, k, v, counts, scale * 1.01),
        lambda q, k, v, counts, scale: exact(q, k, v, counts.clamp(max=299), scale),
        # Places that are masked but still read would give NaN.
        lambda q, k, v, counts, scale: masked_attention(q[:, :, None], k, v, key_counts_B=counts, scale=scale)[:, :, 0],
        lambda q, k, v, counts, scale: exact(q.flip(1), k, v, counts, scale),
    ],
)
def test_a_wrong_kernel_is_not(wrong: object) -> None:
    assert decode_trial(wrong, SHAPE) is not None  # type: ignore[arg-type]


def test_a_kernel_that_does_not_run_is_not_taken() -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    assert decode_trial(broken, SHAPE) is not None


def test_there_is_none_on_a_cpu() -> None:
    assert find_decode_kernel(SHAPE) is None
