"""lm-eval's tasks, loaded through its public API; tasks that cannot be run are refused in one line.

lm-eval is imported inside functions, because importing it takes seconds.
"""

import contextlib
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.running.model_options import ChatMode, ChatOptions
from suites.lm_eval_tasks.settings import LmEvalSettings

DEFAULT_BUDGET = 256
"""Maximum new tokens of tasks that state none, as for lm-eval's `hf` model."""
_SEEDS = {"python": 0, "numpy": 1234}
"""Seeds that lm-eval sets before it loads tasks, some of which draw."""


@dataclass(frozen=True, slots=True)
class LoadedTasks:
    """Loaded tasks."""

    tasks: dict[str, Any]
    """lm-eval's `Task`, by name in the requested order."""
    groups: dict[str, Any]
    """lm-eval's `Group`, by name."""
    group_map: dict[str, list[str]]
    """Names of a group's direct children."""

    def task_dict(self) -> dict[str, Any]:
        """The argument of lm-eval's evaluator."""
        return {"tasks": self.tasks, "groups": self.groups, "group_map": self.group_map}


def check_tasks(settings: LmEvalSettings) -> None:
    """Raise UsageError for a name that lm-eval does not know, without loading any data.

    Takes seconds, for importing lm-eval and, unless all tasks are the user's own, for its index of tasks.
    """
    quiet_lm_eval()
    with _named_failures(settings):
        own = _tasks_of(settings.include_path)
        if not all(name in own.all_tasks or _is_file(name) for name in settings.tasks):
            _check_names(_all_tasks(settings.include_path), settings.tasks)


def load_tasks(settings: LmEvalSettings) -> LoadedTasks:
    """Load the tasks, and set their number of examples and the seed that draws them.

    Raises UsageError for a name that lm-eval does not know, data that cannot be loaded, and tasks that sample answers,
    run code written by the model, or have input other than text.
    """
    import datasets
    import numpy as np

    datasets.disable_progress_bars()
    quiet_lm_eval()
    random.seed(_SEEDS["python"])
    np.random.seed(_SEEDS["numpy"])
    with _named_failures(settings):
        loaded = _load(settings)
    for name, task in loaded["tasks"].items():
        _set_shots(task, settings.shots)
        task.set_fewshot_seed(seed=settings.seed)
        _refuse(name, task)
    return LoadedTasks(loaded["tasks"], loaded.get("groups", {}), loaded.get("group_map", {}))


def check_chat(loaded: LoadedTasks, chat: ChatOptions) -> None:
    """Raise UsageError for a task that has no form in this convention, or no place for a thought."""
    mode = chat.mode
    if mode is ChatMode.OFF:
        return
    for name, task in loaded.tasks.items():
        if chat.thinking and (output_type(task) != "generate_until" or task.get_config("gen_prefix") is not None):
            raise UsageError(
                f"--thinking {chat.thinking}: task {name} has no place for a thought, as it scores given answers or "
                "states how one begins (gen_prefix); use --thinking off, or leave the task out"
            )
        if output_type(task) == "loglikelihood_rolling":
            raise UsageError(f"--chat {mode}: task {name} scores whole texts, which have no turns; leave it out")
        if mode is ChatMode.USER and task.get_config("gen_prefix") is not None:
            raise UsageError(
                f"--chat {mode}: task {name} states the beginning of an answer (gen_prefix), which lm-eval puts into "
                f"the assistant's turn; use --chat {ChatMode.PREFILL}"
            )


def quiet_lm_eval() -> None:
    """Silence lm-eval's notes on every default, which would break up our output; errors stay."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def output_type(task: Any) -> str:
    """loglikelihood, loglikelihood_rolling, multiple_choice or generate_until."""
    return str(task.OUTPUT_TYPE)


def _load(settings: LmEvalSettings) -> Any:
    """Load by name; lm-eval's thousands of tasks are not read if the user's folder has all requested ones."""
    names, folder = list(settings.tasks), settings.include_path
    own = _tasks_of(folder)
    if all(_is_file(name) or name in own.all_subtasks for name in names):
        return own.load(names)
    if all(name in own.all_tasks for name in names):
        # A group of the user may contain tasks of lm-eval, which are not found here.
        with contextlib.suppress(KeyError, ValueError):
            return own.load(names)
    manager = _all_tasks(folder)
    _check_names(manager, names)
    return manager.load(names)


@contextlib.contextmanager
def _named_failures(settings: LmEvalSettings) -> Iterator[None]:
    """Turn any error of lm-eval within the block into a UsageError that names the tasks."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # each data set and each YAML file fails in its own way
        raise UsageError(
            f"lm-eval cannot load {', '.join(settings.tasks)}: {_first_line(error)}; check its data, or the network"
        ) from error


def _tasks_of(folder: str | None) -> Any:
    """lm-eval's `TaskManager` of the user's folder alone."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder, include_defaults=False)


@cache
def _all_tasks(folder: str | None) -> Any:
    """lm-eval's `TaskManager` of its own tasks and the user's; made once, as it reads thousands of files."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def _check_names(manager: Any, names: Sequence[str]) -> None:
    for name in names:
        if name not in manager.all_tasks and not _is_file(name):
            hint = did_you_mean(name, manager.all_tasks, "`lm-eval ls tasks` lists them")
            raise UsageError(f"lm-eval has no task {name!r}{hint}")


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) and Path(name).is_file()


def _set_shots(task: Any, shots: int | None) -> None:
    """Set the number of examples as lm-eval does: a task that states 0 keeps it."""
    stated = task.get_config("num_fewshot")
    if shots is not None and stated != 0:
        task.set_config(key="num_fewshot", value=shots)
    elif stated is None:
        task.set_config(key="num_fewshot", value=0)


def _refuse(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(f"task {name} runs code that the model writes; run it with lm-eval itself, in a sandbox")
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"task {name} has input other than text, which these models do not read; leave it out")
    stated = task.get_config("generation_kwargs") or {}
    if output_type(task) == "generate_until" and generation(stated)["do_sample"]:
        raise UsageError(f"task {name} samples its answers (do_sample), and evalkit is greedy; leave it out")
    shots = task.get_config("num_fewshot") or 0
    if shots > 0:
        _check_examples(name, task, shots)


def _check_examples(name: str, task: Any, shots: int) -> None:
    docs = task.fewshot_docs()
    there = 0 if docs is None else len(list(docs))
    if there < shots:
        raise UsageError(f"{shots} shots: task {name} has {there} examples to choose from; lower --shots")


def generation(stated: dict[str, Any]) -> dict[str, Any]:
    """Generation settings as lm-eval reads them: `until`, `max_gen_toks` and `do_sample`, under any alias."""
    from lm_eval.models.utils import normalize_gen_kwargs

    return dict(normalize_gen_kwargs(stated, DEFAULT_BUDGET))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
