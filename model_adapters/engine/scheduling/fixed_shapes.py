"""Shapes of passes that do not depend on the other requests of a run, so that in half precision answers do not either.

Kernels round differently for other numbers of rows, so an answer usually depends on what else is decoded, and on where
a stopped run was resumed. With fixed shapes, every decode step has the same number of rows, and every prompt is read by
itself, in segments whose borders follow from the prompt alone.
"""

from dataclasses import dataclass

from transformers import PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.engine.memory.layout import MemoryLayout

CPU_SEQUENCES, GPU_SEQUENCES = 4, 8
CPU_SEGMENT_TOKENS, GPU_SEGMENT_TOKENS = 1024, 8192


@dataclass(frozen=True, slots=True)
class FixedShapes:
    """The shapes of all passes of a run."""

    sequences: int
    """Rows of every decode step, whether or not they are in use."""
    segment_tokens: int | None
    """None if each prompt is read in one piece."""

    def __str__(self) -> str:
        pieces = "prompts in one piece" if self.segment_tokens is None else f"segments of {self.segment_tokens:,}"
        return f"decode steps of {self.sequences}, {pieces}"


def fix_shapes(
    model: PreTrainedModel, layout: MemoryLayout, segment_tokens: int | None, sequences: int | None, *, on_gpu: bool
) -> FixedShapes:
    """The shapes for a model, with the given sizes or else constants of the kind of device.

    Raises UsageError if a decode step of the model mixes its rows whatever its shape.
    """
    mixing = _mixes_rows(model, layout)
    if mixing is not None and (sequences or 1) > 1:
        raise UsageError(
            f"--batch-invariant with --batch {sequences}: {type(model).__name__} {mixing}; leave --batch out"
        )
    if sequences is None:
        sequences = 1 if mixing is not None else GPU_SEQUENCES if on_gpu else CPU_SEQUENCES
    if segment_tokens is None and layout.continues:
        segment_tokens = GPU_SEGMENT_TOKENS if on_gpu else CPU_SEGMENT_TOKENS
    return FixedShapes(sequences, segment_tokens)


def _mixes_rows(model: PreTrainedModel, layout: MemoryLayout) -> str | None:
    """Why the shapes inside a decode step depend on all of its rows, as the end of a sentence; None if they do not."""
    if any("expert" in name for name, _ in model.named_modules()):
        return "gives each expert as many rows as choose it, so only steps of one sequence are invariant"
    if not all(call.plain for call in layout.calls):
        return "sums attention over as many keys as the longest sequence has, so only steps of one are invariant"
    return None
