"""Scaffolding of all tests: `evalkit …` typed in this process, Python or a shell in its own, a disk that is full."""

import json
import os
import resource
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer

from evalkit.cli import app, main

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Shown:
    """A command's output and exit code."""

    out: str
    err: str
    code: int

    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaints(self) -> list[str]:
        return [line.removeprefix("evalkit: ") for line in self.err.splitlines() if line.startswith("evalkit: ")]


@dataclass(frozen=True)
class Evalkit:
    """Runs the command line in this process; the fixture `evalkit` is an instance."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, line: str = "", *more: str | Path, code: int | None = 0) -> Shown:
        """Run `evalkit LINE MORE…` and check its exit code (None: any); LINE is split as in a shell, MORE is not."""
        self.capsys.readouterr()
        with self.monkeypatch.context() as typed:
            typed.setattr(typer.main, "get_command", _command_tree)
            typed.setattr(sys, "argv", ["evalkit", *shlex.split(line), *map(str, more)])
            with pytest.raises(SystemExit) as stopped:
                main()
        shown = Shown(*self.capsys.readouterr(), int(stopped.value.code or 0))
        assert code in (None, shown.code), shown
        return shown

    def refuses(self, line: str, *more: str | Path) -> str:
        """The command's one-line refusal of bad input: last on stderr, nothing on stdout, exit code 2."""
        shown = self(line, *more, code=2)
        assert shown.out == ""
        (complaint,) = shown.complaints
        assert shown.err.endswith(f"evalkit: {complaint}\n")
        assert "Traceback" not in shown.err
        return complaint


# Typer builds the commands anew for every call, which takes longer than most commands do.
_command_tree = cache(typer.main.get_command)


def commands() -> Iterator[str]:
    """All commands, as typed after `evalkit`, without groups."""
    root = _command_tree(app)
    groups: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while groups:
        path, group = groups.pop()
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                groups.append(((*path, name), command))
            else:
                yield " ".join((*path, name))


COMMANDS = sorted(commands())
"""All commands, as they are typed after `evalkit`."""


def run_python(
    *arguments: str | Path, folder: Path = REPOSITORY, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python in `folder` with evalkit importable; `environment` is added to its environment."""
    return _run([sys.executable, *map(str, arguments)], folder, environment)


def run_shell(line: str, *, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A bash script in `folder` that ends at the first failing command."""
    return _run(["bash", "-e", "-c", line], folder, environment)


def start_python(*arguments: str | Path, folder: Path = REPOSITORY) -> "subprocess.Popen[str]":
    """Python as a background process; use it as a context, and read its output with `communicate`."""
    command = [sys.executable, *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=_environment({}), text=True, **pipes)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, env=_environment(environment), capture_output=True, text=True)


def _environment(more: dict[str, str]) -> dict[str, str]:
    paths = filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


@contextmanager
def limited_file_size(bytes: int) -> Iterator[None]:
    """Simulate a full disk: no file may exceed `bytes`. Python ignores the signal that is sent then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    """An HTTP server on a free local port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
