"""Runs of checkpoints whose levels are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from evalkit.analysis.finished_run import StoredRun
from tests.evalkit.run_factory import RunSpec, Score, make_run

QUESTIONS = np.random.default_rng(0).random((3, 60))
"""Difficulties of three tasks' questions: a checkpoint answers those below its level."""


def checkpoint(folder: Path, name: str, level: float, tokens: int | None, **changes: object) -> StoredRun:
    scores: dict[tuple[str, int], list[Score]] = {
        (f"task_{task}", 4096): [float(question < level) for question in QUESTIONS[task]] for task in range(3)
    }
    spec = RunSpec(scores, model=name, weights=f"{name}-{tokens}", tokens_seen=tokens)
    return make_run(folder / f"{name}-{tokens}-{len(changes)}", replace(spec, **changes))  # type: ignore[arg-type]


def curve(folder: Path, name: str, speed: float, last: int = 5) -> list[StoredRun]:
    """A model whose level depends only on speed × tokens: twice the speed needs half the tokens."""
    tokens = [10**6 * 2**step for step in range(last + 1)]
    return [checkpoint(folder, name, 0.95 - 0.9 * (speed * n / 1e6) ** -0.3, n) for n in tokens]
