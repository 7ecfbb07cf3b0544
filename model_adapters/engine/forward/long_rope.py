"""Rotary positions with two sets of factors, one for prompts within the original length and one for longer ones.

transformers chooses between them by the largest position of a forward pass. In the engine a pass holds segments and
sequences of many prompts, so each token's factors are chosen by the prompt that it belongs to. A token that is
generated beyond the original length takes the long ones, as in transformers' `generate`.

LongRoPE: arXiv:2402.13753. Shape suffixes: X tokens of a pass, D rotary dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from model_adapters.engine.forward.mixers import replaced
from model_adapters.engine.memory.passes import Pass


def long_rotaries(model: nn.Module) -> tuple[nn.Module, ...]:
    """The modules of a model that compute such positions."""
    return tuple(module for module in model.modules() if getattr(module, "rope_type", None) == "longrope")


@contextmanager
def factors_by_prompt(rotaries: tuple[nn.Module, ...], step: Pass) -> Iterator[None]:
    """Let these modules choose so in this block."""
    with ExitStack() as stack:
        for rotary in rotaries:
            stack.enter_context(replaced(rotary, _by_prompt(rotary, rotary.forward, step)))
        yield


def _by_prompt(rotary: nn.Module, own: Callable[..., Any], step: Pass) -> Callable[..., Any]:
    parameters: Any = rotary.config.rope_parameters  # type: ignore[union-attr]  # a configuration
    original = int(parameters["original_max_position_embeddings"])

    def forward(x: torch.Tensor, position_ids: torch.Tensor, **options: Any) -> tuple[torch.Tensor, ...]:
        # The largest position decides: one more than there are asks for the long factors.
        beyond = position_ids.new_full((len(position_ids), 1), original)
        long_XD = own(x, torch.cat([position_ids, beyond], dim=1), **options)
        short_XD = own(x, position_ids.clamp(max=original - 1), **options)
        is_long = ((step.prompt_tokens > original) | (position_ids >= original))[..., None]
        return tuple(torch.where(is_long, a[:, :-1], b) for a, b in zip(long_XD, short_XD, strict=True))

    return forward
