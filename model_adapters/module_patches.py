"""Replace forwards of single modules by faster ones, and restore the model's own code.

patches = patches_of(model)
patches.place(layer, "forward", fast)
with patches.off():
    model(input_ids)               # as transformers wrote it
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, cast
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
            # Deleting the instance's attribute restores the class's own method.
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.own)


class ModulePatches:
    """The functions that replace a model's own, by the module or Python module that owns them."""

    def __init__(self) -> None:
        self._placed: list[_Patch] = []

    def place(
        self, owner: nn.Module | ModuleType, name: str, fast: Callable[..., Any], own: Callable[..., Any] | None = None
    ) -> None:
        """Replace `owner`'s function of this name by `fast`; a second patch of the same name replaces the first.

        `own` is the function to restore; needed if another model's patch may already be in place.
        """
        known = next((patch for patch in self._placed if patch.owner is owner and patch.name == name), None)
        if known is not None:
            self._placed.remove(known)
            known.take()
        patch = _Patch(owner, name, fast, getattr(owner, name) if own is None else own)
        self._placed.append(patch)
        patch.put()

    @property
    def placed(self) -> tuple[object, ...]:
        """The patches in place, equal to those of another time if the model runs the same functions."""
        return tuple(self._placed)

    def described(self, model: nn.Module) -> tuple[str, ...]:
        """The patches in place, as another process that placed the same with the same code describes them."""
        names = {module: name for name, module in model.named_modules()}

        def describe(patch: _Patch) -> str:
            owner, fast = patch.owner, cast(FunctionType, patch.fast)
            place = names.get(owner, "elsewhere") if isinstance(owner, nn.Module) else owner.__name__
            # Its name may be that of the function that it replaces.
            return f"{place} {patch.name}: {fast.__globals__['__name__']} {fast.__code__.co_firstlineno}"

        return tuple(map(describe, self._placed))

    def has(self, owner: nn.Module | ModuleType, name: str) -> bool:
        """Whether a patch of this name is in place."""
        return any(patch.owner is owner and patch.name == name for patch in self._placed)

    def clear(self) -> None:
        """Remove all patches for good; otherwise a patched Python module would outlive the model."""
        for patch in self._placed:
            patch.take()
        self._placed = []

    @contextmanager
    def off(self) -> Iterator[None]:
        """Let the model run its own code in this block."""
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
    """The patches of a model, created empty on the first call."""
    return _PATCHES.setdefault(model, ModulePatches())
