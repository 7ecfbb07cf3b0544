"""Run modules with states, such as linear attention and convolutions, on one group of a pass's rows at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn

from model_adapters.engine.memory.passes import Pass

TAKES_ROWS = "takes_rows"
"""Attribute of a forward that handles all rows of a pass itself."""


def by_groups(forward: Callable[..., Any], step: Pass) -> Callable[..., Any]:
    """Wrap a forward so that it runs on each group of rows, [B, T, ...], and its results are joined."""

    @wraps(forward)
    def grouped(*args: Any, **kwargs: Any) -> Any:
        parts = []
        for group in step.state_groups.groups:
            with step.on(group):
                some = _map(group.batch, (1, step.tokens), args, kwargs)
                whole = step.cache.layout.continues or not group.continued
                parts.append(
                    _called(forward, some) if whole else _by_tokens(forward, (len(group.rows), group.tokens), some)
                )
        sizes = [(len(group.rows), group.tokens) for group in step.state_groups.groups]
        return _joined(step.state_groups.join, sizes, parts)

    return grouped


def _called(forward: Callable[..., Any], arguments: Any) -> Any:
    args, kwargs = arguments
    return forward(*args, **kwargs)


def _by_tokens(forward: Callable[..., Any], size: tuple[int, int], arguments: Any) -> Any:
    """Run a forward of [B, T, ...] token by token, for a family that reads its state only for single tokens."""

    def at(token: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: x[:, token : token + 1]

    parts = [_called(forward, _map(at(token), size, *arguments)) for token in range(size[1])]
    return _joined(lambda tokens: torch.cat(list(tokens), dim=1), [(size[0], 1)] * size[1], parts)


@contextmanager
def mixers_by_groups(mixers: Sequence[nn.Module], step: Pass) -> Iterator[None]:
    """Wrap these modules with `by_groups` in this block, except those whose forward handles all rows itself."""
    with ExitStack() as stack:
        for mixer in mixers:
            if not hasattr(mixer.forward, TAKES_ROWS):
                stack.enter_context(replaced(mixer, by_groups(mixer.forward, step)))
        yield


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace a module's forward in this block."""
    placed = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if placed is None:
            del module.forward
        else:
            module.forward = placed


def _map(batch: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int], *values: Any) -> Any:
    """Apply `batch` to every value that holds something per token, [1, X, ...]."""

    def mapped(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return batch(value) if value.dim() >= 2 and tuple(value.shape[:2]) == size else value
        if type(value) in (tuple, list):
            return type(value)(map(mapped, value))
        return {name: mapped(one) for name, one in value.items()} if type(value) is dict else value

    return mapped(values)


def _joined(
    join: Callable[[Sequence[torch.Tensor]], torch.Tensor], sizes: list[tuple[int, int]], parts: list[Any]
) -> Any:
    """Join the results of several calls; of values without a token dimension, such as states, the last is kept."""
    if isinstance(parts[0], torch.Tensor):
        by_token = all(tuple(part.shape[:2]) == size for part, size in zip(parts, sizes, strict=True))
        return join(parts) if by_token else parts[-1]
    if type(parts[0]) in (tuple, list):
        return type(parts[0])(_joined(join, sizes, list(ones)) for ones in zip(*parts, strict=True))
    return parts[0]
