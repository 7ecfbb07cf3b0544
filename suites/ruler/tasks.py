"""The 13 tasks of RULER and its two dialects.

Hsieh et al., RULER: What's the Real Context Size of Your Long-Context Language Models? arXiv:2404.06654. The prompt
templates in this package are the paper's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.running.excerpts import places_of

Metric = Literal["all", "part", "part_normalized"]
HaystackKind = Literal["noise", "essays", "needles"]

SHORTEST = 512
"""Shortest supported context length."""
PUBLISHED_SHORTEST = 4096
"""Shortest length of the published benchmark; below it the original shortens cwe."""


@dataclass(frozen=True, slots=True)
class NeedleTask:
    """Needles of a task, and how many of them are requested."""

    haystack: HaystackKind
    key_kind: str
    value_kind: str
    keys: int = 1
    values: int = 1
    queries: int = 1


NEEDLE_TASKS: Mapping[str, NeedleTask] = {
    "niah_single_1": NeedleTask("noise", "words", "numbers"),
    "niah_single_2": NeedleTask("essays", "words", "numbers"),
    "niah_single_3": NeedleTask("essays", "words", "uuids"),
    "niah_multikey_1": NeedleTask("essays", "words", "numbers", keys=4),
    "niah_multikey_2": NeedleTask("needles", "words", "numbers"),
    "niah_multikey_3": NeedleTask("needles", "uuids", "uuids"),
    "niah_multivalue": NeedleTask("essays", "words", "numbers", values=4),
    "niah_multiquery": NeedleTask("essays", "words", "numbers", keys=4, queries=4),
}

BUDGETS: Mapping[str, int] = {
    **dict.fromkeys(NEEDLE_TASKS, 128),
    "vt": 30,
    "cwe": 120,
    "fwe": 50,
    "qa_1": 32,
    "qa_2": 32,
}
"""Maximum new tokens per task, in the paper's dialect."""

TASKS: tuple[str, ...] = tuple(BUDGETS)
COUNTING_TASKS = ("cwe", "fwe")
QA_CORPORA: Mapping[str, str] = {"qa_1": "squad", "qa_2": "hotpotqa"}

_OLMES_BUDGET = 50
_OLMES_BUDGETS: Mapping[str, int] = {"niah_multikey_3": 100, "niah_multiquery": 100, "cwe": 100}

Dialect = Literal["nvidia", "olmes"]
DIALECTS: tuple[Dialect, ...] = ("nvidia", "olmes")
"""`nvidia` is the paper's; `olmes` is that of Ai2's published numbers. Their numbers are not comparable."""


def generation_tokens(dialect: Dialect, task: str, ctx: int) -> int:
    """Maximum number of new tokens, which is part of the context length."""
    if dialect == "nvidia":
        return BUDGETS[task]
    if task == "niah_multivalue":
        return 300 if ctx <= 4096 else 250
    return _OLMES_BUDGETS.get(task, _OLMES_BUDGET)


def opening(dialect: Dialect, prefix: str) -> str:
    """The answer prefix after the question: unchanged, or on a line of its own without outer spaces."""
    return prefix if dialect == "nvidia" else "\n" + prefix.strip()


def metric(dialect: Dialect, task: str) -> Metric:
    """The metric of a task."""
    if task not in QA_CORPORA:
        return "all"
    return "part" if dialect == "nvidia" else "part_normalized"


def evidence(task: str, prompt: str, targets: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The first place of each target in a prompt, as spans of characters; empty for tasks that count words."""
    return () if task in COUNTING_TASKS else places_of(prompt, targets)


def haystack_corpora(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """Roles of the corpora that these tasks read: some of `essays`, `squad`, `hotpotqa`."""
    essays = any(task in NEEDLE_TASKS and NEEDLE_TASKS[task].haystack == "essays" for task in tasks)
    return (*(["essays"] if essays else []), *(role for task, role in QA_CORPORA.items() if task in tasks))
