"""The bytes of all tensors that PyTorch allocates and frees, counted one by one: exact where process memory is noise.

with AllocationCounter() as counter:
    model(input_ids)
counter.peak_bytes
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the base looks at subclasses
    """Counts the storages that operators return, until they are freed.

    A storage that was there before is not counted, and several views of one storage are counted once. What an
    operator allocates and frees inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current_bytes = 0
        self.peak_bytes = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self._register(leaf.untyped_storage(), 0)
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._register(storage, storage.nbytes())
        return result

    def _register(self, storage: torch.UntypedStorage, size: int) -> None:
        """Count `size` bytes for a storage that is not known yet, until it is freed."""
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known() is storage:
            return
        self.current_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.current_bytes)

        def freed(_: weakref.ref[torch.UntypedStorage]) -> None:
            del self._known[key]
            self.current_bytes -= size

        self._known[key] = weakref.ref(storage, freed)
