"""All state-tracking tasks, and their names with a number of updates: `parity:64`."""

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from suites.state_tracking.automata import COUNTER, PARITY
from suites.state_tracking.entities import ENTITIES
from suites.state_tracking.episode import Task
from suites.state_tracking.permutations import A5_SHELL, A5_SYMBOLS, S5_SHELL, S5_SYMBOLS
from suites.state_tracking.recall import STATE_RECALL
from suites.state_tracking.registers import REGISTER_MACHINE

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        PARITY,
        COUNTER,
        S5_SHELL,
        S5_SYMBOLS,
        A5_SHELL,
        A5_SYMBOLS,
        REGISTER_MACHINE,
        ENTITIES,
        STATE_RECALL,
    )
}

MIN_UPDATES = 4
"""With fewer updates the first state and the last update would give away the answer."""
MAX_UPDATES = 65_536


def row_name(task: str, updates: int) -> str:
    """Name of a row, such as `parity:64`, so that numbers of updates have separate rows."""
    return f"{task}:{updates}"


def split_row_name(name: str) -> tuple[Task, int]:
    """The task and the number of updates of `parity:64`; UsageError for anything else."""
    task, _, updates = name.partition(":")
    check_known("state-tracking task", [task], TASKS)
    if not updates.isdecimal() or not MIN_UPDATES <= int(updates) <= MAX_UPDATES:
        raise UsageError(f"{name!r}: the number of updates must be {MIN_UPDATES} to {MAX_UPDATES:,}, written {task}:64")
    return TASKS[task], int(updates)
