"""The attention kernels against a dense fp64 softmax."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.kernels.chunked_attention import triton_decode
from model_adapters.kernels.chunked_attention.triton_decode import (
    DecodeAttentionLaunch,
    choose_decode_attention_launch,
    decode_attention,
)
from model_adapters.kernels.chunked_attention.triton_prefill import AttentionLaunch, prefill_attention
from model_adapters.kernels.trial import gap

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# bf16 products are wrong in Triton's interpreter, so on a CPU only fp32 is tested.
DTYPES = (torch.float32, torch.bfloat16) if DEVICE == "cuda" else (torch.float32,)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-3}
on_gpu = pytest.mark.skipif(DEVICE != "cuda", reason="needs a GPU: too large for the interpreter")


def dense(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, position_BT: torch.Tensor, window: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention and log-sum-exp by one fp64 softmax, for queries at the given positions."""
    group = q_BHTD.shape[1] // k_BGSD.shape[1]
    k, v = (x.double().repeat_interleave(group, dim=1) for x in (k_BGSD, v_BGSE))
    scores = q_BHTD.double() @ k.transpose(-1, -2) * q_BHTD.shape[-1] ** -0.5
    key_S = torch.arange(k.shape[2], device=k.device)
    seen_BTS = key_S <= position_BT[..., None]
    if window is not None:
        seen_BTS &= key_S > position_BT[..., None] - window
    scores = scores.masked_fill(~seen_BTS[:, None], -torch.inf)
    return scores.softmax(-1).nan_to_num(0.0) @ v, scores.logsumexp(-1)


def random_qkv(
    query_tokens: int,
    keys: int,
    *,
    sequences: int = 1,
    heads: int = 2,
    key_heads: int = 1,
    size: int = 32,
    value_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q as a transposed projection; keys and values as views of a longer cache whose unused places are NaN."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    normal = {"device": DEVICE, "generator": generator}
    value_size = size if value_size is None else value_size
    q = torch.randn(sequences, query_tokens, heads, size, **normal).to(dtype).transpose(1, 2)
    cache_k = torch.randn(sequences, keys + 40, key_heads, size, **normal).to(dtype).transpose(1, 2)
    cache_v = torch.randn(sequences, key_heads, keys + 40, value_size, **normal).to(dtype)
    cache_k[:, :, keys:], cache_v[:, :, keys:] = torch.nan, torch.nan
    return q, cache_k[:, :, :keys], cache_v[:, :, :keys]


def assert_prefill_right(
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    query_offset: int,
    window: int | None = None,
    launch: AttentionLaunch | None = None,
) -> None:
    q, k, v = qkv
    position = query_offset + torch.arange(q.shape[2], device=DEVICE).expand(q.shape[0], -1)
    truth, truth_lse = dense(q, k, v, position, window)
    out = torch.full((*q.shape[:3], v.shape[-1]), torch.nan, dtype=q.dtype, device=DEVICE)
    out, lse = prefill_attention(q, k, v, query_offset=query_offset, window=window, out_BHTE=out, launch=launch)
    assert gap(out, truth) <= TOLERANCE[q.dtype]
    torch.testing.assert_close(lse.double(), truth_lse, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 50])
@pytest.mark.parametrize(
    ("query_tokens", "cached"), [(1, 0), (65, 0), (33, 100), (64, 64), pytest.param(1000, 7192, marks=on_gpu)]
)
def test_a_segment_against_a_cache(query_tokens: int, cached: int, window: int | None, dtype: torch.dtype) -> None:
    qkv = random_qkv(query_tokens, cached + query_tokens, dtype=dtype)
    assert_prefill_right(qkv, cached, window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "value_size"), [(64, 64), (80, 48), (96, 96), (128, 128), (256, 256)])
def test_head_sizes_and_grouped_heads(size: int, value_size: int, dtype: torch.dtype) -> None:
    qkv = random_qkv(40, 90, sequences=2, heads=4, key_heads=2, size=size, value_size=value_size, dtype=dtype)
    assert_prefill_right(qkv, 50)
    assert_prefill_right(qkv, 50, window=17)
    if size < 256:
        fetched = AttentionLaunch(query_block=32, key_block=32, warps=4, stages=1, descriptors=True)
        assert_prefill_right(qkv, 50, window=17, launch=fetched)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descriptors", [False, True])
@pytest.mark.parametrize("window", [None, 1, 70, 128, 200])
def test_first_keys_in_tensors_of_their_own(window: int | None, descriptors: bool, dtype: torch.dtype) -> None:
    q, k, v = random_qkv(50, 128 + 60, dtype=dtype)
    launch = AttentionLaunch(query_block=32, key_block=32, warps=4, stages=1, descriptors=descriptors)
    old = k[:, :, :128].clone(), v[:, :, :128].clone()
    k[:, :, :128], v[:, :, :128] = torch.nan, torch.nan
    found = prefill_attention(
        q, k[:, :, 128:], v[:, :, 128:], query_offset=138, window=window, before=old, launch=launch
    )
    keys, values = torch.cat([old[0], k[:, :, 128:]], dim=2), torch.cat([old[1], v[:, :, 128:]], dim=2)
    whole = prefill_attention(q, keys, values, query_offset=138, window=window, launch=launch)
    # The same blocks in the same order; a GPU's compiler may still order operations differently.
    assert all(gap(*pair) <= (0.0 if DEVICE == "cpu" else TOLERANCE[dtype]) for pair in zip(found, whole, strict=True))
    assert_prefill_right((q, keys, values), 138, window, launch)


