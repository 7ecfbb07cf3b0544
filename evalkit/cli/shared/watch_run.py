"""A plan at work beside a training run: each new checkpoint is evaluated once, against the last good one."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from time import sleep
from typing import TYPE_CHECKING

from evalkit.cli.shared.plan_run import FAILED, PlanOutcome, describe, run_planned, write_report, write_text
from evalkit.cli.shared.suite_run import CHECK_FAILED, HAS_ERRORS, INTERNAL_ERROR, INTERRUPTED, note, notes_console
from evalkit.errors import EvalkitError
from evalkit.files import writing
from evalkit.running.watching import (
    VERDICT_SCHEMA,
    CheckpointSource,
    CheckpointVerdict,
    FoundCheckpoint,
    Step,
    WatchingPlan,
    read_verdicts,
    write_verdict,
)

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.running.plan import PlannedReport, RunPlan

SETTLING_SECONDS = 2.0
"""Time in which the files of a whole checkpoint must not change."""


class CheckpointWatch:
    """The checkpoints of a source. What was done with them is read from their folders, so a restart changes nothing."""

    def __init__(self, plan: WatchingPlan, source: CheckpointSource) -> None:
        self._plan, self._source = plan, source
        self._notes = notes_console()
        self._said: dict[str, str] = {}
        """The last note on each checkpoint that waits, which is not repeated."""
        self._failed: dict[str, str] = {}
        """Stamps of checkpoints that failed in this process; they are tried again if their files change."""
        self._codes: set[int] = set()

    def run(self, interval: float | None) -> int:
        """Evaluate what is there, and look again every `interval` seconds; without it once. Returns the exit code."""
        try:
            self._run_fixed()
            while True:
                self._round(once=interval is None)
                if interval is None:
                    return next((c for c in (INTERNAL_ERROR, FAILED, HAS_ERRORS, CHECK_FAILED) if c in self._codes), 0)
                sleep(interval)
        except KeyboardInterrupt:
            note(self._notes, f"stopped; continue with: {shlex.join(['evalkit', *sys.argv[1:]])}")
            return INTERRUPTED

    def describe(self) -> Iterator[str]:
        """A line per checkpoint, and one per run of those that would be evaluated now; raises UsageError."""
        for checkpoint in self._source.checkpoints():
            if self._plan.is_done(checkpoint):
                yield f"{checkpoint.name}: evaluated"
            elif waits_for := self._source.look(checkpoint).waits_for:
                yield f"{checkpoint.name}: waits for {waits_for}"
            else:
                yield from map(describe, self._plan.of(checkpoint.name, checkpoint.model, None).runs)

    def _run_fixed(self) -> None:
        outcome, plan = PlanOutcome(), self._plan.of_fixed()
        self._run(plan, outcome)
        self._codes |= outcome.codes
        for missing in outcome.missing:
            note(self._notes, f"failed: {missing}", style="red")

    def _run(self, plan: "RunPlan", outcome: PlanOutcome) -> None:
        from model_adapters.keeping import ModelKeeper

        # Nothing stays on the GPU while the watch waits.
        with closing(ModelKeeper()) as keeper:
            for planned in plan.runs:
                run_planned(planned, plan, outcome, self._notes, keeper)

    def _round(self, *, once: bool) -> None:
        """Evaluate all checkpoints that are whole now; one that fails costs no other."""
        try:
            found = self._source.checkpoints()
        except EvalkitError as error:
            if once:
                raise
            self._say("", f"{error}: trying again")
            return
        for checkpoint in found:
            stamp: str | None = None
            try:
                if not self._plan.is_done(checkpoint) and (stamp := self._ready(checkpoint)) is not None:
                    self._evaluate(checkpoint, stamp)
            except EvalkitError as error:
                self._fail(checkpoint, stamp, str(error))

    def _ready(self, checkpoint: FoundCheckpoint) -> str | None:
        """The stamp of a checkpoint's files if they are whole and at rest, and it has not failed with them."""
        readiness = self._source.look(checkpoint)
        if readiness.stamp and self._failed.get(checkpoint.name) == readiness.stamp:
            return None
        if not readiness.waits_for:
            sleep(SETTLING_SECONDS)
            if self._source.look(checkpoint) == readiness:
                return readiness.stamp
        self._say(checkpoint.name, f"{checkpoint.name} waits for {readiness.waits_for or 'its files to stop changing'}")
        return None

    def _evaluate(self, checkpoint: FoundCheckpoint, stamp: str) -> None:
        base = self._base_of(checkpoint.step)
        plan = self._plan.of(checkpoint.name, checkpoint.model, base)
        against = f"compared with {base}" if base is not None else "nothing to compare it with yet"
        note(self._notes, f"{checkpoint.name} (step {checkpoint.step.number:,}): {against}")
        outcome = PlanOutcome()
        self._run(plan, outcome)
        if not outcome.codes & {INTERNAL_ERROR, FAILED, HAS_ERRORS}:
            self._report(plan, outcome)
        self._codes |= outcome.codes
        if outcome.codes & {INTERNAL_ERROR, FAILED, HAS_ERRORS}:
            self._fail(checkpoint, stamp, "; ".join(outcome.missing) or "samples errored")
            return
        self._conclude(checkpoint, base, passed=CHECK_FAILED not in outcome.codes)

    def _fail(self, checkpoint: FoundCheckpoint, stamp: str | None, reason: str) -> None:
        """Name a checkpoint that failed, once; it is not tried again in this process while its files are the same."""
        if stamp is not None:
            self._failed[checkpoint.name] = stamp
        else:
            self._codes.add(FAILED)
        self._say(checkpoint.name, f"{checkpoint.name} failed: {reason}", style="red")

    def _report(self, plan: "RunPlan", outcome: PlanOutcome) -> None:
        for report in plan.reports:
            if report.kind == "leaderboard":
                self._write_leaderboard(report, outcome)
                continue
            for model in {report.base, report.new} - {name for name, _ in outcome.runs} - {None}:
                outcome.runs |= {(str(model), run.record.suite): run for run in self._stored(str(model), plan)}
            write_report(report, outcome, self._notes)

    def _stored(self, name: str, plan: "RunPlan") -> "list[StoredRun]":
        """The runs of an earlier checkpoint or a fixed model on the suites of the plan."""
        from evalkit.analysis.finished_run import load_run

        return [load_run(self._plan.place(name) / planned.spec.name) for planned in plan.runs]

    def _write_leaderboard(self, report: "PlannedReport", outcome: PlanOutcome) -> None:
        """Write a table of all checkpoints so far."""
        from evalkit.analysis.board_runs import read_runs
        from evalkit.analysis.leaderboard import build_leaderboard
        from evalkit.cli.leaderboard import format_of, render

        try:
            runs, left_out = read_runs([self._plan.folder])
            write_text(report.path, render(build_leaderboard(runs, left_out=left_out), [], format_of(report.path)))
        except EvalkitError as error:
            outcome.codes.add(FAILED)
            outcome.missing.append(f"report leaderboard {report.path}: {error}")

    def _conclude(self, checkpoint: FoundCheckpoint, base: str | None, *, passed: bool) -> None:
        folder = self._plan.place(checkpoint.name)
        verdict = CheckpointVerdict(
            VERDICT_SCHEMA, checkpoint.name, checkpoint.step, checkpoint.model, base, passed=passed
        )
        with writing(folder, "free some space; the runs are stored"):
            write_verdict(folder, verdict)
        then = "passed" if passed else "FAILED a check, so later ones are not compared with it"
        note(self._notes, f"{checkpoint.name} {then}", style="" if passed else "red")

    def _base_of(self, step: Step) -> str | None:
        """The last good checkpoint before `step` whose runs are still there, else the plan's first model."""
        for verdict in reversed(read_verdicts(self._plan.folder)):
            if verdict.passed and verdict.step < step and self._has_runs(verdict):
                return verdict.checkpoint
        return next(iter(self._plan.fixed), None)

    def _has_runs(self, verdict: CheckpointVerdict) -> bool:
        return self._plan.is_done(FoundCheckpoint(verdict.checkpoint, verdict.step, verdict.model))

    def _say(self, name: str, line: str, style: str = "") -> None:
        """Print a note, unless it is the one that was printed last about `name`."""
        if self._said.get(name) != line:
            self._said[name] = line
            note(self._notes, line, style=style)
