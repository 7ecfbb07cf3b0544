"""The convolution kernels against the PyTorch form in fp64."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_adapters.kernels.causal_convolution.reference import causal_convolution
from model_adapters.kernels.causal_convolution.triton_convolution import convolve_segment, convolve_token
from model_adapters.kernels.packed_rows import PackedRows
from model_adapters.kernels.trial import gap
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES, TOLERANCE

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]


def make(
    tokens: int, channels: int, width: int, *, sequences: int = 2, dtype: torch.dtype = torch.float32, bias: bool = True
) -> Tensors:
    """The input as a slice of a wider projection, and the context as a slice of a wider state."""
    generator = torch.Generator(DEVICE).manual_seed(tokens + channels)
    normal = {"device": DEVICE, "generator": generator}
    x = torch.randn(sequences, tokens, channels + 40, **normal).to(dtype)[..., 8 : 8 + channels]
    context = torch.randn(sequences, channels + 8, width, **normal).to(dtype)[:, 8:]
    return (
        x,
        torch.randn(channels, width, **normal).to(dtype),
        torch.randn(channels, **normal) if bias else None,
        context,
    )


def truth(tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    x, weight, bias, context = tensors
    context = context.double()
    return causal_convolution(x.double(), weight, bias, context), context


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 3, 4, 31, 32, 33, 100])
def test_a_segment_from_a_context(tokens: int, dtype: torch.dtype) -> None:
    tensors = make(tokens, 150, 4, dtype=dtype)
    expected, expected_context = truth(tensors)
    out = torch.full(tensors[0].shape, torch.nan, dtype=dtype, device=DEVICE)
    convolve_segment(*tensors[:3], context_BCW=tensors[3], out_BTC=out)
    assert gap(out, expected) <= TOLERANCE[dtype]
    assert torch.equal(tensors[3].double(), expected_context)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(cut=st.integers(1, 39), width=st.integers(1, 5), bias=st.booleans())
def test_a_split_anywhere_changes_nothing(cut: int, width: int, bias: bool) -> None:
    x, weight, bias_C, context = make(40, 20, width, bias=bias)
    expected, expected_context = truth((x, weight, bias_C, context))
    outs = [convolve_segment(part, weight, bias_C, context_BCW=context) for part in (x[:, :cut], x[:, cut:])]
    assert gap(torch.cat(outs, dim=1), expected) <= 1e-5
    assert torch.equal(context.double(), expected_context)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [2, 3, 4])
def test_tokens_one_by_one(width: int, dtype: torch.dtype) -> None:
    x, weight, bias, context = make(6, 150, width, sequences=3, dtype=dtype)
    expected, expected_context = truth((x, weight, bias, context))
    outs = [convolve_token(x[:, token], weight, bias, context_BCW=context) for token in range(6)]
    assert gap(torch.stack(outs, dim=1), expected) <= TOLERANCE[dtype]
    assert torch.equal(context.double(), expected_context)


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_rows_are_each_what_they_are_alone(dtype: torch.dtype) -> None:
    """Rows shorter and longer than the kernel and than a program's tokens; other slots' contexts do not change."""
    lengths, slots = (70, 1, 2, 3, 129, 5), (4, 0, 2, 5, 1, 1)
    continues, keeps = (True, False, True, True, True, True), (True, True, True, True, False, False)
    x, weight, bias, _ = make(sum(lengths), 150, 4, sequences=1, dtype=dtype)
    before = make(1, 150, 4, sequences=7, dtype=dtype)[3]
    found = before.clone()
    rows = PackedRows.of(lengths, slots=slots, continues=continues, keeps=keeps)
    rows = replace(rows, table_B6=rows.table_B6.to(DEVICE))
    out = torch.full(x.shape, torch.nan, dtype=dtype, device=DEVICE)
    convolve_segment(x, weight, bias, context_BCW=found, out_BTC=out, rows=rows)
    start = 0
    for length, slot, continued, kept in zip(lengths, slots, continues, keeps, strict=True):
        own, here = slice(start, start + length), slice(slot, slot + 1)
        expected, context = truth((x[:, own], weight, bias, before[here] * continued))
        assert gap(out[:, own], expected) <= TOLERANCE[dtype]
        assert torch.equal(found[here].double(), context if kept else before[here].double())
        start += length
    assert torch.equal(found[[3, 6]], before[[3, 6]])


def test_a_lost_context_is_noticed() -> None:
    x, weight, bias, context = make(5, 20, 4)
    expected, _ = truth((x, weight, bias, context))
    assert gap(convolve_segment(x, weight, bias, context_BCW=torch.zeros_like(context)), expected) > 0.05


@pytest.mark.parametrize("change", ["weight", "context", "bias", "dtype", "stride", "empty", "rows", "out"])
def test_what_does_not_fit_is_one_line(change: str) -> None:
    x, weight, bias, context = make(5, 20, 4)
    if change == "weight":
        weight = weight[:-1]
    elif change == "context":
        context = context[..., :-1]
    elif change == "bias":
        bias = torch.zeros(19, device=DEVICE)
    elif change == "dtype":
        x = x.double()
    elif change == "stride":
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    elif change == "empty":
        x = x[:, :0]
    rows = PackedRows.of([5], slots=[0], continues=[True], keeps=[True]) if change == "rows" else None
    out = torch.empty(2, 9, 20, device=DEVICE)[:, :5] if change == "out" else None
    with pytest.raises(ValueError, match=r"\S+") as caught:
        convolve_segment(x, weight, bias, context_BCW=context, out_BTC=out, rows=rows)
    assert "\n" not in str(caught.value)
