"""The attention function that transformers' modules call: causality, offsets and windows come from the pass.

It is registered without a mask function, so transformers builds no mask for any layer type.

The kernel depends on the rows. Single tokens of all sequences use the decode kernel, which reads lengths on the device.
A segment that continues a slot has calls of its own: cached keys and segment, merged by log-sum-exp, or one windowed
call. Short texts that start from nothing are padded into one causal call. Texts that branch off from one slot use one
call on the keys they share and a batched call on their own keys.

Shape suffixes: X tokens of all rows of a pass, B rows of a group, H query heads, G key/value heads, T queries, S keys,
D key size, E value size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.engine.forward.decode_backends import decode_attention, scored_decode_attention
from model_adapters.engine.forward.prefill_backends import FusedKernel, find_fused, find_windowed, merge_outputs
from model_adapters.engine.forward.scoring import Scoring
from model_adapters.engine.memory.key_value_buffer import KeysValues, behind
from model_adapters.engine.memory.layout import AttentionShape, LayerMemory, MemoryLayout
from model_adapters.engine.memory.passes import Seen, TokenPass, current_pass
from model_adapters.kernels.chunked_attention.reference import chunked_attention

NAME = "evalkit_slots"

WINDOW_BLOCK_TOKENS = 512
"""Number of queries per masked call of a sliding-window layer."""
PLANNED_TOKENS = 1024
"""A kernel that plans for each pair of lengths gets multiples of this, so that the plans of one prompt serve others.
Such kernels, and others that only suit segments, get at least this many queries."""


def use_slot_attention(model: PreTrainedModel) -> None:
    """Make a model's attention layers call `slot_attention`; raises UsageError if they do not use the interface."""
    AttentionInterface.register(NAME, slot_attention)
    _set_attention(model, NAME)


