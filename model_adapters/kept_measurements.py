"""Keep what was measured of a loaded model on a GPU: its memory layout, and the activations of a segment.

Passes that measure a model take a second of a start. Their results, which are numbers and names, are in `measured/` of
the kernel cache, one file per model, and depend on all that a preflight depends on, and on the functions that replace
the model's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from evalkit.records import ModelIdentity
from model_adapters.engine.forward.activations import known_by_size
from model_adapters.engine.forward.model_runner import Known, known_of, set_known
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.scheduling.memory_plan import reserve_is_full
from model_adapters.kept_files import KeptFile, Kernels, kept_file
from model_adapters.kept_layouts import layout_content, layout_of
from model_adapters.module_patches import patches_of

FOLDER = "measured"


@dataclass(frozen=True, slots=True)
class KeptMeasurements:
    """The content of a file."""

    subject: dict[str, Any]
    """What the measurements depend on."""
    kernels: Kernels
    layout: dict[str, Any]
    mixers: tuple[str, ...]
    """Names of the modules that have states."""
    first_position: int
    activations: tuple[tuple[int, int], ...]
    """Sizes of segments in tokens, and the peak of their activations in bytes."""


@contextmanager
def measurements_kept(model: PreTrainedModel, identity: ModelIdentity, wanted: str) -> Iterator[None]:
    """Let an engine that is made in this block measure only what no earlier process has, and keep the rest.

    `choose_kernels` was asked for the `wanted` kernels of the model. Activations are measured all the same if memory is
    scarce: the passes that measure them are then the first to load libraries and kernels, and what those take must be
    taken before memory is planned.
    """
    file = kept_file(FOLDER, model, identity, (wanted, patches_of(model).described(model)))
    kept = None if file is None else file.read(KeptMeasurements)
    if kept is not None and not _recalled(model, kept):
        kept = None
    if kept is not None and reserve_is_full(model.device):
        known = known_by_size(model)
        known.update({**dict(kept.activations), **known})
    yield
    if file is not None:
        _keep(model, file, kept)


def _recalled(model: PreTrainedModel, kept: KeptMeasurements) -> bool:
    """Whether a model now counts as measured; not if the content fits no such model."""
    modules = dict(model.named_modules())
    try:
        layout = _on(model.device, layout_of(kept.layout))
        mixers = tuple(modules[name] for name in kept.mixers)
    except (ValueError, KeyError):
        return False
    if known_of(model) is None:
        set_known(model, Known(layout, mixers, kept.first_position))
    return True


def _keep(model: PreTrainedModel, file: KeptFile, kept: KeptMeasurements | None) -> None:
    """Add what is known of a model by now to what was kept, unless other kernels turned out to run."""
    known = known_of(model)
    if known is None or (kept is not None and not file.runs(kept.kernels)):
        return
    names = {module: name for name, module in model.named_modules()}
    found = KeptMeasurements(
        file.subject,
        file.kernels if kept is None else kept.kernels,
        layout_content(_on(torch.device(model.device.type), known.layout)),
        tuple(names[mixer] for mixer in known.mixers),
        known.first_position,
        tuple(sorted({**dict(() if kept is None else kept.activations), **known_by_size(model)}.items())),
    )
    if found != kept:
        # Those that were rejected before may be so again, and need not have run in this process.
        file.write(replace(found, kernels=replace(file.kernels, rejected=found.kernels.rejected)))


def _on(device: torch.device, layout: MemoryLayout) -> MemoryLayout:
    """The layout on another device of the same kind."""
    calls = (replace(call, shape=call.shape._replace(device=device)) for call in layout.calls)
    return replace(layout, calls=tuple(calls))
