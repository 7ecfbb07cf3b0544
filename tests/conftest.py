"""Fixtures shared by all tests; every path a test writes to is temporary."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Time says nothing on a machine that does other things too; a CI run is the same each time.
settings.register_profile("evalkit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("evalkit")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora (MMLU, SQuAD, HotpotQA, novels, tokenizers); skips where it is absent."""
    folder = Path(os.environ.get("EVALKIT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real corpora are absent; set EVALKIT_TEST_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def _isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Point caches at a temporary folder and forbid hub downloads, so no test depends on the machine."""
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "evalkit-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("EVALKIT_DATA", raising=False)
