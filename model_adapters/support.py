"""Measure, before weights are read, whether the engine runs a model and what its layers store."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.architecture import skeleton
from model_adapters.checkpoint import Checkpoint
from model_adapters.engine.fast_modules.choose import choose_kernels
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.hollow import make_hollow, products_skipped
from model_adapters.kept_layouts import layout_file, read_layout, write_layout
from model_adapters.messages import quiet_transformers

_MEASURED: dict[tuple[str, torch.dtype], MemoryLayout] = {}
"""Layouts by configuration and dtype: a run needs one for its forecast and again when it loads the model."""


def measure_support(model: PreTrainedModel, dtype: torch.dtype) -> MemoryLayout:
    """The memory layout of a model on the meta device if it runs in `dtype`; its weights become hollow.

    A few tokens run through it on the CPU, in segments, a branch and a decode step. Raises UsageError, in one line, if
    the engine cannot run it.
    """
    with quiet_transformers(), products_skipped(), _one_thread():
        make_hollow(model, dtype)
        choose_kernels(model)  # libraries' kernels may need a GPU
        return ModelRunner(model).layout


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run PyTorch's operators on one thread in this block: on tensors this small, several mostly wait for each other.

    On a busy machine they wait ten times as long as the whole measurement takes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def checkpoint_support(
    checkpoint: Checkpoint, config: PreTrainedConfig, dtype: torch.dtype | str, trust_remote_code: bool
) -> MemoryLayout | None:
    """The memory layout of a checkpoint; None for one with its own code, which may need its weights or a GPU.

    `dtype` "auto" is the checkpoint's own. What was measured is kept in the cache folder.
    """
    if "auto_map" in checkpoint.config and trust_remote_code:
        return None
    number = number_format(config, dtype)
    measured = config.to_json_string(use_diff=False), number
    if measured in _MEASURED:
        return _MEASURED[measured]
    file = layout_file(*measured)
    layout = read_layout(file)
    if layout is None:
        frame = skeleton(checkpoint, config, trust_remote_code)
        try:
            layout = measure_support(frame, number)
        except UsageError as error:
            raise UsageError(f"{checkpoint.name}: {error}") from error
        write_layout(file, layout)
    _MEASURED[measured] = layout
    return layout


def number_format(config: PreTrainedConfig, dtype: torch.dtype | str) -> torch.dtype:
    """The dtype of a --dtype option, where `auto` is the checkpoint's own."""
    if isinstance(dtype, torch.dtype):
        return dtype
    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
