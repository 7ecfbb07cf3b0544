"""Small random models on disk for whole commands, each saved once."""

import gc
from pathlib import Path
from types import SimpleNamespace

import pytest

from model_adapters import keeping
from tests.model_adapters.small_models import save_small_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama")


@pytest.fixture(scope="session")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("hybrid"), "olmo_hybrid")


@pytest.fixture(autouse=True)
def _no_full_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave small models to Python's own collections: a full one goes through all libraries and earlier tests."""
    free = {"collect": lambda: 0, "freeze": lambda: None, "unfreeze": gc.unfreeze}
    monkeypatch.setattr(keeping, "gc", SimpleNamespace(**free))
