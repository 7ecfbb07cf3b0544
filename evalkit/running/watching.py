"""Plans for the checkpoints of a training run: each is evaluated once, and compared with the last good one.

In the reports of such a plan the model `checkpoint` is the one evaluated, and `last-good` the last one before it whose
checks all passed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.files import replacing
from evalkit.records.codec import RecordError, from_json, to_json
from evalkit.running.plan import (
    CHECKPOINT,
    LAST_GOOD,
    PlanFile,
    PlannedRun,
    RunPlan,
    folder_name,
    named_in_errors,
    plan_text,
    refuse_twice,
    report_of,
    runs_of,
)
from evalkit.running.run_files import RUN
from evalkit.strict_yaml import read_fields, read_yaml
from evalkit.values import ModelName

VERDICT = "verdict.json"
VERDICT_SCHEMA = "evalkit.checkpoint/1"
_STEP = re.compile(r"(?:step|checkpoint|ckpt|iter)[-_]?(\d{1,15})", re.IGNORECASE)
_STAGE = re.compile(r"stage[-_]?(\d{1,9})", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d{1,15})\D*$")
_TEMPORARY = re.compile(r"\.|tmp|.*[-._](tmp|part|partial|incomplete)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """The place of a checkpoint in its training run."""

    stage: int
    number: int


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A checkpoint that exists, whole or not."""

    name: str
    """The folder's name, or the branch or tag on the hub."""
    step: Step
    model: str
    """The value for --model."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a checkpoint can be evaluated."""

    waits_for: str
    """What it still lacks; empty if it is whole."""
    stamp: str
    """Changes whenever its files do."""


class CheckpointSource(Protocol):
    """Where the checkpoints of a training run appear."""

    def checkpoints(self) -> list[FoundCheckpoint]:
        """All that exist now, by step; raises UsageError if they cannot be listed."""
        ...

    def look(self, checkpoint: FoundCheckpoint) -> Readiness:
        """Raises UsageError if it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class CheckpointVerdict:
    """The content of verdict.json in a checkpoint's folder, written after its reports."""

    schema: str
    checkpoint: str
    step: Step
    model: str
    base: str | None
    """The last good checkpoint, or the model in its place, with which it was compared; None if there was none."""
    passed: bool
    """Whether all checks passed, so that later checkpoints are compared with this one."""


def step_of(name: str) -> Step | None:
    """The step in the name of a checkpoint: `step1000`, `checkpoint-500`, `stage2-step300-tokens4B`, `0004000`.

    None for a name without a number and for one of a file that is being written, such as `tmp-checkpoint-500`.
    """
    if _TEMPORARY.match(name):
        return None
    found = _STEP.search(name) or _LAST_NUMBER.search(name)
    stage = _STAGE.search(name)
    return None if found is None else Step(int(stage[1]) if stage else 0, int(found[1]))


@dataclass(frozen=True, slots=True)
class WatchingPlan:
    """A plan whose models are the checkpoints of a training run, and those of its file as fixed baselines."""

    name: str
    folder: Path
    """Where each checkpoint, and each fixed model, has a folder with its runs."""
    fixed: tuple[str, ...]
    """Names of the models in the plan; the first stands for the last good checkpoint until there is one."""
    _file: PlanFile
    _home: Path
    """What paths in the plan are relative to."""

    def of(self, name: str, model: str, last_good: str | None) -> RunPlan:
        """The runs of one checkpoint, and its reports; those that need a last good one are left out without it."""
        if name in self.fixed or folder_name(name) in map(folder_name, self.fixed):
            raise UsageError(f"checkpoint {name} has the name of one of the plan's models; rename one of them")
        runs = tuple(run for run in self._runs(name, model) if run.model == name)
        own = self.folder / folder_name(name)
        actual = {CHECKPOINT: name, LAST_GOOD: last_good}
        reports = []
        for entry in self._file.reports:
            sides: dict[str, Any] = {key: actual.get(entry[key], entry[key]) for key in ("base", "new") if key in entry}
            if None in sides.values():
                continue
            known = [*self.fixed, name, *([] if last_good is None else [last_good])]
            place = self.folder if entry.get("report") == "leaderboard" else own
            report = report_of({**entry, **sides}, known, self._home, place)
            reports.append(replace(report, written=own / "gate.md") if report.kind == "gate" else report)
        return RunPlan(self.name, self.folder, runs, tuple(reports))

    def of_fixed(self) -> RunPlan:
        """The runs of the models in the plan's file, without reports."""
        runs = tuple(run for run in self._runs(CHECKPOINT, CHECKPOINT) if run.model in self.fixed)
        return RunPlan(self.name, self.folder, runs, ())

    def place(self, name: str) -> Path:
        """The folder of a checkpoint or model."""
        return self.folder / folder_name(name)

    def is_done(self, checkpoint: FoundCheckpoint) -> bool:
        """Whether a checkpoint has its verdict and a finished run of every suite."""
        runs = self._runs(checkpoint.name, checkpoint.model)
        finished = all((run.folder / RUN).exists() for run in runs if run.model == checkpoint.name)
        return finished and (self.place(checkpoint.name) / VERDICT).exists()

    def _runs(self, name: str, model: str) -> tuple[PlannedRun, ...]:
        # Together, because defaults depend on all models of a plan.
        models = {fixed: ModelName(fixed).below(self._home) for fixed in self.fixed} | {name: model}
        return runs_of(self._file, models, self._home, self.folder)


def read_watching_plan(name: str, out: Path | None = None) -> WatchingPlan:
    """The plan in file `name`, checked as `read_plan` does; its `models` may be left out."""
    text, home = plan_text(name)
    with named_in_errors(name):
        data: Any = read_yaml(text)
        if isinstance(data, dict):
            data = {"models": [CHECKPOINT], **data}
        file = read_fields(PlanFile, data)
        refuse_twice(file)
        fixed = tuple(model for model in file.models if model != CHECKPOINT)
        title = file.name or Path(name).stem
        plan = WatchingPlan(title, out or home / "runs" / folder_name(title), fixed, file, home)
        _refuse_unknown_sides(file.reports, (*fixed, CHECKPOINT, LAST_GOOD))
        plan.of(CHECKPOINT, CHECKPOINT, LAST_GOOD)
        return plan


def _refuse_unknown_sides(reports: Iterable[dict[str, Any]], known: tuple[str, ...]) -> None:
    for entry in reports:
        for key in ("base", "new"):
            if key in entry and entry[key] not in known:
                raise UsageError(
                    f"report {entry.get('report')}: {key} {entry[key]!r} is neither {CHECKPOINT}, {LAST_GOOD} nor a "
                    f"model of the plan{did_you_mean(str(entry[key]), known)}"
                )


def read_verdicts(folder: Path) -> list[CheckpointVerdict]:
    """The verdicts of all checkpoints that were evaluated, by step; a damaged one counts as none."""
    verdicts = []
    for path in folder.glob(f"*/{VERDICT}"):
        try:
            verdicts.append(from_json(CheckpointVerdict, path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecordError):
            # Its runs are still there, and the verdict is made again from them.
            path.unlink(missing_ok=True)
    return sorted(verdicts, key=lambda verdict: (verdict.step, verdict.checkpoint))


def write_verdict(folder: Path, verdict: CheckpointVerdict) -> None:
    """Write verdict.json, whole or not at all; OSError if it cannot be written."""
    with replacing(folder / VERDICT) as file:
        file.write((to_json(verdict, indent=2) + "\n").encode())
