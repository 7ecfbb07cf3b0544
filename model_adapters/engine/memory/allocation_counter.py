"""The bytes of all tensors that PyTorch allocates and frees, counted one by one: exact where process memory is noise.

peak, output = peak_bytes(lambda: model(input_ids), model.device)
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")


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


def peak_bytes(work: Callable[[], T], device: torch.device) -> tuple[int, T]:
    """Peak allocation during the work, relative to its start, and the work's result."""
    if device.type != "cuda":
        counter = AllocationCounter()
        with counter:
            result = work()
        return counter.peak_bytes, result
    torch.cuda.synchronize(device)
    before: int = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = work()
    peak: int = torch.cuda.max_memory_allocated(device)
    return peak - before, result
