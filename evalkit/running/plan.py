"""Plans: models × suites, one run each, and the reports at the end.

Paths in a plan, models among them, are relative to its file.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.files import plain_name, reading
from evalkit.records import Shard
from evalkit.running.model_options import MODEL_OPTIONS, ModelOptions, read_model_options
from evalkit.running.replicas.options import REPLICA_OPTIONS, ReplicaOptions
from evalkit.running.shards import SHARDS, shard_folder
from evalkit.strict_yaml import read_fields, read_yaml
from evalkit.suite_spec import SuiteSpec, find_suite, split_tasks
from evalkit.values import ModelName

CHECKPOINT, LAST_GOOD = "checkpoint", "last-good"
"""Models in the reports of a plan for checkpoints (`evalkit.running.watching`)."""
ReportKind = Literal["compare", "leaderboard", "gate"]
_REPORT_KEYS: dict[ReportKind, tuple[str, ...]] = {
    "compare": ("base", "new", "out"),
    "leaderboard": ("out",),
    "gate": ("base", "new", "policy"),
}
_OWN_OPTIONS = ("model", "baseline", "out", "resume", "format")
"""Options of suite commands that the plan sets itself."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One model on one suite, with all values checked."""

    model: str
    """Name of the model in the plan."""
    spec: SuiteSpec[Any]
    settings: Any
    """Settings of the suite."""
    options: ModelOptions
    folder: Path
    passed: Mapping[str, Any]
    """Options that the plan states for the run."""
    replicas: ReplicaOptions | None = None

    @property
    def name(self) -> str:
        return f"{self.model} on {self.spec.name}"


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """One report at the end of a plan."""

    kind: ReportKind
    base: str | None
    """Name in the plan of the model that is BASE."""
    new: str | None
    path: Path
    """File to write; for a gate, the policy to read."""
    written: Path | None = None
    """File to which a gate's report is also written."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The runs of a plan in order, and its reports."""

    name: str
    folder: Path
    runs: tuple[PlannedRun, ...]
    reports: tuple[PlannedReport, ...]
    shard: Shard | None = None
    """The part of every run to answer; None for all of it."""


@dataclass(frozen=True, slots=True)
class PlanFile:
    """The keys of a plan's file."""

    models: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(min_length=1, description="a list of names, such as [reference:transformer, reference:hybrid]"),
    ]
    suites: Annotated[
        dict[str, dict[str, Any] | None],
        Meta(min_length=1, description="a mapping of suites to their options, such as `ruler: {ctx: [4096, 65536]}`"),
    ]
    name: Annotated[str, Meta(pattern=r"\S", description="text")] = ""
    """Name of the plan; empty for the file's name."""
    reports: Annotated[
        tuple[dict[str, Any], ...],
        Meta(description="a list of reports, such as [{report: leaderboard, out: LEADERBOARD.md}]"),
    ] = ()


@dataclass(frozen=True, slots=True)
class _ReportFields:
    """The keys of a report, of which `_REPORT_KEYS` says what each kind needs."""

    report: Annotated[ReportKind, Meta(description=f"one of {', '.join(_REPORT_KEYS)}")]
    base: Annotated[str, Meta(description="one of the plan's models")] | None = None
    new: Annotated[str, Meta(description="one of the plan's models")] | None = None
    out: Annotated[str, Meta(description="the name of a file")] | None = None
    policy: Annotated[str, Meta(description="the name of a file")] | None = None


def shipped_plans() -> tuple[str, ...]:
    """Names of the plans that come with evalkit."""
    folder = resources.files("evalkit").joinpath("plans")
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def read_plan(name: str, out: Path | None = None, shard: Shard | None = None) -> RunPlan:
    """The plan in file `name`, or the shipped one called so, with every value of every run checked.

    Runs and reports go below `out`, by default runs/<name of the plan> next to the plan's file (below the working
    directory for a shipped plan); those of a shard go below shards/ there. Raises UsageError naming the plan, and the
    suite and setting that are wrong.
    """
    text, folder = plan_text(name)
    with named_in_errors(name):
        return _plan(read_yaml(text), Path(name).stem, folder, out, shard)


@contextmanager
def named_in_errors(name: str) -> Iterator[None]:
    """Name the plan in the UsageErrors of this block."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"plan {name}: {error}") from None


def folder_name(model: str) -> str:
    """The folder for a model's runs."""
    return plain_name(model) or "model"


