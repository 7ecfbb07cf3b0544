"""A suite of sums, small enough to follow by eye: the questions of tests of the runner and of whole commands."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import (
    Asked,
    Completion,
    CorpusUse,
    Figure,
    Request,
    ResultRow,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    SuiteSummary,
    SummaryRow,
    UnscoredCell,
)
from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import Reader, SuiteSpec
from model_adapters.scripted import ScriptedTokenizer

CORPUS = CorpusUse("numbers", "counted", "ab" * 32, "counted.txt")
"""The corpus that all tasks read."""


@dataclass(frozen=True)
class TinySuite:
    """`index + seed` for each task; the task `too_long` fits no context, and `never` is not planned."""

    tasks: tuple[str, ...] = ("sum",)
    ctxs: tuple[int, ...] = (512,)
    samples: int = 3
    seed: int = 42
    tokenizer: Tokenizer = field(default_factory=ScriptedTokenizer)

    name = "tiny"
    version = "1"
    dialect = "plain"

    def plan(self) -> SuitePlan:
        keys = tuple(
            SampleKey(task, ctx, index, self.seed)
            for ctx in self.ctxs
            for task in self.tasks
            for index in range(self.samples)
            if task != "never"
        )
        unscored = tuple(UnscoredCell("never", ctx, "it never fits") for ctx in self.ctxs if "never" in self.tasks)
        return SuitePlan(keys, unscored, (CORPUS, *(corpus_of(task) for task in self.tasks)))

    def ask(self, key: SampleKey) -> Asked:
        if key.task == "too_long":
            raise SampleDoesNotFitError(f"too_long needs more than {key.ctx} tokens")
        prompt = f"What is {key.index} + {key.seed}?"
        tokens = tuple(self.tokenizer.encode_prompt(prompt))
        targets = (str(key.index + key.seed),)
        sample = Sample(key, prompt, "", targets, 8, len(tokens), "all", depths=(0.5,), gold_positions=(1,))
        return Asked(sample, (Request(key.id, tokens, 8),))

    def judge(self, asked: Asked, completion: Completion) -> Score:
        right = asked.sample.targets[0] in completion.text
        return Score(float(right), None if right else "other" if completion.text else "empty")

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        cells = dict.fromkeys((record.task, record.ctx) for record in records)
        results = tuple(_row(task, ctx, records) for task, ctx in cells)
        summary = tuple(_mean(ctx, [row for row in results if row.ctx == ctx]) for ctx in self.ctxs)
        return SuiteSummary(results, summary, (Figure("best", 100.0, "points"),))


def corpus_of(task: str) -> CorpusUse:
    """The corpus that only one task reads, as in evalkit's suites."""
    return CorpusUse(f"numbers/{task}", "counted", hashlib.sha256(task.encode()).hexdigest(), "counted.txt")


@dataclass(frozen=True, slots=True)
class TinySettings:
    """Settings of a `TinySuite`."""

    tasks: tuple[str, ...]
    ctxs: tuple[int, ...]
    samples: int
    seed: int

    @staticmethod
    def of(
        *, tasks: tuple[str, ...] = ("sum",), ctx: tuple[int, ...] = (512,), samples: int = 3, seed: int = 42
    ) -> "TinySettings":
        if samples < 1:
            raise UsageError(f"--samples {samples}: at least 1 is needed")
        return TinySettings(tasks, ctx, samples, seed)

    def headline(self) -> str:
        return f"tiny: {len(self.tasks) * len(self.ctxs) * self.samples} prompts"

    def contexts(self) -> tuple[int, ...]:
        return self.ctxs


def _build(settings: TinySettings, reader: Reader) -> TinySuite:
    return TinySuite(settings.tasks, settings.ctxs, settings.samples, settings.seed, reader.tokenizer)


SPEC = SuiteSpec(name="tiny", settings=TinySettings, build=_build, quick={"samples": 1})
REGISTERED = f"{__name__}:SPEC"
"""Its entry in the table of suites, for tests that run it by name."""


def right_answer(request: Request) -> str:
    """The correct reply to a request of this suite."""
    _, _, index, seed = request.id.split("/")
    return f"It is {int(index) + int(seed)}."


def _row(task: str, ctx: int, records: Sequence[SampleRecord]) -> ResultRow:
    here = [record for record in records if (record.task, record.ctx) == (task, ctx)]
    scores = [record.score for record in here if record.score is not None]
    return ResultRow(
        task=task,
        ctx=ctx,
        metric="all",
        value=100 * fmean(scores) if scores else None,
        n=len(scores),
        ci95=None,
        errors=sum(record.error is not None for record in here),
        unscored=sum(record.unscored is not None for record in here),
    )


def _mean(ctx: int, rows: Sequence[ResultRow]) -> SummaryRow:
    values = [row.value for row in rows if row.value is not None]
    complete = len(values) == len(rows) and not any(row.errors for row in rows)
    return SummaryRow(ctx, fmean(values) if values else None, None, len(values), complete)
