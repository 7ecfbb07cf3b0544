"""Plain PyTorch chunked attention: the fallback if no fused kernel applies, and the reference of the kernels.

Shape suffixes: B sequences, H query heads, G key/value heads, R = H / G query heads per key/value head,
T queries, S keys, D key size, E value size.
"""

import torch

Attended = tuple[torch.Tensor, torch.Tensor]
"""Attention output [B, H, T, E] and the log-sum-exp of its scores in fp32 [B, H, T] (nats)."""


def chunked_attention(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    *,
    query_offset: int | torch.Tensor,
    window: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    block_tokens: int = 512,
) -> Attended:
    """Causal attention with a running softmax over blocks of keys: `(out_BHTE, lse_BHT)`.

    Key j is at position j and query i at `query_offset + i`; `query_offset` is an integer, or an integer tensor [B] for
    sequences of different lengths, whose unused key places are ignored. A query sees the keys at or before its own
    position and, with `window`, only the last `window` of them, including its own. At most `block_tokens`² scores per
    head are in memory at once, in fp32 for every dtype (fp64 for fp64). A query that sees no key gives zeros and a
    log-sum-exp of -inf. `scale` defaults to D ** -0.5; with `softcap` c, scores s become c tanh(s / c). Raises
    ValueError if the heads cannot be grouped.

    The running softmax is Milakov and Gimelshein's (arXiv:1805.02867), over blocks as in FlashAttention
    (arXiv:2205.14135).
    """
    B, H, T, D = q_BHTD.shape
    G, S = k_BGSD.shape[1], k_BGSD.shape[2]
    if H % G:
        raise ValueError(f"{H} query heads cannot share {G} key/value heads")
    wide = torch.float64 if q_BHTD.dtype == torch.float64 else torch.float32
    offset_B = torch.as_tensor(query_offset, device=q_BHTD.device).reshape(-1)
    first, last = (query_offset, query_offset) if isinstance(query_offset, int) else (None, None)
    q_BGRTD = q_BHTD.reshape(B, G, H // G, T, D) * (D**-0.5 if scale is None else scale)
    outs, lses = [], []
    for start in range(0, T, block_tokens):
        stop = min(start + block_tokens, T)
        # Known on the host only for a common offset; otherwise every block is computed and masked.
        low = 0 if first is None or window is None else max(0, first + start - window + 1)
        high = S if last is None else min(S, last + stop)
        out, lse = _attend_rows(
            q_BGRTD[..., start:stop, :].to(wide),
            (k_BGSD, v_BGSE),
            position_BT=offset_B[:, None] + torch.arange(start, stop, device=q_BHTD.device),
            window=window,
            softcap=softcap,
            key_blocks=[(at, min(at + block_tokens, high)) for at in range(low, high, block_tokens)],
        )
        outs.append(out.to(q_BHTD.dtype).flatten(1, 2))
        lses.append(lse.flatten(1, 2))
    return torch.cat(outs, dim=2), torch.cat(lses, dim=2)


def _attend_rows(
    q_BGRTD: torch.Tensor,
    keys_values: tuple[torch.Tensor, torch.Tensor],
    *,
    position_BT: torch.Tensor,
    window: int | None,
    softcap: float | None,
    key_blocks: list[tuple[int, int]],
) -> Attended:
    """One block of scaled queries over the given blocks of keys: `(out_BGRTE, lse_BGRT)` in the queries' dtype."""
    k_BGSD, v_BGSE = keys_values
    out_BGRTE = q_BGRTD.new_zeros((*q_BGRTD.shape[:-1], v_BGSE.shape[-1]))
    peak_BGRT = q_BGRTD.new_full(q_BGRTD.shape[:-1], float("-inf"))
    total_BGRT = q_BGRTD.new_zeros(q_BGRTD.shape[:-1])
    for start, stop in key_blocks:
        k_BG1SD = k_BGSD[:, :, None, start:stop].to(q_BGRTD.dtype)
        score_BGRTS = q_BGRTD @ k_BG1SD.transpose(-1, -2)
        if softcap is not None:
            score_BGRTS = softcap * torch.tanh(score_BGRTS / softcap)
        key_S = torch.arange(start, stop, device=q_BGRTD.device)
        visible_BTS = key_S <= position_BT[..., None]
        if window is not None:
            visible_BTS = visible_BTS & (key_S > position_BT[..., None] - window)
        score_BGRTS = score_BGRTS.masked_fill(~visible_BTS[:, None, None], float("-inf"))
        new_peak_BGRT = torch.maximum(peak_BGRT, score_BGRTS.amax(-1))
        # A row without keys so far has a peak of -inf; replacing it by 0 keeps exp(-inf - peak) at 0.
        base_BGRT = new_peak_BGRT.masked_fill(new_peak_BGRT == float("-inf"), 0.0)
        weight_BGRTS = (score_BGRTS - base_BGRT[..., None]).exp()
        rescale_BGRT = (peak_BGRT - base_BGRT).exp()
        total_BGRT = total_BGRT * rescale_BGRT + weight_BGRTS.sum(-1)
        v_BG1SE = v_BGSE[:, :, None, start:stop].to(q_BGRTD.dtype)
        out_BGRTE = out_BGRTE * rescale_BGRT[..., None] + weight_BGRTS @ v_BG1SE
        peak_BGRT = new_peak_BGRT
    unseen_BGRT = total_BGRT == 0
    out_BGRTE = out_BGRTE / total_BGRT.masked_fill(unseen_BGRT, 1.0)[..., None]
    return out_BGRTE, peak_BGRT + total_BGRT.log()


def merge_attention(first: Attended, second: Attended) -> Attended:
    """Attention over the union of two disjoint sets of keys, from the attention over each.

    With l the log-sum-exp of the scores, out = (e^l1 out1 + e^l2 out2) / (e^l1 + e^l2): a mix with weight
    sigmoid(l2 - l1). A side without keys (l = -inf, out = 0) leaves the other unchanged.
    """
    (out_a_BHTE, lse_a_BHT), (out_b_BHTE, lse_b_BHT) = first, second
    # Both sides empty: -inf - -inf is NaN, and any weight mixes two zeros.
    share_BHT = torch.sigmoid(lse_b_BHT - lse_a_BHT).nan_to_num_(nan=0.5)
    wide = share_BHT.dtype
    out_BHTE = torch.lerp(out_a_BHTE.to(wide), out_b_BHTE.to(wide), share_BHT[..., None])
    return out_BHTE.to(out_a_BHTE.dtype), torch.logaddexp(lse_a_BHT, lse_b_BHT)