def plan_text(name: str) -> tuple[str, Path]:
    """The plan's text, and the folder that its paths are relative to."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        known = shipped_plans()
        if name not in known:
            raise UsageError(f"no plan is called {name!r}{did_you_mean(name, known)}; a file's name ends in .yaml")
        text = resources.files("evalkit").joinpath("plans", f"{name}.yaml").read_text(encoding="utf-8")
        return text, Path()
    with reading(f"plan {name}"):
        return path.read_text(encoding="utf-8"), path.parent


def _plan(data: Any, stem: str, folder: Path, out: Path | None, shard: Shard | None) -> RunPlan:
    plan = read_fields(PlanFile, data)
    name = plan.name or stem
    place = out or folder / "runs" / folder_name(name)
    place = place if shard is None or out is not None else place / SHARDS / shard_folder(shard)
    refuse_twice(plan)
    models = {model: ModelName(model).below(folder) for model in plan.models}
    runs = runs_of(plan, models, folder, place)
    return RunPlan(name, place, runs, tuple(report_of(entry, models, folder, place) for entry in plan.reports), shard)


def refuse_twice(plan: PlanFile) -> None:
    """Raise UsageError if a suite is there twice, or two models would share a folder."""
    if len({folder_name(model) for model in plan.models}) < len(plan.models):
        raise UsageError(f"two of its models would share a folder: {', '.join(plan.models)}")
    names = [suite.partition(":")[0] for suite in plan.suites]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is there twice; name all of its tasks in one entry, separated by commas")


def runs_of(plan: PlanFile, models: Mapping[str, str], folder: Path, place: Path) -> tuple[PlannedRun, ...]:
    """The runs of `models`, by name in the plan, on all suites: all suites of a model before the next model."""
    by_suite = [_runs_of_suite(key, values or {}, models, folder, place) for key, values in plan.suites.items()]
    return tuple(run for of_model in zip(*by_suite, strict=True) for run in of_model)


def _runs_of_suite(
    key: str, options: Mapping[str, Any], models: Mapping[str, str], folder: Path, place: Path
) -> list[PlannedRun]:
    """One run per model of the suite that `key` names, alike in everything but the model."""
    where = f"suites.{key}."
    name, tasks = split_tasks(key)
    spec = find_suite(name)
    given = {str(option).replace("-", "_"): value for option, value in options.items()}
    given.update({} if tasks is None else {"tasks": tasks})
    for option in given:
        if option in _OWN_OPTIONS:
            raise UsageError(f"{where}{option} is set by the plan itself")
        if option not in (known := (*spec.parameters, *MODEL_OPTIONS, *REPLICA_OPTIONS)):
            raise UsageError(f"{where}{option} is unknown{did_you_mean(option, known)}")
    own = {option: value for option, value in given.items() if option in MODEL_OPTIONS}
    settings = {option: value for option, value in given.items() if option in spec.parameters}
    try:
        checked = spec.read(settings, models.values(), where=where, folder=folder)
        spec.check_chat(read_model_options("", own, where=where).chat_options, checked)
        return [
            PlannedRun(
                model=model,
                spec=spec,
                settings=checked,
                options=read_model_options(path, own, where=where),
                folder=place / folder_name(model) / spec.name,
                passed={"model": path, **given},
                replicas=ReplicaOptions.of(given, where=where),
            )
            for model, path in models.items()
        ]
    except UsageError as error:
        # A suite's own check names the value but not its place in the plan.
        text = str(error)
        raise UsageError(text if text.startswith(where) else f"{where.rstrip('.')}: {text}") from None


def report_of(entry: Mapping[str, Any], models: Iterable[str], folder: Path, place: Path) -> PlannedReport:
    """A report of the plan, written below `place`; UsageError if it names none of `models`."""
    fields = read_fields(_ReportFields, entry, "report: ")
    needed, given = _REPORT_KEYS[fields.report], entry.keys() - {"report"}
    if given != set(needed):
        raise UsageError(
            f"report {fields.report} takes {', '.join(needed)}, not {', '.join(sorted(given)) or 'nothing'}"
        )
    for key, model in (("base", fields.base), ("new", fields.new)):
        if model in (CHECKPOINT, LAST_GOOD) and model not in models:
            raise UsageError(f"report {fields.report}: {key} {model} needs --watch, which names the checkpoints")
        if model is not None and model not in models:
            raise UsageError(f"report {fields.report}: {key} is not among the models{did_you_mean(model, models)}")
    path = place / fields.out if fields.out is not None else folder / str(fields.policy)
    return PlannedReport(fields.report, fields.base, fields.new, path)
