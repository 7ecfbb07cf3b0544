"""The chunked reference against a dense softmax in fp64, and the merge of two disjoint sets of keys."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.kernels.chunked_attention.reference import chunked_attention, merge_attention


def dense_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    *,
    offset_B: torch.Tensor,
    window: int | None,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with all scores at once, in the inputs' dtype; a query that sees no key gives zeros and -inf."""
    groups = q_BHTD.shape[1] // k_BGSD.shape[1]
    k_BHSD, v_BHSE = (x.repeat_interleave(groups, dim=1) for x in (k_BGSD, v_BGSE))
    position_BT1 = offset_B[:, None, None] + torch.arange(q_BHTD.shape[2])[:, None]
    key_S = torch.arange(k_BGSD.shape[2])
    visible_BTS = key_S <= position_BT1
    if window is not None:
        visible_BTS &= key_S > position_BT1 - window
    score_BHTS = (q_BHTD @ k_BHSD.transpose(-1, -2) * scale).masked_fill(~visible_BTS[:, None], -math.inf)
    weight_BHTS = score_BHTS.softmax(-1).nan_to_num(0.0)
    return weight_BHTS @ v_BHSE, score_BHTS.logsumexp(-1)


def random_qkv(
    seed: int, *, B: int, G: int, R: int, T: int, S: int, D: int, E: int, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (B, G * R, T, D), (B, G, S, D), (B, G, S, E)
    # Scores of a few units, so that weights differ by orders of magnitude.
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
    return 3 * q, k, v


@given(
    seed=st.integers(0, 2**32 - 1),
    B=st.integers(1, 3),
    G=st.integers(1, 3),
    R=st.integers(1, 3),
    T=st.integers(1, 40),
    S=st.integers(1, 90),
    window=st.one_of(st.none(), st.integers(1, 100)),
    block_tokens=st.integers(1, 50),
    data=st.data(),
)
@settings(max_examples=120, deadline=None)
def test_equals_dense_softmax_in_fp64(
    seed: int,
    B: int,
    G: int,
    R: int,
    T: int,
    S: int,
    window: int | None,
    block_tokens: int,
    data: st.DataObject,
) -> None:
    offsets = data.draw(st.one_of(st.integers(0, S), st.lists(st.integers(0, S), min_size=B, max_size=B)))
    q, k, v = random_qkv(seed, B=B, G=G, R=R, T=T, S=S, D=8, E=5)
    offset_B = torch.tensor(offsets).expand(B)
    found = chunked_attention(
        q,
        k,
        v,
        query_offset=offsets if isinstance(offsets, int) else offset_B,
        window=window,
        scale=0.3,
        block_tokens=block_tokens,
    )
    expected = dense_attention(q, k, v, offset_B=offset_B, window=window, scale=0.3)
    torch.testing.assert_close(found[0], expected[0], atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(found[1], expected[1], atol=1e-11, rtol=1e-11)


def test_places_after_the_query_are_never_read() -> None:
    q, k, v = random_qkv(1, B=2, G=1, R=2, T=1, S=30, D=4, E=4)
    lengths = torch.tensor([7, 20])
    expected, _ = chunked_attention(q, k, v, query_offset=lengths, block_tokens=8)
    for row, length in enumerate(lengths.tolist()):
        k[row, :, length + 1 :] = 1e3
        v[row, :, length + 1 :] = 1e3
    found, _ = chunked_attention(q, k, v, query_offset=lengths, block_tokens=8)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_large_scores_do_not_overflow() -> None:
    q, k, v = random_qkv(2, B=1, G=1, R=1, T=5, S=64, D=4, E=4, dtype=torch.float32)
    out, lse = chunked_attention(1e3 * q, k, v, query_offset=59, block_tokens=16)
    expected = dense_attention(
        1e3 * q.double(), k.double(), v.double(), offset_B=torch.tensor([59]), window=None, scale=0.5
    )
    torch.testing.assert_close(out.double(), expected[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(lse.double(), expected[1], atol=1e-2, rtol=1e-5)


def test_half_precision_is_summed_in_fp32() -> None:
    q, k, v = random_qkv(3, B=1, G=2, R=2, T=33, S=700, D=16, E=16, dtype=torch.bfloat16)
    out, lse = chunked_attention(q, k, v, query_offset=667)
    expected = dense_attention(
        q.double(), k.double(), v.double(), offset_B=torch.tensor([667]), window=None, scale=0.25
    )
    assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(out.double(), expected[0], atol=8e-3, rtol=8e-3)
    torch.testing.assert_close(lse.double(), expected[1], atol=1e-4, rtol=1e-5)


def test_heads_that_do_not_group_are_refused() -> None:
    q, k, v = random_qkv(4, B=1, G=2, R=1, T=1, S=4, D=4, E=4)
    with pytest.raises(ValueError, match="3 query heads cannot share 2"):
        chunked_attention(torch.cat([q, q[:, :1]], dim=1), k, v, query_offset=3)


@given(seed=st.integers(0, 2**32 - 1), T=st.integers(1, 20), S=st.integers(2, 60), data=st.data())
@settings(max_examples=60, deadline=None)
def test_merge_equals_attention_over_all_keys(seed: int, T: int, S: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, S - 1))
    q, k, v = random_qkv(seed, B=1, G=2, R=2, T=T, S=S, D=8, E=8)
    everything = chunked_attention(q, k, v, query_offset=S)
    merged = merge_attention(
        chunked_attention(q, k[:, :, :cut], v[:, :, :cut], query_offset=S),
        chunked_attention(q, k[:, :, cut:], v[:, :, cut:], query_offset=S),
    )
    torch.testing.assert_close(merged[0], everything[0], atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(merged[1], everything[1], atol=1e-11, rtol=1e-11)


def test_merge_with_a_side_that_saw_nothing() -> None:
    out, lse = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3)
    nothing = torch.zeros_like(out), torch.full_like(lse, -math.inf)
    for merged in (merge_attention((out, lse), nothing), merge_attention(nothing, (out, lse))):
        torch.testing.assert_close(merged[0], out)
        torch.testing.assert_close(merged[1], lse)
    both = merge_attention(nothing, nothing)
    assert torch.equal(both[0], nothing[0])
    assert torch.equal(both[1], nothing[1])


def test_merge_keeps_nan() -> None:
    out, lse = torch.full((1, 1, 1, 2), math.nan), torch.zeros(1, 1, 1)
    assert merge_attention((out, lse), (torch.ones(1, 1, 1, 2), lse))[0].isnan().all()
