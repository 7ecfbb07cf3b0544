"""Queries and keys normalized over all heads and rotated, against the two operators in sequence in fp64."""

import pytest
import torch

from model_adapters.kernels.elementwise import reference
from model_adapters.kernels.elementwise.triton_norm_rotate import norm_rotate
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return torch.randn(*shape, device=DEVICE, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "size", "sequences", "rows"), [(4, 4, 16, 1, 1), (6, 2, 24, 3, 3)])
def test_both_in_one_pass(
    heads: int, kv_heads: int, size: int, sequences: int, rows: int, rotated: bool, dtype: torch.dtype
) -> None:
    tokens = 5
    # Slices of one product, as projections produce them.
    both = normal(sequences, tokens, (heads + kv_heads) * size + 3, dtype=dtype)
    sides = both[..., : heads * size], both[..., heads * size : (heads + kv_heads) * size]
    weights = normal(heads * size, dtype=dtype, seed=1), normal(kv_heads * size, dtype=dtype, seed=2)
    angle = normal(rows, tokens, size, seed=3)
    found = norm_rotate(
        *sides,
        q_weight_X=weights[0],
        k_weight_Y=weights[1],
        epsilon=1e-5,
        head_size=size,
        cos_sin=(angle.cos(), angle.sin()) if rotated else None,
    )
    for out_BTHD, x, weight in zip(found, sides, weights, strict=True):
        expected = reference.rms_norm(x.double(), weight, epsilon=1e-5, gate=None)
        expected = expected.view(sequences, tokens, -1, size).transpose(1, 2)
        if rotated:
            expected = reference.rotate(expected, angle.cos().double(), angle.sin().double())
        assert out_BTHD.dtype == dtype
        assert out_BTHD.is_contiguous()
        assert gap(out_BTHD.transpose(1, 2), expected) <= 2 * TOLERANCE[dtype]


@pytest.mark.parametrize("queries", [0, 2])
def test_queries_of_the_last_tokens_only(queries: int) -> None:
    q, k, weights, angle = normal(1, 5, 24), normal(1, 5, 16, seed=1), normal(24, seed=2), normal(1, 5, 8, seed=3)
    more = {"q_weight_X": weights, "k_weight_Y": weights[:16], "epsilon": 1e-5, "head_size": 8}
    tables = angle.cos(), angle.sin()
    whole = norm_rotate(q, k, **more, cos_sin=tables)  # type: ignore[arg-type]
    found = norm_rotate(q[:, 5 - queries :], k, **more, cos_sin=tables)  # type: ignore[arg-type]
    assert torch.equal(found[0], whole[0][:, 5 - queries :])
    assert torch.equal(found[1], whole[1])


def test_what_does_not_fit_is_one_line() -> None:
    q, k, weight = normal(1, 2, 16), normal(1, 2, 8), normal(16)
    table = normal(1, 2, 8)
    for sides, weights, head_size, tables in (
        ((q, k[:, :1]), (weight, weight[:8]), 8, None),  # more queries than keys
        ((q, k), (weight, weight), 8, None),
        ((q, k.double()), (weight, weight[:8]), 8, None),
        ((q, k), (weight, weight[:8]), 6, None),
        ((q, k), (weight, weight[:8]), 8, (table[:, :1], table)),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            norm_rotate(
                *sides,
                q_weight_X=weights[0],
                k_weight_Y=weights[1],
                epsilon=1e-6,
                head_size=head_size,
                cos_sin=tables,
            )
        assert "\n" not in str(caught.value)
