"""`evalkit run --suite lm-eval:TASKS`: tasks of lm-eval as a stored run of ours."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evalkit.cli.shared import options
from evalkit.cli.shared.suite_run import ModelOptions, RunOptions, readable_tokens
from evalkit.errors import UsageError
from evalkit.running.plan import LM_EVAL


def tasks_of(suite: str) -> tuple[str, ...]:
    """The tasks named after `lm-eval:`; UsageError where they are not, or another suite is named."""
    name, colon, tasks = suite.partition(":")
    if name != LM_EVAL or not colon:
        raise UsageError(f"--suite {suite!r}: write {LM_EVAL}:TASKS; other suites are commands, see `evalkit --help`")
    return options.parse_names(tasks) or ()


def run_tasks(
    tasks: tuple[str, ...],
    asked: Mapping[str, Any],
    baseline: str | None,
    model_options: ModelOptions,
    run_options: RunOptions,
) -> int:
    """Run the tasks on one model, or on two, and return the exit code; `asked` are the suite's other settings."""
    from evalkit.cli.shared.baseline_run import execute_against
    from suites import lm_eval_tasks as suite

    settings = suite.LmEvalSettings.of(tasks=tasks, **asked)
    return execute_against(
        baseline,
        lambda loaded: suite.build(settings, loaded.tokenizer, max_tokens=readable_tokens(loaded.identity)),
        model_options,
        run_options,
        settings=asdict(settings),
        headline=lambda name: f"{LM_EVAL}: {', '.join(tasks)}, model {name}",
    )
