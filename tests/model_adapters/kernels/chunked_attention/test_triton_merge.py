"""The merge kernel against the PyTorch form."""

from functools import reduce

import pytest
import torch

from model_adapters.kernels.chunked_attention.reference import merge_attention
from model_adapters.kernels.chunked_attention.triton_merge import merge_outputs
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "size", "more"), [(1, 16, 0), (33, 24, 1), (64, 128, 3)])
def test_merges(tokens: int, size: int, more: int, dtype: torch.dtype) -> None:
    generator = torch.Generator(DEVICE).manual_seed(tokens)
    normal = {"device": DEVICE, "generator": generator}
    a = torch.randn(2, tokens, 3, size, **normal).to(dtype).transpose(1, 2)
    b = torch.randn(2, 3, tokens, size, **normal).to(dtype)
    a_lse, b_lse = (20 * torch.randn(2, 3, tokens, **normal) for _ in range(2))
    a_lse[0, 0, 0], b_lse[1, 1, 0] = -torch.inf, -torch.inf
    a[1, 2, 0], b[1, 2, 0], a_lse[1, 2, 0], b_lse[1, 2, 0] = 0, 0, -torch.inf, -torch.inf
    parts = [(a, a_lse), (b, b_lse)]
    parts += [(torch.randn_like(b), 20 * torch.randn_like(a_lse)) for _ in range(more)]
    expected, _ = reduce(merge_attention, [(out.double(), lse.double()) for out, lse in parts])
    found = merge_outputs(parts)
    assert found.transpose(1, 2).is_contiguous()
    assert gap(found, expected) <= TOLERANCE[dtype]


def test_what_does_not_fit_is_one_line() -> None:
    out, lse = torch.zeros(1, 1, 4, 8, device=DEVICE), torch.zeros(1, 1, 4, device=DEVICE)
    for arguments in (
        (out, lse, out[:, :, :3], lse),
        (out, lse[..., :3], out, lse),
        (out.transpose(2, 3), lse, out, lse),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            merge_outputs([arguments[:2], arguments[2:]])
        assert "\n" not in str(caught.value)
