"""Faster forwards in the place of a model's own, for single modules, and the way back to the model's own.

patches = patches_of(model)
patches.place(layer, "forward", fast)
with patches.off():
    model(input_ids)               # as transformers wrote it
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn


@dataclass(frozen=True, slots=True)
class _Patch:
    owner: nn.Module | ModuleType
    name: str
    fast: Callable[..., Any]
    own: Callable[..., Any]

    def put(self) -> None:
        setattr(self.owner, self.name, self.fast)

    def take(self) -> None:
        if isinstance(self.owner, nn.Module):
            # The class's own method comes back where the instance's attribute goes.
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.own)


class ModulePatches:
    """The functions that stand in for a model's own, by the module or the Python module that calls them."""

    def __init__(self) -> None:
        self._placed: list[_Patch] = []

    def place(
        self, owner: nn.Module | ModuleType, name: str, fast: Callable[..., Any], own: Callable[..., Any] | None = None
    ) -> None:
        """Let `owner` call `fast` under this name; a second patch of one name replaces the first.

        `own` is what comes back afterwards, where another model's patch may stand in its place already.
        """
        known = next((patch for patch in self._placed if patch.owner is owner and patch.name == name), None)
        if known is not None:
            self._placed.remove(known)
            known.take()
        patch = _Patch(owner, name, fast, getattr(owner, name) if own is None else own)
        self._placed.append(patch)
        patch.put()

    def has(self, owner: nn.Module | ModuleType, name: str) -> bool:
        """Whether a patch stands there."""
        return any(patch.owner is owner and patch.name == name for patch in self._placed)

    def clear(self) -> None:
        """Take all patches away for good; a patched Python module would else outlive the model."""
        for patch in self._placed:
            patch.take()
        self._placed = []

    @contextmanager
    def off(self) -> Iterator[None]:
        """While it lasts, the model runs its own code."""
        placed, self._placed = self._placed, []
        for patch in placed:
            patch.take()
        try:
            yield
        finally:
            for patch in placed:
                patch.put()
            self._placed = placed


_PATCHES: WeakKeyDictionary[nn.Module, ModulePatches] = WeakKeyDictionary()


def patches_of(model: nn.Module) -> ModulePatches:
    """The patches of one model; none at first."""
    return _PATCHES.setdefault(model, ModulePatches())
