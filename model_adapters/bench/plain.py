"""The same work through transformers alone, with its own attention and caches, for comparison."""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from model_adapters.engine.fast_modules.choose import choose_kernels, gdn_kernel
from model_adapters.engine.fast_modules.gated_delta_net import gated_delta_layers
from model_adapters.engine.forward.slot_attention import use_slot_attention
from model_adapters.module_patches import patches_of

PLAIN, WITH_FLA = "transformers", "transformers + FLA"
PIECE_TOKENS = 8192
"""Segment size for prefilling the prompts of decode measurements; its speed is not measured."""


def plain_variants(model: PreTrainedModel) -> tuple[str, ...]:
    """Implementations to compare with: transformers, also with FLA's kernels if they are installed."""
    usable = bool(gated_delta_layers(model)) and model.device.type == "cuda"
    fla = usable and importlib.util.find_spec("fla") is not None
    return (WITH_FLA, PLAIN) if fla else (PLAIN,)


@contextmanager
def plain_transformers(model: PreTrainedModel, variant: str) -> Iterator[PreTrainedModel]:
    """Restore the model as transformers made it, with sdpa attention, in this block; then the engine's code again."""
    ours = gdn_kernel(model)
    if ours is not None:
        choose_kernels(model, "fla" if variant == WITH_FLA else "torch")
    try:
        with patches_of(model).off():
            model.set_attn_implementation("sdpa")
            yield model
    finally:
        use_slot_attention(model)
        if ours is not None:
            choose_kernels(model, ours)


@torch.no_grad()
def plain_prefill(model: PreTrainedModel, id_BT: torch.Tensor) -> Any:
    """A prompt in one shot: its cache, after waiting for the logits of its last token."""
    output = model(input_ids=id_BT, use_cache=True, logits_to_keep=1)
    output.logits.argmax(-1).tolist()
    return output.past_key_values


@torch.no_grad()
def plain_filled_cache(model: PreTrainedModel, id_1T: torch.Tensor, sequences: int) -> DynamicCache:
    """A cache of several sequences that hold the same prompt."""
    cache = DynamicCache(config=model.config)
    for piece in torch.split(id_1T, PIECE_TOKENS, dim=1):
        model(input_ids=piece, past_key_values=cache, use_cache=True, logits_to_keep=1)
    for layer in cache.layers:
        _repeat(layer, sequences)
    return cache


def _repeat(layer: Any, sequences: int) -> None:
    """Let a cache's layer hold its one sequence several times."""
    if hasattr(layer, "batch_repeat_interleave"):
        layer.batch_repeat_interleave(sequences)
        return
    for states in (layer.conv_states, layer.recurrent_states):
        for index, state in states.items():
            states[index] = None if state is None else state.repeat_interleave(sequences, dim=0)


@torch.no_grad()
def plain_step(model: PreTrainedModel, cache: DynamicCache, id_B1: torch.Tensor) -> torch.Tensor:
    """One greedy token for each sequence [B, 1], after waiting for it as a loop that looks for stop tokens does."""
    logits = model(input_ids=id_B1, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    next_B1: torch.Tensor = logits[:, -1].argmax(-1, keepdim=True)
    next_B1.tolist()
    return next_B1


@torch.no_grad()
def plain_generate(model: PreTrainedModel, prompts: Sequence[Sequence[int]], new_tokens: int) -> int:
    """`transformers.generate`, greedy, shorter prompts padded on the left; how many new tokens each prompt got."""
    longest = max(map(len, prompts))
    padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    id_BT, mask_BT = (torch.tensor(rows, device=model.device) for rows in (padded, mask))
    output = model.generate(  # type: ignore[operator]  # its decorators hide the signature
        id_BT,
        attention_mask=mask_BT,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
    )
    return int(output.shape[1] - longest)
