"""Fixtures shared by the tests of how models answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from model_adapters import support
from model_adapters.kernels import kernel_cache
from tests.model_adapters.hub_server import HubServer, serve_hub


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check kernels, also on a GPU, and measure models in every test: some tests plant faults."""
    monkeypatch.setattr(kernel_cache, "REMEMBERED_DEVICES", ())
    monkeypatch.setattr(support, "_MEASURED", {})


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """An empty hub, and an empty cache in front of it."""
    with serve_hub() as server:
        # huggingface_hub reads it once on import, so setting the environment would be too late.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server
