"""The models that come with evalkit, listed from their files without loading weights."""

from dataclasses import dataclass
from math import prod

from evalkit.running.model_options import REFERENCE_PREFIX
from model_adapters import reference
from model_adapters.checkpoint import open_checkpoint
from model_adapters.weights import tensor_headers, weight_files


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of `evalkit models list`."""

    name: str
    """Name for --model."""
    architecture: str
    parameters: int
    """Number of parameters; tied ones count once."""
    trained: bool
    note: str


def list_models() -> list[ModelRow]:
    """All embedded models; UsageError if one is missing or damaged."""
    return [_row(f"{REFERENCE_PREFIX}{name}") for name in reference.NAMES]


def _row(name: str) -> ModelRow:
    checkpoint = open_checkpoint(name, trust_remote_code=False)
    headers = [header for file in weight_files(checkpoint) for header in tensor_headers(name, file).values()]
    return ModelRow(
        name=name,
        architecture=checkpoint.family,
        parameters=sum(prod(header.shape) for header in headers),
        trained=checkpoint.sidecar.trained,
        note=checkpoint.sidecar.note,
    )
