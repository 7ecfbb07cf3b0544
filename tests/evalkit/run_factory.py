"""Complete run folders (run.json, samples.jsonl, manifest.json) made from scores, without a model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.analysis.board_runs import BoardRun
from evalkit.analysis.finished_run import StoredRun, load_run
from evalkit.records import (
    EFFECTIVE_LENGTH,
    SCHEMA,
    START_SCHEMA,
    CorpusUse,
    Counts,
    EngineDescription,
    Environment,
    Excerpt,
    Figure,
    Gpu,
    MemoryUse,
    ModelIdentity,
    PositionScheme,
    ResultRow,
    RunRecord,
    RunStart,
    SampleRecord,
    Session,
    SessionList,
    SuiteSummary,
    SummaryRow,
    ThinkingUse,
    Timing,
    UnscoredCell,
)
from evalkit.records.codec import from_dict, to_json
from evalkit.records.metrics import metric_of
from evalkit.records.migration import SESSIONS_SCHEMA
from evalkit.running.store import MANIFEST, RUN, SAMPLES, SESSIONS, STARTED, Manifest, read_run
from evalkit.statistics.rows import mean_of_tasks, result_row
from tests.evalkit.sample_records import sample_record

ERRORED = "errored"
UNSCORED = "unscored"
Score = float | str
"""A score, ERRORED or UNSCORED."""

GPU = {"name": "NVIDIA H100 80GB HBM3", "count": 1}


@dataclass(frozen=True)
class RunSpec:
    """Description of a run: scores by task and context length, and settings."""

    scores: Mapping[tuple[str, int], Sequence[Score]]
    model: str = "./base"
    weights: str = "base"
    """The parts of the fingerprint."""
    tokenizer: str = "dolma2"
    chat_template: str | None = None
    thinking: ThinkingUse | None = None
    suite: str = "ruler"
    suite_version: str = "1"
    dialect: str = "nvidia"
    seed: int = 42
    metric: str = "all"
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Metrics of tasks whose metric is not `metric`."""
    corpora: Mapping[str, str] = field(default_factory=lambda: {"essays": "novels"})
    """Role -> content."""
    gpu: Mapping[str, Any] | None = field(default_factory=lambda: dict(GPU))
    prefill_seconds: float = 1.0
    decode_seconds: float = 0.5
    peak_bytes: int | None = 20 * 2**30
    generation_tokens: int | None = 128
    tokens_seen: int | None = None
    trained: bool = True
    effective_length: int | None = None
    """0 for less than the shortest length; None for none."""
    figures: tuple[Figure, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    prediction: str = "the answer"
    run_id: str | None = None
    """Defaults to the folder's name."""
    override: str | None = None
    """Positions forced on the model."""
    corpus_source: str = "file.txt"
    whole_suite: bool = True
    """False for a run with only some of the suite's tasks."""
    unscored_cells: tuple[UnscoredCell, ...] = ()
    question_settings: Mapping[str, Any] = field(default_factory=dict)
    excerpts: bool = True
    """Whether excerpts of the prompts are stored."""

    def metric_for(self, task: str) -> str:
        return self.metrics.get(task, self.metric)


def write_run(folder: Path, spec: RunSpec) -> Path:
    """Write the run into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = make_samples(spec)
    record = make_record(spec, samples, spec.run_id or folder.name)
    (folder / MANIFEST).write_text(to_json(Manifest.of_record(record)), encoding="utf-8")
    (folder / SAMPLES).write_text("".join(to_json(sample) + "\n" for sample in samples), encoding="utf-8")
    (folder / RUN).write_text(to_json(record, indent=2) + "\n", encoding="utf-8")
    return folder


def stop_run(folder: Path, samples: int) -> Path:
    """Turn a finished run into one that was killed after its first `samples`."""
    record = read_run(folder)
    fields = json.loads(to_json(record))
    start = from_dict(RunStart, {**fields, "schema": START_SCHEMA, "planned": record.counts.n})
    (folder / STARTED).write_text(to_json(start), encoding="utf-8")
    (folder / SESSIONS).write_text(to_json(SessionList(SESSIONS_SCHEMA, record.sessions)), encoding="utf-8")
    (folder / RUN).unlink()
    lines = (folder / SAMPLES).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / SAMPLES).write_text("".join(lines[:samples]), encoding="utf-8")
    return folder


def make_run(folder: Path, spec: RunSpec) -> StoredRun:
    """Write the run and load it as the commands do."""
    return load_run(write_run(folder, spec))


def board_run(run: StoredRun) -> BoardRun:
    """A loaded run for the leaderboard."""
    return BoardRun(run.record, str(run.folder), lambda: run)


def make_samples(spec: RunSpec) -> list[SampleRecord]:
    return [
        make_sample(spec, task, ctx, index, score)
        for (task, ctx), scores in spec.scores.items()
        for index, score in enumerate(scores)
    ]


def make_sample(spec: RunSpec, task: str, ctx: int, index: int, score: Score) -> SampleRecord:
    value = None if isinstance(score, str) else float(score)
    metric = spec.metric_for(task)
    wrong = value is not None and metric_of(metric).bounded and value < 1
    name = f"{task}/{ctx}/{index}/{spec.seed}"
    loss = not metric_of(metric).bounded
    return sample_record(
        task,
        ctx,
        index,
        value,
        seed=spec.seed,
        prompt_tokens=ctx - 128,
        completion_tokens=0 if score == ERRORED else 20,
        prompt_sha256=_sha256(
            f"{spec.suite_version}:{spec.dialect}:{spec.tokenizer}:{spec.chat_template}:{spec.thinking}:{name}"
        ),
        depths=(0.5,),
        targets=("1234567",),
        prediction="" if score == ERRORED else spec.prediction,
        metric="" if score == UNSCORED else metric,
        failure=("wrong_needle" if value == 0 else "partial") if wrong else None,
        error="out of memory" if score == ERRORED else None,
        unscored="it does not fit" if score == UNSCORED else None,
        prefill_seconds=0.0 if score == UNSCORED else spec.prefill_seconds * (1 + 0.01 * (index % 7)),
        decode_seconds=0.0 if score == UNSCORED else spec.decode_seconds * (1 + 0.01 * (index % 5)),
        measures={"nats": 0.69 * (value or 0) * 1000, "bytes": 1000.0, "tokens": 250.0} if loss else {},
        generation_tokens=spec.generation_tokens,
        session=1,
        excerpts=(Excerpt(0, f"prompt of {name}", ((10, 10 + len(name)),)),)
        if spec.excerpts and score != UNSCORED
        else (),
    )


def make_record(spec: RunSpec, samples: Sequence[SampleRecord], run_id: str) -> RunRecord:
    cells: dict[tuple[str, int], list[SampleRecord]] = {cell: [] for cell in spec.scores}
    for sample in samples:
        cells[sample.task, sample.ctx].append(sample)
    results = tuple(result_row(task, ctx, cell, metric=spec.metric_for(task)) for (task, ctx), cell in cells.items())
    failures = sorted(sample.failure for sample in samples if sample.failure is not None)
    engine = EngineDescription(device="cuda" if spec.gpu else "cpu")
    environment = Environment(cpu="AMD EPYC", cpu_count=2, gpu=None if spec.gpu is None else Gpu(**spec.gpu))
    memory = MemoryUse(peak_bytes=spec.peak_bytes, method="CUDA allocator")
    return RunRecord(
        schema=SCHEMA,
        run_id=run_id,
        suite=spec.suite,
        suite_version=spec.suite_version,
        dialect=spec.dialect,
        seed=spec.seed,
        model=ModelIdentity(
            path=spec.model,
            family="olmo_hybrid",
            fingerprint="sha256:" + _sha256(spec.weights),
            tokenizer="sha256:" + _sha256(spec.tokenizer),
            dtype="bfloat16",
            positions=PositionScheme("none", "none (DRoPE)", override=spec.override),
            trained_length=65536,
            parameters=6_700_000_000,
            trained=spec.trained,
            chat_template=spec.chat_template,
            thinking=spec.thinking,
        ),
        config={
            "ctxs": sorted({ctx for _, ctx in spec.scores}),
            "tasks": sorted({task for task, _ in spec.scores}),
            "samples": None,
            "seed": spec.seed,
            "dialect": spec.dialect,
            **spec.config,
        },
        config_passed={},
        corpora=tuple(CorpusUse(role, text, _sha256(text), spec.corpus_source) for role, text in spec.corpora.items()),
        environment=environment,
        engine=engine,
        results=results,
        summary=_summary(results, cells, whole_suite=spec.whole_suite)
        if all(metric_of(row.metric).bounded for row in results)
        else (),
        failures={kind: failures.count(kind) for kind in dict.fromkeys(failures)},
        unscored=spec.unscored_cells,
        counts=Counts.of(samples),
        timing=Timing(
            wall_seconds=100.0,
            prefill_seconds=sum(sample.prefill_seconds for sample in samples),
            decode_seconds=sum(sample.decode_seconds for sample in samples),
            prefill_tokens_per_second=30_000.0 / spec.prefill_seconds if spec.prefill_seconds else None,
            decode_tokens_per_second=50.0 / spec.decode_seconds if spec.decode_seconds else None,
        ),
        memory=memory,
        sessions=(Session(1, None, environment, engine, len(samples), 100.0, None, memory, ended=True),),
        planned=len(samples),
        warnings=(),
        tokens_seen=spec.tokens_seen,
        figures=(*_effective_length(spec), *spec.figures),
        question_settings=dict(spec.question_settings),
    )


def _effective_length(spec: RunSpec) -> list[Figure]:
    return [] if spec.effective_length is None else [Figure(EFFECTIVE_LENGTH, spec.effective_length, "tokens")]


def figure_values(record: RunRecord | SuiteSummary) -> dict[str, float | None]:
    """The values of figures by label."""
    return {figure.label: figure.value for figure in record.figures}


def simulate(
    rng: np.random.Generator, accuracy: Mapping[tuple[str, int], float], samples: int
) -> dict[tuple[str, int], list[Score]]:
    """Right-or-wrong scores with these accuracies."""
    return {cell: [float(value) for value in rng.random(samples) < rate] for cell, rate in accuracy.items()}


def changed(spec: RunSpec, scores: Mapping[tuple[str, int], Sequence[Score]], **changes: Any) -> RunSpec:
    """Another model's run of the same samples."""
    return replace(spec, **{"model": "./new", "weights": "new", "scores": scores, **changes})


def _summary(
    results: Sequence[ResultRow], cells: Mapping[tuple[str, int], Sequence[SampleRecord]], *, whole_suite: bool
) -> tuple[SummaryRow, ...]:
    rows = []
    for ctx in sorted({row.ctx for row in results}):
        here = [row for row in results if row.ctx == ctx and row.value is not None]
        groups = [[s.score for s in cells[row.task, ctx] if s.score is not None] for row in here]
        mean, interval = mean_of_tasks(groups)
        complete = all(not row.errors and not row.unscored for row in results if row.ctx == ctx)
        rows.append(
            SummaryRow(
                ctx=ctx,
                mean=mean,
                ci95=interval,
                tasks=len(here),
                complete=complete and whole_suite,
            )
        )
    return tuple(rows)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
