"""Fixtures shared by all tests; every path a test writes to is temporary."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import REPOSITORY, Evalkit

# Timings are unreliable on a machine with other load; CI runs are deterministic.
settings.register_profile("evalkit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("evalkit")

# Shells start background jobs with interrupts ignored, and the runs that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests compare with transformers' own operators, which these packages replace on every device when they are installed.
for package in ("fla", "causal_conv1d", "mamba_ssm"):
    sys.modules.setdefault(package, None)  # type: ignore[call-overload]  # None: not to be imported

GOLDEN = REPOSITORY / "tests" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew; read the diff afterwards")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that take minutes first, so that no process waits for another at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_interpreted.py", "test_families.py"))


@pytest.fixture
def check_golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`check_golden(name, text)` compares the whole `text` with tests/golden/`name`."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture
def evalkit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Evalkit:
    """`evalkit("gate base new", code=1)` runs that command in a temporary folder and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    return Evalkit(monkeypatch, capsys)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora (MMLU, SQuAD, HotpotQA, novels, tokenizers); skips if it is absent."""
    folder = Path(os.environ.get("EVALKIT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real corpora are absent; set EVALKIT_TEST_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def _isolated_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Point caches at a temporary folder and forbid hub downloads, so no test depends on the machine."""
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "evalkit-cache"))
    # Kernels are compiled once per session: loading a model on a GPU would name its own test's folder to Triton.
    monkeypatch.setenv(
        "TRITON_CACHE_DIR", os.environ.get("TRITON_CACHE_DIR") or str(tmp_path_factory.getbasetemp() / "triton")
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("EVALKIT_DATA", raising=False)