@contextmanager
def attention_set_to(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Make a model's attention layers call a registered function in this block; raises UsageError if they cannot."""
    before = model.config._attn_implementation
    _set_attention(model, name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _set_attention(model: PreTrainedModel, name: str) -> None:
    model.set_attn_implementation(name)
    if model.config._attn_implementation != name:
        raise UsageError(
            f"{type(model).__name__} does not take its attention from transformers' AttentionInterface, "
            "so the engine cannot run it; use a model class that does"
        )


def slot_attention(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a pass's tokens over the keys visible to their rows: query [1, H, X, D] to output [1, X, H, E].

    Arguments that would change the result are refused when the model is measured. Raises RuntimeError if called outside
    the engine.
    """
    step = current_pass()
    if step is None or attention_mask is not None:
        raise RuntimeError(f"attention {NAME!r} works only inside the engine; load the model again for other uses")
    scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, softcap, s_aux)
    call = step.next_call()
    seen, layer = step.seen(call, key, value), step.cache.layout.layers[call.layer_index]
    if isinstance(step, TokenPass):
        q_BH1D, k_BGSD, v_BGSE = query.transpose(0, 2), seen[0].k_BGSD, seen[0].v_BGSD
        # A ring with one place per position of a chunk starts anew with each chunk.
        counts_B = step.position_B % layer.window + 1 if layer.chunked and layer.window else step.key_counts
        if scoring.is_plain:
            out_BH1E = decode_attention(q_BH1D, k_BGSD, v_BGSE, key_counts_B=counts_B, scale=scoring.scale)
        else:
            out_BH1E = scored_decode_attention(q_BH1D, k_BGSD, v_BGSE, key_counts_B=counts_B, scoring=scoring)
        return out_BH1E.permute(2, 0, 1, 3).contiguous(), None
    parts = [_attend(query, one, layer, scoring, only_outputs=call.is_last) for one in seen]
    del seen
    step.finish_call(call)
    return step.attention_groups.join(parts).contiguous(), None


def _attend(
    query: torch.Tensor, seen: Seen, layer: LayerMemory, scoring: Scoring, *, only_outputs: bool
) -> torch.Tensor:
    """Attention of one group of rows, [B, T, H, E]; zeros at positions whose output is not needed."""
    group = seen.group
    q_BTHD = group.batch(query.transpose(1, 2))
    B, T, H, _ = q_BTHD.shape
    needed = T
    if only_outputs and (len(group.rows) == 1 or not any(row.outputs for row in group.rows)):
        needed = min(T, group.rows[0].outputs)
    if needed == 0:
        return query.new_zeros((B, T, H, seen.v_BGSD.shape[3]))
    q_BHTD = q_BTHD[:, T - needed :].transpose(1, 2)
    if layer.chunked:
        out_BHTE = _attention_in_chunks(q_BHTD, seen, layer, scoring)
    elif seen.before is None or group.keeps:
        keys_values = seen.k_BGSD, seen.v_BGSD
        out_BHTE = prefill_attention(q_BHTD, *keys_values, window=layer.window, scoring=scoring, before=seen.before)
    else:
        q_BHTD = q_BTHD.transpose(1, 2)
        out_BHTE = branch_attention(q_BHTD, seen.k_BGSD, seen.v_BGSD, seen.before, window=layer.window, scoring=scoring)
    missing = T - out_BHTE.shape[2]
    out_BTHE = out_BHTE.transpose(1, 2)
    return F.pad(out_BTHE, (0, 0, 0, 0, missing, 0)) if missing else out_BTHE


def _attention_in_chunks(q_BHTD: torch.Tensor, seen: Seen, layer: LayerMemory, scoring: Scoring) -> torch.Tensor:
    """Attention of the last T queries of a group's rows, each over its own chunk of positions only."""
    k_BGSD, v_BGSE = seen.k_BGSD, seen.v_BGSD
    if seen.before is not None:
        old = (x.expand(len(k_BGSD), -1, -1, -1) for x in seen.before)
        k_BGSD, v_BGSE = (torch.cat([x, new], dim=2) for x, new in zip(old, (k_BGSD, v_BGSE), strict=True))
    end, chunk = seen.group.rows[0].start + seen.group.tokens, layer.window or 1
    first, first_key = end - q_BHTD.shape[2], end - k_BGSD.shape[2]
    outs = []
    for start in range(first - first % chunk, end, chunk):
        stop = min(start + chunk, end)
        queries, keys = slice(max(start - first, 0), stop - first), slice(start - first_key, stop - first_key)
        part = q_BHTD[:, :, queries], k_BGSD[:, :, keys], v_BGSE[:, :, keys]
        outs.append(prefill_attention(*part, window=None, scoring=scoring))
    return torch.cat(outs, dim=2)


def prefill_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    *,
    window: int | None,
    scoring: Scoring,
    before: KeysValues | None = None,
) -> torch.Tensor:
    """Causal attention of the last T of S positions, whose first keys may be tensors of their own: [B, H, T, E].

    If no window limits the keys, one fused call covers the cached keys and another the segment itself, merged by
    log-sum-exp. If no fused kernel applies, the chunked reference computes everything.
    """
    T, S = q_BHTD.shape[2], k_BGSD.shape[2] + (0 if before is None else before[0].shape[2])
    shape, scale = AttentionShape.of(q_BHTD, k_BGSD, v_BGSE), scoring.scale
    kernel = _pick_kernel(shape, T)
    if kernel is not None and scoring.is_plain and window is not None and window < S:
        windowed = find_windowed(shape, T >= PLANNED_TOKENS)
        attend = _windowed_by_masks if windowed is None else windowed.attend
        return attend(q_BHTD, k_BGSD, v_BGSE, window, scale, before)
    k_BGSD, v_BGSE = behind(before, k_BGSD, v_BGSE)
    if kernel is None or not scoring.is_plain:
        return scoring.with_sinks(
            *chunked_attention(
                q_BHTD, k_BGSD, v_BGSE, query_offset=S - T, window=window, scale=scale, softcap=scoring.softcap
            )
        )
    return _attention_in_two_calls(kernel, q_BHTD, k_BGSD, v_BGSE, scale)


def _attention_in_two_calls(
    kernel: FusedKernel, q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, v_BGSE: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention over the cached keys and over the segment; all lengths are multiples of what the kernel plans for.

    Cached keys beyond a multiple are counted with the segment. Zeros before its queries make up for their number, and
    zeros after queries and keys complete a multiple; no query sees those keys, and the zeros' own outputs are cut off.
    """
    T, S = q_BHTD.shape[2], k_BGSD.shape[2]
    multiple = PLANNED_TOKENS if kernel.plans_lengths else 1
    front = (S - T) % multiple
    back = -(front + T) % multiple
    old = S - T - front
    k_new_BGSD, v_new_BGSE = k_BGSD[:, :, old:], v_BGSE[:, :, old:]
    if front or back:
        # In memory ordered [B, T, H, D], as the outputs then are too.
        q_BHTD = F.pad(q_BHTD.transpose(1, 2), (0, 0, 0, 0, front, back)).transpose(1, 2)
    if back:
        k_new_BGSD, v_new_BGSE = (F.pad(x, (0, 0, 0, back)) for x in (k_new_BGSD, v_new_BGSE))
    segment = kernel.attend(q_BHTD, k_new_BGSD, v_new_BGSE, True, scale)
    if old == 0:
        out_BHTE = segment[0]
    else:
        out_BHTE = merge_outputs(kernel.attend(q_BHTD, k_BGSD[:, :, :old], v_BGSE[:, :, :old], False, scale), segment)
    return out_BHTE[:, :, front : front + T]


def branch_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    before: KeysValues,
    *,
    window: int | None,
    scoring: Scoring,
) -> torch.Tensor:
    """Attention of B texts [B, H, T, E] over their own keys and the shared keys before them, [1, G, S, D].

    The shared keys are not copied per text: all texts form one sequence of queries over them, without causality.
    """
    B, H, T, _ = q_BHTD.shape
    # A window of one token does not reach the shared keys.
    if before[0].shape[2] == 0:
        return prefill_attention(q_BHTD, k_BGSD, v_BGSE, window=window, scoring=scoring)
    old, scale = before[0].shape[2], scoring.scale
    kernel = _pick_kernel(AttentionShape.of(q_BHTD, k_BGSD, v_BGSE), 0)
    if kernel is None or not scoring.is_plain or (window is not None and window < old + T):
        texts = (slice(text, text + 1) for text in range(B))
        options: Any = {"window": window, "scoring": scoring, "before": before}
        return torch.cat([prefill_attention(q_BHTD[i], k_BGSD[i], v_BGSE[i], **options) for i in texts])
    q_1HXD = q_BHTD.transpose(0, 1).reshape(1, H, B * T, -1)
    out_1HXE, lse_1HX = kernel.attend(q_1HXD, *before, False, scale)
    common = out_1HXE.reshape(H, B, T, -1).transpose(0, 1), lse_1HX.reshape(H, B, T).transpose(0, 1)
    return merge_outputs(common, kernel.attend(q_BHTD, k_BGSD, v_BGSE, True, scale))


def attention_path(layout: MemoryLayout) -> str | None:
    """The name of the kernel that prefills a model's full-attention layers, for records; None without attention."""
    call = layout.main_call
    if call is None:
        return None
    kernels = find_fused(call.shape) if call.plain else ()
    return kernels[0].name if kernels else "chunked reference"


def _pick_kernel(shape: AttentionShape, queries: int) -> FusedKernel | None:
    """The fastest kernel for so many queries; one that plans for each pair of lengths is used for many only."""
    kernels = find_fused(shape)
    few = queries < PLANNED_TOKENS
    fitting = [kernel for kernel in kernels if not few or not (kernel.plans_lengths or kernel.segments_only)]
    return next(iter(fitting or kernels), None)


def _windowed_by_masks(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    window: int,
    scale: float,
    before: KeysValues | None,
) -> torch.Tensor:
    """Sliding-window attention in blocks of queries, each over the keys within reach of its windows."""
    k_BGSD, v_BGSE = behind(before, k_BGSD, v_BGSE)
    (B, H, T, D), (G, S) = q_BHTD.shape, k_BGSD.shape[1:3]
    outs = []
    for start in range(0, T, WINDOW_BLOCK_TOKENS):
        stop = min(start + WINDOW_BLOCK_TOKENS, T)
        first, last = S - T + start, S - T + stop
        low = max(0, first - window + 1)
        query_T1 = torch.arange(first, last, device=q_BHTD.device)[:, None]
        key_S = torch.arange(low, last, device=q_BHTD.device)
        visible_TS = (key_S <= query_T1) & (key_S > query_T1 - window)
        # Query heads that share keys become additional queries of one head: PyTorch fuses no masked grouped attention.
        q_BGXD = q_BHTD[:, :, start:stop].reshape(B, G, H // G * (stop - start), D)
        visible_XS = visible_TS.repeat(H // G, 1)
        out_BGXE = F.scaled_dot_product_attention(
            q_BGXD, k_BGSD[:, :, low:last], v_BGSE[:, :, low:last], visible_XS, scale=scale
        )
        outs.append(out_BGXE.reshape(B, H, stop - start, -1))
    return torch.cat(outs, dim=2)
