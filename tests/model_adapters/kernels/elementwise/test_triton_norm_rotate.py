"""Queries and keys normalized over all heads and rotated, against the two operators in sequence in fp64."""

import pytest
import torch

from model_adapters.kernels.elementwise import reference
from model_adapters.kernels.elementwise.triton_norm_rotate import norm_rotate, norm_rotate_store
from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.key_value.triton_store import store_tokens
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "size", "value_size"), [(4, 4, 16, 16), (6, 2, 24, 40), (3, 3, 8, 8)])
@pytest.mark.parametrize("positions", [(4,), (0, 6, 7 * 3 + 2)])
def test_tokens_stored_in_the_same_launch(
    positions: tuple[int, ...],
    heads: int,
    kv_heads: int,
    size: int,
    value_size: int,
    rotated: bool,
    dtype: torch.dtype,
) -> None:
    """Keys, values and queries are, bit by bit, those of the separate launches, and all other places stay."""
    sequences, slots, ring = len(positions), 4, 7
    widths = heads * size, kv_heads * size, kv_heads * value_size
    product = normal(sequences, sum(widths) + 5, dtype=dtype)
    q, k, v = (part.contiguous() if sequences == 1 else part for part in product.split([*widths, 5], dim=1)[:3])
    angle = normal(sequences, size, seed=3)
    options = {
        "q_weight_X": normal(widths[0], dtype=dtype, seed=1),
        "k_weight_Y": normal(widths[1], dtype=dtype, seed=2),
        "epsilon": 1e-5,
        "head_size": size,
    }
    tables = (angle.cos(), angle.sin()) if rotated else None
    kept = [normal(slots, kv_heads, ring, width, dtype=dtype, seed=4) for width in (size, value_size)]
    position = torch.tensor(positions, device=DEVICE)
    apart = [x.clone() for x in kept]
    batched = None if tables is None else (tables[0][None], tables[1][None])
    expected, key = norm_rotate(q[None], k[None], **options, cos_sin=batched)  # type: ignore[arg-type]
    store_tokens(key[0], v.view(sequences, kv_heads, value_size), TokenPlaces(apart[0], apart[1], position))
    found = norm_rotate_store(
        q,
        k,
        v,
        **options,  # type: ignore[arg-type]
        cos_sin=tables,
        places=TokenPlaces(kept[0], kept[1], position),
    )
    assert torch.equal(found, expected[0])
    assert torch.equal(kept[0], apart[0])
    assert torch.equal(kept[1], apart[1])


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


def test_tokens_that_do_not_fit_their_places_are_one_line() -> None:
    q, kv, weight, cache = normal(2, 16), normal(2, 8), normal(16), normal(3, 1, 5, 8)
    position, table = torch.tensor([1, 2], device=DEVICE), normal(2, 8)
    for sides, places, tables in (
        ((q[:1], kv, kv), TokenPlaces(cache, cache, position), None),
        ((q, kv, kv[:, :4]), TokenPlaces(cache, cache, position), None),
        ((q, kv, kv), TokenPlaces(cache.half(), cache, position), None),
        ((q, kv, kv), TokenPlaces(cache[:1], cache[:1], position), None),
        ((q, kv, kv), TokenPlaces(cache, cache, position[:1]), None),
        ((q, kv, kv), TokenPlaces(cache, cache, position), (table[:1], table)),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            norm_rotate_store(
                *sides,
                q_weight_X=weight,
                k_weight_Y=weight[:8],
                epsilon=1e-6,
                head_size=8,
                cos_sin=tables,
                places=places,
            )
        assert "\n" not in str(caught.value)
