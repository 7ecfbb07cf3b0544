"""A plan: models × suites, one run each, and the reports that it ends in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.strict_yaml import read_yaml, refuse_unknown

ReportKind = Literal["compare", "leaderboard", "gate"]
REPORT_KEYS: dict[str, tuple[str, ...]] = {
    "compare": ("base", "new", "out"),
    "leaderboard": ("out",),
    "gate": ("base", "new", "policy"),
}
_PLAN_KEYS = ("name", "models", "suites", "reports")
LM_EVAL = "lm-eval"
"""The suite whose tasks follow its name: `lm-eval:arc_challenge,hellaswag`."""
_OWN_OPTIONS = ("model", "baseline", "out", "resume", "format", "prepare_only", "help", "suite", "dry_run")
"""Options of suite commands that the plan sets itself."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One model on one suite, as the command line that makes it."""

    model: str
    suite: str
    folder: Path
    arguments: tuple[str, ...]
    """After `evalkit`, without --resume."""

    @property
    def command(self) -> str:
        """The suite without its tasks."""
        return self.suite.partition(":")[0]


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """One report at the end of a plan."""

    kind: ReportKind
    base: Path | None
    new: Path | None
    path: Path
    """What is written; of a gate, the policy that is read."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All runs of a plan in their order, then its reports."""

    name: str
    folder: Path
    runs: tuple[PlannedRun, ...]
    reports: tuple[PlannedReport, ...]


def shipped_plans() -> tuple[str, ...]:
    """Names of the plans that come with evalkit."""
    folder = resources.files("evalkit").joinpath("plans")
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def read_plan(name: str, out: Path | None, suites: Sequence[str]) -> RunPlan:
    """The plan in file `name`, or the shipped one called so; runs go below `out`, by default runs/<its name>.

    `suites` are the commands that can run. Raises UsageError naming the plan and what is wrong with it.
    """
    text = _plan_text(name)
    try:
        return _plan(read_yaml(text), Path(name).stem, out, suites)
    except UsageError as error:
        raise UsageError(f"plan {name}: {error}") from None


def folder_name(model: str) -> str:
    """A model's name as a folder's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.") or "model"


def _plan_text(name: str) -> str:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        known = shipped_plans()
        if name not in known:
            raise UsageError(f"no plan is called {name!r}{did_you_mean(name, known)}; a file's name ends in .yaml")
        return resources.files("evalkit").joinpath("plans", f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"plan {name} cannot be read: {reason}") from None


def _plan(data: Any, stem: str, out: Path | None, suites: Sequence[str]) -> RunPlan:
    if not isinstance(data, dict):
        raise UsageError("it needs `models:` and `suites:`")
    refuse_unknown("key", data, _PLAN_KEYS)
    name = data.get("name", stem)
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"name is {name!r}; it must be text")
    folder = out or Path("runs") / folder_name(name)
    models = _models(data.get("models"))
    asked = _suites(data.get("suites"), suites)
    folders = {model: folder / folder_name(model) for model in models}
    runs = tuple(
        _planned_run(model, suite, options, folders[model] / suite.partition(":")[0])
        for model in models
        for suite, options in asked.items()
    )
    return RunPlan(name, folder, runs, _reports(data.get("reports", []), folder, folders))


def _planned_run(model: str, suite: str, options: Mapping[str, Any], folder: Path) -> PlannedRun:
    return PlannedRun(model, suite, folder, _arguments(suite, options, model, folder))


def _models(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(model, str) and model for model in value):
        raise UsageError("`models:` must be a list of names, such as [reference:transformer, reference:hybrid]")
    folders = [folder_name(model) for model in value]
    if len(set(folders)) < len(folders):
        raise UsageError(f"two of its models would share a folder: {', '.join(value)}")
    return value


def _suites(value: Any, known: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    if not isinstance(value, dict) or not value:
        raise UsageError("`suites:` must map suites to their options, such as `ruler: {ctx: [4096, 65536]}`")
    for suite, options in value.items():
        name, _, tasks = str(suite).partition(":")
        if name not in known or bool(tasks) != (name == LM_EVAL):
            examples = [other if other != LM_EVAL else f"{LM_EVAL}:TASKS" for other in known]
            raise UsageError(f"unknown suite {suite!r}{did_you_mean(str(suite), examples)}")
        if options is not None and not isinstance(options, dict):
            raise UsageError(f"the options of {suite} are {options!r}; write them as a mapping")
        for option in options or {}:
            if str(option).replace("-", "_") in _OWN_OPTIONS:
                raise UsageError(f"suite {suite}: {option} is set by the plan itself")
    if sum(str(suite).startswith(f"{LM_EVAL}:") for suite in value) > 1:
        raise UsageError(f"{LM_EVAL} stands there twice; name all of its tasks in one, separated by commas")
    return {suite: options or {} for suite, options in value.items()}


def _arguments(suite: str, options: Mapping[str, Any], model: str, folder: Path) -> tuple[str, ...]:
    """`{ctx: [4096, 65536], shots: 5, flag: true}` as `--ctx 4096,65536 --shots 5 --flag`."""
    arguments = ["run", "--suite", suite] if ":" in suite else [suite]
    for name, value in options.items():
        flag = f"--{str(name).replace('_', '-')}"
        if isinstance(value, bool):
            arguments += [flag] if value else []
        elif isinstance(value, list):
            arguments += [flag, ",".join(map(str, value))]
        else:
            arguments += [flag, str(value)]
    return (*arguments, "--model", model, "--out", str(folder))


def _reports(value: Any, folder: Path, folders: Mapping[str, Path]) -> tuple[PlannedReport, ...]:
    if not isinstance(value, list):
        raise UsageError("`reports:` must be a list, such as [{report: leaderboard, out: LEADERBOARD.md}]")
    return tuple(_report(entry, folder, folders) for entry in value)


def _report(entry: Any, folder: Path, folders: Mapping[str, Path]) -> PlannedReport:
    kind = entry.get("report") if isinstance(entry, dict) else None
    if kind not in REPORT_KEYS:
        raise UsageError(f"{entry!r} is no report; `report:` is one of {', '.join(REPORT_KEYS)}")
    keys = REPORT_KEYS[kind]
    refuse_unknown("key", entry, ("report", *keys))
    for key in keys:
        if not isinstance(entry.get(key), str):
            raise UsageError(f"report {kind} needs {key}")
    for key in ("base", "new"):
        if key in keys and entry[key] not in folders:
            raise UsageError(f"report {kind}: {key} is not among the models{did_you_mean(entry[key], folders)}")
    path = Path(entry["policy"]) if kind == "gate" else folder / entry["out"]
    base, new = (folders.get(entry.get(key, "")) for key in ("base", "new"))
    return PlannedReport(kind, base, new, path)
