"""The description of the machine is plain JSON, and what cannot be found out is None."""

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import evalkit
from evalkit.records import Environment, Gpu
from evalkit.records.codec import from_json, to_json
from evalkit.running import environment
from evalkit.running.environment import describe_environment
from tests.support import run_python


@pytest.fixture(autouse=True)
def _asked_again() -> Iterator[None]:
    """The commit is looked up once per process; here git is replaced."""
    environment._git.cache_clear()
    yield
    environment._git.cache_clear()


def test_it_says_what_a_rerun_needs() -> None:
    described = describe_environment()
    assert from_json(Environment, to_json(described)) == described
    assert described.evalkit == evalkit.__version__
    assert described.python == platform.python_version()
    assert (described.cpu_count or 0) >= 1
    assert (described.libraries["torch"] or "").startswith("2.")
    assert described.libraries["wonderwords"] == "2.2.0"


def test_a_library_that_is_not_installed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "LIBRARIES", ("no-such-library",))
    assert describe_environment().libraries == {"no-such-library": None}


@pytest.mark.parametrize("failure", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_without_git_the_commit_is_none(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setattr(subprocess, "run", _raiser(failure))
    described = describe_environment()
    assert (described.git_commit, described.git_dirty) == (None, None)


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="A Card", total_memory=80 * 2**30, major=9, minor=0)
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2, get_device_properties=lambda index: card)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.8")))
    done = subprocess.CompletedProcess([], 0, stdout="570.1\n570.1\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: done)
    assert describe_environment().gpu == Gpu(
        name="A Card",
        count=2,
        memory_bytes=80 * 2**30,
        capability="9.0",
        cuda="12.8",
        driver="570.1",
    )


def test_describing_imports_no_torch() -> None:
    code = "import sys; from evalkit.running.environment import *; assert describe_environment().gpu is None; "
    assert run_python("-c", code + "sys.exit('torch' in sys.modules)").returncode == 0


def _raiser(error: Exception) -> Callable[..., Any]:
    def raises(*arguments: Any, **options: Any) -> Any:
        raise error

    return raises


def test_git_is_asked_without_taking_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that times out would leave an index.lock behind, and every later git command would fail."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environment.subprocess, "run", run)
    environment.describe_environment()
    commands = [command for command in asked if command[0] == "git"]
    assert all(command[1] == "--no-optional-locks" for command in commands)
    assert any("status" in command for command in commands)


def test_git_is_asked_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environment.subprocess, "run", run)
    first = environment.describe_environment()
    count = len(asked)
    assert environment.describe_environment() == first
    assert len(asked) == count == 2
