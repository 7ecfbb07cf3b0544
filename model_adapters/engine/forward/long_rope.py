"""LongRoPE: rotary positions with one set of factors for prompts up to the original length, and one for longer prompts.

transformers selects the set by the largest position of a forward pass. A pass of the engine holds segments and
sequences of several prompts, so the set is selected per token, by the length of its prompt. A token generated beyond
the original length uses the long factors, as in transformers' `generate`.

Source: arXiv:2402.13753. Shape suffixes: X tokens of a pass, D rotary dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from model_adapters.engine.forward.mixers import replaced
from model_adapters.engine.memory.passes import Pass


def long_rotaries(model: nn.Module) -> tuple[nn.Module, ...]:
    """The modules of a model that compute LongRoPE positions."""
    return tuple(module for module in model.modules() if getattr(module, "rope_type", None) == "longrope")


@contextmanager
def factors_by_prompt(rotaries: tuple[nn.Module, ...], step: Pass) -> Iterator[None]:
    """Select these modules' factors per token in this block."""
    with ExitStack() as stack:
        for rotary in rotaries:
            stack.enter_context(replaced(rotary, _by_prompt(rotary, rotary.forward, step)))
        yield


def _by_prompt(rotary: nn.Module, own: Callable[..., Any], step: Pass) -> Callable[..., Any]:
    parameters: Any = rotary.config.rope_parameters  # type: ignore[union-attr]  # a configuration
    original = int(parameters["original_max_position_embeddings"])

    def forward(x: torch.Tensor, position_ids: torch.Tensor, **options: Any) -> tuple[torch.Tensor, ...]:
        # transformers selects by the largest position: one beyond the original length requests the long factors.
        beyond = position_ids.new_full((len(position_ids), 1), original)
        long_XD = own(x, torch.cat([position_ids, beyond], dim=1), **options)
        short_XD = own(x, position_ids.clamp(max=original - 1), **options)
        is_long = ((step.prompt_tokens > original) | (position_ids >= original))[..., None]
        return tuple(torch.where(is_long, a[:, :-1], b) for a, b in zip(long_XD, short_XD, strict=True))

    return forward
