"""The merge kernel against the PyTorch form."""

import pytest
import torch

from model_adapters.kernels.chunked_attention.reference import merge_attention
from model_adapters.kernels.chunked_attention.triton_merge import merge_outputs
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "size"), [(1, 16), (33, 24), (64, 128)])
def test_merges(tokens: int, size: int, dtype: torch.dtype) -> None:
    generator = torch.Generator(DEVICE).manual_seed(tokens)
    normal = {"device": DEVICE, "generator": generator}
    a = torch.randn(2, tokens, 3, size, **normal).to(dtype).transpose(1, 2)
    b = torch.randn(2, 3, tokens, size, **normal).to(dtype)
    a_lse, b_lse = (20 * torch.randn(2, 3, tokens, **normal) for _ in range(2))
    a_lse[0, 0, 0], b_lse[1, 1, 0] = -torch.inf, -torch.inf
    a[1, 2, 0], b[1, 2, 0], a_lse[1, 2, 0], b_lse[1, 2, 0] = 0, 0, -torch.inf, -torch.inf
    expected, _ = merge_attention((a.double(), a_lse.double()), (b.double(), b_lse.double()))
    found = merge_outputs(a, a_lse, b, b_lse)
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
            merge_outputs(*arguments)
        assert "\n" not in str(caught.value)
