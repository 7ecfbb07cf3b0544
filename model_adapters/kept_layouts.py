"""Memory layouts in the cache folder: measuring one takes longer than reading it, and depends on no weights."""

import hashlib
import json
from contextlib import suppress
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from evalkit import files
from evalkit.cache import cache_folder
from model_adapters.code_digest import code_digest
from model_adapters.engine.memory.layout import AttentionCall, AttentionShape, LayerMemory, MemoryLayout


def layout_file(configuration: str, dtype: torch.dtype) -> Path:
    """Where the layout for a configuration (JSON) and dtype is kept, for these libraries and this code."""
    libraries = [version(name) for name in ("torch", "transformers")]
    key = json.dumps([configuration, str(dtype), *libraries, code_digest()])
    return cache_folder() / "layouts" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def read_layout(file: Path) -> MemoryLayout | None:
    """The layout that `write_layout` left in a file; None if there is none."""
    try:
        return layout_of(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def layout_of(content: Any) -> MemoryLayout:
    """The layout whose JSON values these are; raises ValueError if they are none."""
    try:
        return MemoryLayout(
            layers=tuple(LayerMemory(*layer) for layer in content["layers"]),
            states_per_layer=content["states_per_layer"],
            calls=tuple(_call(*call) for call in content["calls"]),
            continues=content["continues"],
            last_mlp_runs_last=content["last_mlp_runs_last"],
        )
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:  # torch raises the last
        raise ValueError(f"no layout: {error}") from error


def layout_content(layout: MemoryLayout) -> dict[str, Any]:
    """The JSON values of a layout."""
    return {
        "layers": [list(astuple(layer)) for layer in layout.layers],
        "states_per_layer": layout.states_per_layer,
        "calls": [[call.layer_index, call.is_last, _shape(call.shape), call.plain] for call in layout.calls],
        "continues": layout.continues,
        "last_mlp_runs_last": layout.last_mlp_runs_last,
    }


def write_layout(file: Path, layout: MemoryLayout) -> None:
    """Keep a layout; a cache that cannot be written only costs time at the next start."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(file) as out:
            out.write(json.dumps(layout_content(layout)).encode())


def _shape(shape: AttentionShape) -> list[Any]:
    device, dtype, *sizes = shape
    return [str(device), str(dtype).removeprefix("torch."), *sizes]


def _call(layer_index: int, is_last: bool, shape: list[Any], plain: bool) -> AttentionCall:
    device, dtype, *sizes = shape
    return AttentionCall(
        layer_index, is_last, AttentionShape(torch.device(device), getattr(torch, dtype), *sizes), plain
    )