def test_first_keys_that_do_not_fit_are_one_line() -> None:
    q, k, v = random_qkv(5, 300)
    for keys, values, offset in ((k[:, :, :100], v[:, :, :100], 200), (k[:, :, :128], v[:, :, :128], 100),
                                 (k[:, :, :128], v[:, :, :128, :16], 200)):  # fmt: skip
        with pytest.raises(ValueError, match="before those of the segment") as caught:
            prefill_attention(q, k, v, query_offset=offset, before=(keys, values))
        assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    query_tokens=st.integers(1, 70),
    keys=st.integers(1, 120),
    query_offset=st.integers(0, 150),
    window=st.one_of(st.none(), st.integers(1, 130)),
    descriptors=st.booleans(),
)
def test_any_offset_and_window(
    query_tokens: int, keys: int, query_offset: int, window: int | None, descriptors: bool
) -> None:
    small = AttentionLaunch(query_block=32, key_block=16, warps=4, stages=1, descriptors=descriptors)
    q, k, v = random_qkv(query_tokens, keys, heads=1, size=16)
    if window is not None and query_offset - window + 1 >= keys:
        out, lse = prefill_attention(q, k, v, query_offset=query_offset, window=window, launch=small)
        assert (out == 0).all()
        assert (lse == -torch.inf).all()
    else:
        assert_prefill_right((q, k, v), query_offset, window, small)


def test_the_result_lies_as_the_output_projection_reads_it() -> None:
    out, _ = prefill_attention(*random_qkv(5, 5), query_offset=0)
    assert out.transpose(1, 2).is_contiguous()


