"""Placement of the answer prefix in prompts that were prepared elsewhere."""

import re
from collections.abc import Sequence

from suites.ruler import common_words, frequent_words, needles, questions, tasks, variable_tracking

_NEEDLE_QUESTION = re.compile(
    r"What (?P<number>is|are all) the special magic (?P<kind>\w+) for (?P<query>.+) "
    r"mentioned in the provided text\?\s*\Z"
)
_VARIABLE_QUESTION = re.compile(
    r"Find all variables that are assigned the value (?P<query>\S+) in the text above\.\s*\Z"
)
_QUESTION = re.compile(r"Question: [^\n]*\Z")


def full_prompt(
    dialect: tasks.Dialect, task: str, text: str, prefix: str | None, targets: Sequence[str]
) -> tuple[str, str]:
    """The whole prompt from a file's `input` and `answer_prefix`, and the part that begins the answer.

    nvidia: both are concatenated; without an `answer_prefix`, `input` is the whole prompt. olmes: the prefix is on a
    line of its own without outer spaces, and is derived from the question if the file does not give it. In both
    dialects an `input` that already ends with the prefix is unchanged.
    """
    if prefix is None and dialect == "olmes":
        prefix = _prefix_asked_for(task, text, len(targets))
    if not prefix or not prefix.strip():
        return text, ""
    if text.rstrip().endswith(prefix.strip()):
        return text, text[text.rindex(prefix.strip()) :]
    opening = tasks.opening(dialect, prefix)
    return text + opening, opening


def _prefix_asked_for(task: str, text: str, references: int) -> str | None:
    """The paper's prefix for the question at the end of `text`; None if `text` has another end."""
    end = text[-2000:]
    if task in tasks.NEEDLE_TASKS:
        match = _NEEDLE_QUESTION.search(end)
        if match is None:
            return None
        template = needles.ONE_PREFIX if match["number"] == "is" else needles.SEVERAL_PREFIX
        return template.format(kind=match["kind"], query=match["query"])
    if task == "vt":
        match = _VARIABLE_QUESTION.search(end)
        return match and variable_tracking.PREFIX.format(count=references, query=match["query"])
    if task in ("cwe", "fwe"):
        prompt = common_words if task == "cwe" else frequent_words
        question = prompt.TEMPLATE.rpartition("\n")[2]
        return prompt.PREFIX if end.rstrip().endswith(question) else None
    return questions.PREFIX if _QUESTION.search(end.rstrip()) else None
