"""Selectors, with which policies, leaderboards and efficiency reports name a row, a mean, a figure or a cost."""

import re
from dataclasses import dataclass

from evalkit.errors import UsageError

COSTS = ("prefill_seconds", "decode_seconds", "peak_memory")
# A metric of lm-eval may have an @ of its own, before its filter: `humaneval/pass@1,create_test`.
_PATH = r"[^@]*[^@\s](?:@[0-9]+,[^@]*[^@\s])?"
_SELECTOR = re.compile(rf"(?P<name>[^/@\s][^/@]*)(?:/(?P<task>{_PATH}))?(?:@(?P<ctx>[0-9]{{1,12}})(?P<kilo>[kK]?))?")


def spelled(suite: str, name: str, ctx: int | None) -> str:
    """The selector of one value; `name` is empty for the suite's mean, `ctx` None or 0 without a length."""
    path = f"{suite}/{name}" if name else suite
    return f"{path}@{ctx}" if ctx else path


@dataclass(frozen=True, slots=True)
class Selector:
    """`suite[/task-glob][@ctx]`, or a time or an amount of memory such as `prefill_seconds[@ctx]`."""

    text: str
    """The selector as it was written."""
    name: str
    """A suite, or one of COSTS."""
    task: str | None
    """A glob over tasks, the name of a derived figure, or one of COSTS; None: the suite's mean."""
    ctx: int | None

    @staticmethod
    def parse(text: str) -> "Selector":
        """Raises UsageError for an invalid selector."""
        match = _SELECTOR.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{text!r} selects nothing; write suite, suite/task, suite/task@65536 or prefill_seconds, "
                "with * for any part of a task's name"
            )
        ctx = None if match["ctx"] is None else int(match["ctx"]) * (1024 if match["kilo"] else 1)
        return Selector(text, match["name"], match["task"], ctx)