def test_a_shifted_offset_is_noticed() -> None:
    q, k, v = random_qkv(20, 60)
    out, _ = prefill_attention(q, k, v, query_offset=40)
    shifted, _ = prefill_attention(q, k, v, query_offset=30)
    assert gap(shifted, out) > 0.05


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("heads", [(4, 4), (8, 1)])
def test_decode_reads_each_length(heads: tuple[int, int], window: int | None, dtype: torch.dtype) -> None:
    keys = 20_000 if DEVICE == "cuda" else 300
    q, k, v = random_qkv(1, keys, sequences=4, heads=heads[0], key_heads=heads[1], size=48, dtype=dtype)
    counts = torch.tensor([1, 65, keys // 2, keys], device=DEVICE, dtype=torch.int32)
    truth, truth_lse = dense(q, k, v, counts[:, None] - 1, window)
    # Places past a sequence's length may hold any value.
    k, v = k.clone(), v.clone()
    for row, count in enumerate(counts.tolist()):
        k[row, :, count:], v[row, :, count:] = torch.nan, torch.nan
    for splits in (1, 7):
        out = torch.full((*q.shape[:2], 48), torch.nan, dtype=dtype, device=DEVICE)
        launch = DecodeAttentionLaunch(splits=splits, key_block=32, stages=2)
        out, lse = decode_attention(q[:, :, 0], k, v, key_counts_B=counts, window=window, out_BHE=out, launch=launch)
        assert gap(out, truth[:, :, 0]) <= TOLERANCE[dtype]
        torch.testing.assert_close(lse.double(), truth_lse[:, :, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("sequences", "key_heads", "splits"),
    [
        (1, 30, 8),
        (1, 1, 128),
        (1, 8, 33),
        (2, 30, 4),
        (4, 32, 2),
        (8, 30, 2),
        (8, 32, 1),
        (9, 30, 8),
        (12, 30, 2),
        (256, 30, 1),
    ],
)
def test_keys_are_split_so_that_rounds_of_programs_are_nearly_full(sequences: int, key_heads: int, splits: int) -> None:
    launch = choose_decode_attention_launch(
        sequences=sequences, key_heads=key_heads, head_size=128, dtype=torch.bfloat16, device=torch.device("cpu")
    )
    assert launch.splits == splits


@pytest.mark.parametrize(
    ("shared_bytes", "size", "dtype", "block"),
    [
        (227 * 1024, 128, torch.bfloat16, 128),
        (99 * 1024, 128, torch.bfloat16, 64),
        (227 * 1024, 256, torch.bfloat16, 32),
        (227 * 1024, 64, torch.float32, 32),
    ],
)
def test_blocks_of_keys_fit_the_device(
    shared_bytes: int, size: int, dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_decode, "_shared_bytes", lambda device: shared_bytes)
    launch = choose_decode_attention_launch(
        sequences=1, key_heads=8, head_size=size, dtype=dtype, device=torch.device("cpu")
    )
    assert launch.key_block == block
    bytes_per_key = 2 * size * dtype.itemsize
    assert launch.stages * launch.key_block * bytes_per_key <= shared_bytes


@pytest.mark.parametrize("size", [64, 128, 256])
def test_decode_head_sizes_with_the_chosen_launch(size: int) -> None:
    q, k, v = random_qkv(1, 70, heads=4, key_heads=2, size=size)
    truth, _ = dense(q, k, v, torch.tensor([[69]], device=DEVICE), None)
    out, _ = decode_attention(q[:, :, 0], k, v, key_counts_B=torch.tensor([70], device=DEVICE))
    assert gap(out, truth[:, :, 0]) <= 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [(3, 3), (4, 2)])
def test_parts_merged_by_the_last_program(
    heads: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a second launch, again and again, for lengths that leave some of the parts without keys."""
    keys = 20_000 if DEVICE == "cuda" else 150
    q, k, v = random_qkv(1, keys, sequences=4, heads=heads[0], key_heads=heads[1], size=48, dtype=dtype)
    counts = torch.tensor([1, 0, keys // 2, keys], device=DEVICE, dtype=torch.int32)
    launch = DecodeAttentionLaunch(splits=5, key_block=32, stages=2)
    arrivals = triton_decode._arrivals(q.device)
    out, lse = decode_attention(q[:, :, 0], k, v, key_counts_B=counts, launch=launch)
    for _ in range(200 if DEVICE == "cuda" else 1):
        again = decode_attention(q[:, :, 0], k, v, key_counts_B=counts, launch=launch)
        assert torch.equal(again[0], out)
        assert torch.equal(again[1], lse)
    assert not arrivals.any()
    monkeypatch.setattr(triton_decode, "MERGED_AT_ONCE", 0)
    monkeypatch.setattr(triton_decode, "_arrivals", lambda device: pytest.fail("a second launch should merge"))
    apart, apart_lse = decode_attention(q[:, :, 0], k, v, key_counts_B=counts, launch=launch)
    assert gap(out, apart) <= TOLERANCE[dtype] / 10
    torch.testing.assert_close(lse, apart_lse, rtol=1e-5, atol=1e-5)


def test_a_sequence_without_keys_gives_zeros() -> None:
    q, k, v = random_qkv(1, 40, sequences=2)
    out, lse = decode_attention(q[:, :, 0], k, v, key_counts_B=torch.tensor([0, 40], device=DEVICE))
    assert (out[0] == 0).all()
    assert (lse[0] == -torch.inf).all()
    assert out[1].isfinite().all()


@pytest.mark.parametrize("change", ["heads", "dtype", "stride", "size", "window", "values", "offset"])
def test_what_does_not_fit_is_one_line(change: str) -> None:
    q, k, v = random_qkv(3, 10)
    offset, window = 7, None
    if change == "heads":
        q = torch.cat([q, q[:, :1]], dim=1)
        k = v = torch.cat([k] * 2, dim=1)
    elif change == "dtype":
        q = q.double()
    elif change == "stride":
        k = k.transpose(-1, -2).contiguous().transpose(-1, -2)
    elif change == "size":
        q, k = torch.zeros(1, 2, 3, 300, device=DEVICE), torch.zeros(1, 1, 10, 300, device=DEVICE)
    elif change == "window":
        window = 0
    elif change == "values":
        v = v[:, :, :-1]
    elif change == "offset":
        offset = -1
    with pytest.raises(ValueError, match=r"\S+") as caught:
        prefill_attention(q, k, v, query_offset=offset, window=window)
    assert "\n" not in str(caught.value)


def test_key_counts_of_another_kind_are_refused() -> None:
    q, k, v = random_qkv(1, 10)
    with pytest.raises(ValueError, match="int32 or int64"):
        decode_attention(q[:, :, 0], k, v, key_counts_B=torch.tensor([10.0], device=DEVICE))
    with pytest.raises(ValueError, match=r"\(1,\) on"):
        decode_attention(q[:, :, 0], k, v, key_counts_B=torch.tensor([10, 10], device=DEVICE))


@on_gpu
def test_addresses_past_two_to_the_31_elements() -> None:
    keys, heads, size = 150_000, 128, 128
    k, v = (torch.empty(1, heads, keys, size, device=DEVICE, dtype=torch.bfloat16).normal_() for _ in range(2))
    q = torch.randn(1, heads, 5, size, device=DEVICE, dtype=torch.bfloat16)
    last = slice(heads - 1, heads)
    position = keys - 5 + torch.arange(5, device=DEVICE)[None]
    truth, _ = dense(q[:, last], k[:, last], v[:, last], position, None)
    out, _ = prefill_attention(q, k, v, query_offset=keys - 5)
    assert gap(out[:, last], truth) <= 5e-3
    step, _ = decode_attention(q[:, :, 4], k, v, key_counts_B=torch.tensor([keys], device=DEVICE))
    assert gap(step[:, last], truth[:, :, 4]) <= 5e-3
