"""Import PyTorch and transformers without the parts that no run of a model uses.

transformers, and PyTorch's attention of several sequences, decorate functions for PyTorch's compiler, and PyTorch calls
functions that the compiler shall leave alone; either imports the compiler and the tensors of several devices.
transformers also imports SciPy, for losses of object detection, and torchvision and torchaudio, for images and sound,
of which torchvision imports the compiler too. Whatever asks for these parts by name gets them. When transformers loads
its first model, it compiles the names of the weights of all its families, of which a model needs a few.

Only a process that is evalkit's own does this, such as its command line: for who imports this package, or an adapter
from it, transformers stays as it is.
"""

import functools
import gc
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_WRAPPER = f"{_COMPILER}._trace_wrapped_higher_order_op"
"""A module of the compiler with a context for masks made by vmap."""
_LEFT_ALONE = "_disable_dynamo"
"""PyTorch's own decorator of functions that the compiler shall leave alone."""
_MARKS = ("disable", "allow_in_graph", "assume_constant_result", "disallow_in_graph")
"""Decorators that tell the compiler how to treat a function, and change nothing else."""
_UNUSED = (
    "is_scipy_available",
    "is_sklearn_available",
    "is_torch_distributed_available",
    "is_torchaudio_available",
    "is_torchvision_available",
)
"""transformers' questions about parts that it imports if it can."""
_SCAN = "create_import_structure_from_path"

Run = Callable[[ModuleType], None]
"""Runs the code of a module that is being imported."""


def install() -> None:
    """Import PyTorch and transformers leanly in this process from now on, as far as they are not imported yet."""
    if not any(isinstance(finder, _LeanFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LeanFinder())


class _LeanFinder(MetaPathFinder):
    """Finds a few modules where they are, and changes how they are imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        lean = _LEAN.get(fullname)
        if lean is None:
            return None
        # The other finders decide where a module is, or that there is none.
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            # The loader belongs to this module alone.
            spec.loader.exec_module = functools.partial(lean, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


def _run_marks(run: Run, module: ModuleType) -> None:
    """Import torch._compile, which holds PyTorch's own decorator."""
    run(module)
    mark = getattr(module, _LEFT_ALONE, None)
    if mark is not None:
        setattr(module, _LEFT_ALONE, _not_compiled(mark))


def _not_compiled(mark: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's decorator of functions that the compiler shall leave alone, which imports the compiler when they run.

    While it is not imported, there is nothing to tell it.
    """

    def marked(function: Callable[..., Any] | None = None, recursive: bool = True) -> Callable[..., Any]:
        if function is None:
            return functools.partial(marked, recursive=recursive)
        told = mark(function, recursive)

        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return (told if _COMPILER in sys.modules else function)(*args, **kwargs)

        return inner

    return marked


def _run_utilities(run: Run, module: ModuleType) -> None:
    """Import transformers.utils.import_utils, which knows what is installed."""
    run(module)
    for name in _UNUSED:
        if hasattr(module, name):
            setattr(module, name, _no)
    # transformers reads the sources of all its models twice, because its cache holds fewer folders than they have.
    scan = getattr(getattr(module, _SCAN, None), "__wrapped__", None)
    if scan is not None:
        setattr(module, _SCAN, functools.cache(scan))


def _no() -> bool:
    return False


def _run_conversions(run: Run, module: ModuleType) -> None:
    """Import transformers.core_model_loading, whose conversions of names are regular expressions."""
    run(module)
    if getattr(module, "re", None) is re:
        expressions = ModuleType("re")
        vars(expressions).update(vars(re), compile=_CompiledLater)
        vars(module)["re"] = expressions


class _CompiledLater:
    """A regular expression that is compiled when it is first used."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._arguments = pattern, flags

    @functools.cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(*self._arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._compiled, name)

    def __deepcopy__(self, _: dict[int, Any]) -> "_CompiledLater":
        return self


def _run_decorated(run: Run, module: ModuleType) -> None:
    """Import a module that decorates functions for the compiler, or imports modules that do."""
    from model_adapters.keeping import leave_out_of_collections

    with _compiler_left_out(), _garbage_kept():
        run(module)
    leave_out_of_collections()


def _run_large(run: Run, module: ModuleType) -> None:
    """Import a module with many others."""
    with _garbage_kept():
        run(module)


_LEAN = {
    "torch": _run_large,
    "torch._compile": _run_marks,
    "torch.nn.attention.varlen": _run_decorated,
    "transformers.core_model_loading": _run_conversions,
    "transformers.utils.import_utils": _run_utilities,
    "transformers.modeling_utils": _run_decorated,
    "transformers.masking_utils": _run_decorated,
}


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect no garbage in this block: imports make hundreds of thousands of objects that stay."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _compiler_left_out() -> Iterator[None]:
    """Replace the compiler's decorators by ones that do nothing, unless the compiler is there already."""
    import torch

    if _COMPILER in sys.modules:
        yield
        return
    stand_in: Any = _StandIn(_COMPILER)
    wrapper: Any = _StandIn(_WRAPPER)
    wrapper.TransformGetItemToIndex = _wrapped_index
    before = {name: getattr(torch.compiler, name) for name in _MARKS if hasattr(torch.compiler, name)}
    for name in _MARKS:
        setattr(stand_in, name, _unmarked)
    for name in before:
        setattr(torch.compiler, name, _unmarked)
    vars(torch)["_dynamo"] = stand_in
    sys.modules[_WRAPPER] = wrapper
    try:
        yield
    finally:
        for name, mark in before.items():
            setattr(torch.compiler, name, mark)
        if vars(torch).get("_dynamo") is stand_in:  # and not the compiler, imported meanwhile
            del vars(torch)["_dynamo"]
        if sys.modules.get(_WRAPPER) is wrapper:
            del sys.modules[_WRAPPER]


class _StandIn(ModuleType):
    """Stands for a module, which is imported when something is asked for that the stand-in lacks."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _unmarked(function: Any = None, *_: Any, **__: Any) -> Any:
    """A decorator, with or without arguments, that returns the function as it is."""
    return _unmarked if function is None else function


def _wrapped_index() -> Any:
    return importlib.import_module(_WRAPPER).TransformGetItemToIndex()
