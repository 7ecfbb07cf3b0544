"""Scripts for `--model scripted:FILE`, as tests write them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.evalkit.tiny_suite import TinySuite

Rule = dict[str, Any]
EVERY_SUM = TinySuite(tasks=("sum", "more"), ctxs=(512, 1024, 2048), samples=40)
"""Every question of `TinySuite` that tests ask."""


def write_script(path: Path, *rules: Rule, **model: Any) -> str:
    """Write a script with `model` as its first line; returns the value for --model."""
    lines = [*([{"model": model}] if model else []), *rules]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return f"scripted:{path}"


def sums(*, wrong: Iterable[int] = ()) -> list[Rule]:
    """Rules with the right answer to every question of `TinySuite`, except for samples with an index in `wrong`."""
    left_out = set(wrong)
    return [
        {"match": key.id, "text": "no idea" if key.index in left_out else EVERY_SUM.ask(key).sample.targets[0]}
        for key in EVERY_SUM.plan().keys
    ]


@contextmanager
def interrupted_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Press Ctrl-C at the first answer that a script waits for."""

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("model_adapters.script.sleep", stop)
        yield


def asked(log: Path) -> list[str]:
    """Ids of the requests to a script with `log`, in order."""
    return log.read_text(encoding="utf-8").split() if log.exists() else []
