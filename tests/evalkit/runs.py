"""Runs of scripted models, without a command."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from evalkit import __version__
from evalkit.records import ModelIdentity, RunRecord, SampleKey, SampleRecord, SuitePlan
from evalkit.running.answering import OneModel
from evalkit.running.protocols import Adapter, Suite
from evalkit.running.runner import RunObserver, RunSettings, run
from evalkit.running.store import Manifest, RunStore
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter
from reports.markdown import render_run
from tests.evalkit.tiny_suite import right_answer


@dataclass
class Observer:
    """Records its calls."""

    pending: list[SampleKey] = field(default_factory=list)
    sent: list[SampleKey] = field(default_factory=list)
    ended: list[SampleRecord] = field(default_factory=list)

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        self.pending = list(pending)

    def prompt_sent(self, key: SampleKey) -> None:
        self.sent.append(key)

    def sample_ended(self, record: SampleRecord) -> None:
        self.ended.append(record)


def manifest_of(suite: Suite[Any], identity: ModelIdentity = SCRIPTED_IDENTITY, **changes: Any) -> Manifest:
    """The manifest of a run of `suite` on the scripted model, with some arguments changed.

    `engine` is the adapter's description of itself, `evalkit` the version.
    """
    engine, evalkit = changes.pop("engine", ScriptedAdapter({}).describe()), changes.pop("evalkit", __version__)
    plan = suite.plan()
    values: dict[str, Any] = {
        "suite": suite.name,
        "version": suite.version,
        "dialect": suite.dialect,
        "seed": 42,
        "identity": identity,
        "corpora": plan.corpora,
        "question_settings": plan.question_settings,
    }
    return Manifest.of(**{**values, **changes}).answered_by(engine, evalkit)


def settings() -> RunSettings:
    return RunSettings(
        seed=42, config={"ctxs": (512,)}, config_passed={"ctx": "512"}, warnings=(), started_at=perf_counter()
    )


def right_adapter() -> ScriptedAdapter:
    """A model that answers every question of a `TinySuite` rightly."""
    return ScriptedAdapter(right_answer, prefill_seconds=0.5, decode_seconds=0.25)


def run_in(
    folder: Path,
    suite: Suite[Any],
    adapter: Adapter | None = None,
    *,
    resume: bool = False,
    observer: RunObserver | None = None,
) -> RunRecord:
    """Run any suite once, from start to run.json and report.md, as the command line does."""
    adapter = adapter or right_adapter()
    manifest = manifest_of(suite, adapter.identity, engine=adapter.describe())
    with RunStore.open(folder, manifest, resume=resume) as store:
        record = run(suite, OneModel(suite, adapter), store, settings(), observer or Observer())
        store.finish(record)
        store.write_report(render_run(record))
    return record
