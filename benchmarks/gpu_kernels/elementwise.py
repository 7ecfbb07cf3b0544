"""Jobs on the operators between matrix products: the convolution, norms, SwiGLU, rotations."""

from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.gpu_kernels.rows import TOLERANCE, Rows, name_of
from model_adapters.kernels.causal_convolution.reference import causal_convolution
from model_adapters.kernels.causal_convolution.triton_convolution import convolve_segment, convolve_token
from model_adapters.kernels.elementwise import reference
from model_adapters.kernels.elementwise.triton_elementwise import rms_norm, rotate, silu_product
from model_adapters.kernels.trial import gap

# Of the OLMo Hybrid 7B shape.
CHANNELS, WIDTH, HIDDEN, INNER, HEADS, VALUE_SIZE = 11_520, 4, 3840, 11_008, 30, 192


def normal(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(shape, device="cuda").to(dtype)


def check_elementwise(rows: Rows) -> None:
    for dtype, tolerance in TOLERANCE.items():
        name = name_of(dtype)
        for tokens in (1, 3, 65, 1000):
            rows.check("convolution", f"T {tokens} {name}", partial(_convolution_errors, tokens, dtype), tolerance)
        rows.check("convolution", f"token by token {name}", partial(_token_errors, dtype), tolerance)
        for shape, gated in (((1, 300, HIDDEN), False), ((1, 70, HEADS, VALUE_SIZE), True)):
            rows.check("norm", f"{shape} gated {gated} {name}", partial(_norm_errors, shape, gated, dtype), tolerance)
        rows.check("SwiGLU", name, partial(_product_errors, dtype), tolerance)
        rows.check("rotation", name, partial(_rotation_errors, dtype), tolerance)


def _convolution_errors(tokens: int, dtype: torch.dtype) -> dict[str, float]:
    x, weight = normal(2, tokens, CHANNELS + 64, dtype=dtype)[..., 64:], normal(CHANNELS, WIDTH, dtype=dtype)
    context = normal(2, CHANNELS, WIDTH, dtype=dtype)
    true_context = context.double()
    truth = causal_convolution(x.double(), weight, None, true_context)
    out = torch.full(x.shape, torch.nan, dtype=dtype, device="cuda")
    convolve_segment(x, weight, None, context_BCW=context, out_BTC=out)
    return {"out": gap(out, truth), "context": gap(context, true_context)}


def _token_errors(dtype: torch.dtype) -> dict[str, float]:
    x, weight, context = normal(3, 6, CHANNELS, dtype=dtype), normal(CHANNELS, WIDTH), normal(3, CHANNELS, WIDTH)
    weight, context = weight.to(dtype), context.to(dtype)
    true_context = context.double()
    truth = causal_convolution(x.double(), weight, None, true_context)
    outs = [convolve_token(x[:, token], weight, None, context_BCW=context) for token in range(6)]
    return {"out": gap(torch.stack(outs, 1), truth), "context": gap(context, true_context)}


def _norm_errors(shape: tuple[int, ...], gated: bool, dtype: torch.dtype) -> dict[str, float]:
    x, weight = normal(*shape, dtype=dtype), normal(shape[-1], dtype=dtype)
    gate = normal(*shape, dtype=dtype) if gated else None
    wide = None if gate is None else gate.double()
    truth = reference.rms_norm(x.double(), weight, epsilon=1e-6, gate=wide)
    return {"out": gap(rms_norm(x, weight, epsilon=1e-6, gate=gate), truth)}


def _product_errors(dtype: torch.dtype) -> dict[str, float]:
    gate, up = normal(1, 77, INNER, dtype=dtype), normal(1, 77, INNER, dtype=dtype)
    truth = reference.silu_product(gate.double(), up.double())
    return {"out": gap(silu_product(gate, up, out=gate), truth)}


def _rotation_errors(dtype: torch.dtype) -> dict[str, float]:
    x, angle = normal(2, 77, 8, 128, dtype=dtype).transpose(1, 2), normal(1, 77, 128, dtype=torch.float32)
    truth = reference.rotate(x.double(), angle.cos().double(), angle.sin().double())
    return {"out": gap(rotate(x, angle.cos(), angle.sin()), truth)}


def time_elementwise(rows: Rows) -> None:
    rows.ceilings()
    tokens = 8192
    x, weight, context = normal(1, tokens, CHANNELS), normal(CHANNELS, WIDTH), normal(1, CHANNELS, WIDTH)
    out, seen = torch.empty_like(x), torch.cat([context, x.transpose(1, 2)], dim=-1)
    moved = {"moved_bytes": 2 * x.nbytes}
    ours = partial(convolve_segment, x, weight, None, context_BCW=context, out_BTC=out)
    rows.time("convolution", f"T {tokens}", ours, **moved)
    library = partial(F.conv1d, seen, weight[:, None], groups=CHANNELS)
    rows.time("convolution, PyTorch without SiLU", f"T {tokens}", library, **moved)
    hidden, scale = normal(1, tokens, HIDDEN), normal(HIDDEN)
    rows.time("norm", f"T {tokens}", partial(rms_norm, hidden, scale, epsilon=1e-6), moved_bytes=2 * hidden.nbytes)
    values, gate = normal(1, tokens, HEADS, VALUE_SIZE), normal(1, tokens, HEADS, VALUE_SIZE)
    gated = partial(rms_norm, values, normal(VALUE_SIZE), epsilon=1e-5, gate=gate)
    rows.time("norm, gated", f"T {tokens}", gated, moved_bytes=3 * values.nbytes)
    inner, up = normal(1, tokens, INNER), normal(1, tokens, INNER)
    rows.time(
        "SwiGLU", f"T {tokens}", partial(silu_product, inner, up, out=torch.empty_like(up)), moved_bytes=3 * up.nbytes
    )
    q, angle = normal(1, tokens, 32, 128).transpose(1, 2), normal(1, tokens, 128, dtype=torch.float32)
    rotation = partial(rotate, q, angle.cos(), angle.sin())
    rows.time("rotation", f"T {tokens}, 32 heads", rotation, moved_bytes=2 * q.nbytes)
