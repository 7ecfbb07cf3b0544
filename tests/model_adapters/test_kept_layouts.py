"""A measured memory layout is read from the cache by the next process, unless anything that it depends on changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from model_adapters import kept_layouts, support
from model_adapters.architecture import read_config
from model_adapters.checkpoint import open_checkpoint
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.kept_layouts import layout_file, read_layout, write_layout
from tests.model_adapters.small_models import save_small_checkpoint

Found = Callable[..., MemoryLayout]


@pytest.fixture
def measured() -> list[torch.dtype]:
    """The dtypes of the measurements so far."""
    return []


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[torch.dtype]) -> Found:
    """The layout of a small checkpoint, as a new process finds it."""
    folder, own = str(save_small_checkpoint(tmp_path / "m", "olmo_hybrid")), support.measure_support

    def measure(model: PreTrainedModel, dtype: torch.dtype) -> MemoryLayout:
        measured.append(dtype)
        return own(model, dtype)

    def find(dtype: torch.dtype = torch.bfloat16) -> MemoryLayout:
        support._MEASURED.clear()
        checkpoint = open_checkpoint(folder, trust_remote_code=False)
        layout = support.checkpoint_support(checkpoint, read_config(checkpoint, False), dtype, False)
        assert layout is not None
        return layout

    monkeypatch.setattr(support, "measure_support", measure)
    return find


def test_a_layout_is_measured_once(found: Found, measured: list[torch.dtype], monkeypatch: pytest.MonkeyPatch) -> None:
    first = found()
    assert found() == first
    assert measured == [torch.bfloat16]
    found(torch.float16)
    assert measured == [torch.bfloat16, torch.float16]
    monkeypatch.setattr(kept_layouts, "version", lambda name: f"another {name}")
    assert found() == first
    assert len(measured) == 3
    monkeypatch.setattr(kept_layouts, "code_digest", lambda: "another")
    found()
    assert len(measured) == 4


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"layers": 3}', '{"layers": [[]], "states_per_layer": 1}'])
def test_a_damaged_file_is_measured_anew(found: Found, measured: list[torch.dtype], content: str) -> None:
    first = found()
    (file,) = kept_layouts.cache_folder().rglob("layouts/*")
    file.write_text(content)
    assert read_layout(file) is None
    assert found() == first
    assert len(measured) == 2
    assert read_layout(file) == first


def test_a_cache_that_cannot_be_written_costs_only_time(
    found: Found, measured: list[torch.dtype], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    assert found() == found()
    assert len(measured) == 2


def test_another_configuration_has_another_file(tmp_path: Path) -> None:
    layout = MemoryLayout((), continues=False)
    write_layout(layout_file("{}", torch.bfloat16), layout)
    assert read_layout(layout_file("{}", torch.bfloat16)) == layout
    assert read_layout(layout_file('{"a": 1}', torch.bfloat16)) is None
