"""Models of runs one after another: the last one stays loaded for the next run on it.

keeper = ModelKeeper()
opened = open_model(options, ctxs, keeper)      # loads the model
opened = open_model(options, others, keeper)    # the same weights, for other contexts
keeper.close()
"""

import atexit
import contextlib
import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from evalkit.running.model_options import ChatMode, ModelOptions

if TYPE_CHECKING:
    from model_adapters.loading import LoadedModel

_FREE: Mapping[str, Any] = {
    "segment_tokens": None,
    "batch_sequences": None,
    "skip_preflight": False,
    "chat": ChatMode.OFF,
    "thinking": 0,
    "think_tags": None,
}
"""Options that change nothing in what is loaded, as they are by default."""


class ModelKeeper:
    """The model loaded last, of which no other model's weights are in memory.

    Close it once no run follows, and after a run that failed, since its model may not be in order.
    """

    def __init__(self) -> None:
        self._loaded: LoadedModel | None = None
        self._options: ModelOptions | None = None
        self._stamps: Mapping[Path, object] = {}
        self._leaves_something = False
        """Whether something was loaded, or begun to be, since memory was last freed."""

    def make_room(self, options: ModelOptions) -> int:
        """Free what `options` do not use; returns the bytes of the weights that are loaded for them already."""
        if self._loaded is None or not self._holds(options):
            self.close()
            return 0
        _collect()
        leave_out_of_collections()
        return sum(weight.nbytes for weight in self._loaded.model.parameters())

    def load(self, options: ModelOptions, ctxs: Sequence[int]) -> "LoadedModel":
        """As `load_model`, but a model whose options and files are the same is not loaded again."""
        from model_adapters.loading import load_model

        if self._loaded is None or not self._holds(options):
            self.close()
            self._leaves_something = True
            self._loaded = load_model(options, ctxs)
            self._options, self._stamps = replace(options, **_FREE), _stamps(self._loaded.files)
            gc.collect()
            leave_out_of_collections()
        return self._loaded.for_contexts(ctxs)

    def close(self) -> None:
        """Free the model; of one that failed, once the error is handled, because its traceback holds the model."""
        self._loaded = self._options = None
        if self._leaves_something:
            self._leaves_something = False
            _collect()

    def _holds(self, options: ModelOptions) -> bool:
        loaded = self._loaded
        return (
            loaded is not None and replace(options, **_FREE) == self._options and _stamps(loaded.files) == self._stamps
        )


def leave_out_of_collections() -> None:
    """Let collections skip what exists now: with a model and its libraries, a full one takes 0.2 s, while a GPU waits.

    At the end of the process it is collected, because libraries report what is left then.
    """
    gc.freeze()
    atexit.unregister(gc.unfreeze)
    atexit.register(gc.unfreeze)


def _stamps(files: Sequence[Path]) -> Mapping[Path, object]:
    """What changes with the content of `files` and those beside them, such as the tokenizer and its chat template."""
    found = {}
    for path in {path for folder in {file.parent for file in files} for path in folder.glob("*")}:
        with contextlib.suppress(OSError):  # one that has just been removed
            stat = path.stat()
            if S_ISREG(stat.st_mode):
                found[path] = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
    return found


def _collect() -> None:
    """Free what earlier runs left: layers whose forward is replaced refer to themselves, and hold all weights."""
    import torch

    gc.unfreeze()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
