"""Predictions of other tools in RULER's format: a folder of <task>.jsonl with `pred` and `outputs`."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.records import Asked, Completion, CorpusUse, Sample, SampleKey, SampleRecord, SuiteSummary
from evalkit.running.answering import sample_record
from suites.ruler import needles, tasks
from suites.ruler.json_lines import JsonLine, read_json_lines
from suites.ruler.suite import judge
from suites.ruler.summary import summarize

NO_LENGTH = 0
"""Context length if no folder's name states it."""
SEED = 0
"""Seed of all predictions, because that of their samples is unknown."""
_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scored predictions of one model."""

    dialect: tasks.Dialect
    records: tuple[SampleRecord, ...]
    """Samples by length and file, without times. `prompt_sha256` is that of the question and its right answers."""
    corpora: tuple[CorpusUse, ...]
    """One part per task and length, identified by its first question, so that a shorter set is the same data."""

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of all predictions, which identifies the model."""
        listed = sorted(f"{record.id} {record.prompt_sha256} {_sha256(record.prediction)}" for record in self.records)
        return f"sha256:{_sha256(*listed)}"

    def summary(self) -> SuiteSummary:
        """Scores 0-100 by task and length; a task that is missing leaves its length's mean incomplete."""
        return summarize(self.records)


def read_predictions(path: Path, dialect: str) -> Predictions:
    """Read and score all predictions under `path`.

    Files are in `path` itself or in folders named by length, as `<ctx>/<task>.jsonl` or `<ctx>/pred/<task>.jsonl`.
    Raises UsageError if there is nothing to score or a file names no task, and with file and line for a malformed or
    repeated line.
    """
    check_known("dialect", [dialect], tasks.DIALECTS)
    chosen = next(known for known in tasks.DIALECTS if known == dialect)
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder; name one with <task>.jsonl in it")
    cells: dict[tuple[int, str], _Cell] = {}
    for ctx, file in _files(path):
        check_known(f"task in {file}:", [file.stem], tasks.TASKS)
        if (ctx, file.stem) in cells:
            raise UsageError(f"{file}: {file.stem} at {ctx:,} tokens was found before; keep one of the two")
        cells[ctx, file.stem] = _read_file(file, ctx, chosen)
    if not cells:
        raise UsageError(f"{path} holds no predictions; it needs <task>.jsonl or <ctx>/<task>.jsonl")
    return Predictions(
        dialect=chosen,
        records=tuple(record for cell in cells.values() for record in cell.records),
        corpora=tuple(
            CorpusUse(f"samples/{task}@{ctx}", task, cell.first_question, str(path))
            for (ctx, task), cell in cells.items()
        ),
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    """Predictions of one file."""

    records: tuple[SampleRecord, ...]
    first_question: str
    """sha256 of the question with the smallest `index`, or on the first line if a line has none."""


def _files(path: Path) -> Iterator[tuple[int, Path]]:
    """(length, file) of every .jsonl that can have predictions, without hidden ones."""
    own = path.parent.name if path.name == "pred" else path.name
    folders = [(int(own) if own.isdecimal() else NO_LENGTH, path)]
    folders += [(int(folder.name), folder) for folder in sorted(path.iterdir()) if folder.name.isdecimal()]
    for ctx, folder in folders:
        files = sorted((*folder.glob("*.jsonl"), *folder.glob("pred/*.jsonl")))
        yield from ((ctx, file) for file in files if not file.name.startswith("."))


def _read_file(path: Path, ctx: int, dialect: tasks.Dialect) -> _Cell:
    records: list[SampleRecord] = []
    given: list[int | None] = []
    seen: dict[tuple[object, str], int] = {}
    for row in read_json_lines(path):
        record = _scored(row, SampleKey(path.stem, ctx, len(records), SEED), dialect)
        _refuse_repeated(row, record.prompt_sha256, seen)
        records.append(record)
        given.append(_given_index(row))
    if not records:
        raise UsageError(f"{path} holds no predictions")
    questions = [record.prompt_sha256 for record in records]
    stated = [index for index in given if index is not None]
    whole = len(stated) == len(records)
    indices = _indices(stated, questions) if whole else range(len(records))
    first = min(zip(stated, questions, strict=True))[1] if whole else questions[0]
    return _Cell(tuple(_numbered(*pair) for pair in zip(records, indices, strict=True)), first)


def _scored(row: JsonLine, key: SampleKey, dialect: tasks.Dialect) -> SampleRecord:
    question = "" if row.fields.get("input") is None else row.text("input")
    prediction, targets = row.text("pred"), row.references()
    hidden = needles.found(question) if key.task in tasks.NEEDLE_TASKS else []
    depths = {needle.value: needle.depth for needle in reversed(hidden)}
    sample = Sample(
        key=key,
        prompt=question,
        answer_prefix="",
        targets=targets,
        generation_tokens=0,
        prompt_tokens=0,
        metric=tasks.metric(dialect, key.task),
        depths=tuple(depths[target] for target in targets if target in depths),
        distractors=tuple(value for value in dict.fromkeys(n.value for n in hidden) if value not in targets),
        evidence=tasks.evidence(key.task, question, targets),
    )
    completion = Completion(sample.id, prediction, 0, 0, "stop", prefill_seconds=None, decode_seconds=None)
    record = sample_record(Asked(sample, ()), completion, judge(dialect, sample, completion))
    excerpts = record.excerpts if question else ()
    return replace(record, prompt_sha256=_sha256(question, *targets), generation_tokens=None, excerpts=excerpts)


def _refuse_repeated(row: JsonLine, question: str, seen: dict[tuple[object, str], int]) -> None:
    index = row.fields.get("index")
    if index is None:
        return
    if not isinstance(index, int | str):
        raise row.error(f"`index` is {index!r}; it must be a number")
    if (index, question) in seen:
        raise row.error(
            f"`index` {index} was on line {seen[index, question]} before, with the same question; keep one of the two"
        )
    seen[index, question] = row.number


def _given_index(row: JsonLine) -> int | None:
    index = row.fields.get("index")
    return int(index) if isinstance(index, int) or (isinstance(index, str) and index.isdecimal()) else None


def _indices(stated: Sequence[int], questions: Sequence[str]) -> list[int]:
    """A number per line that is the same in every set of predictions on the same data, in any order.

    It is the line's own `index`. Since May 2025 RULER writes the character of a needle there, which two questions may
    share; these get a number derived from the question.
    """
    counts = Counter(stated)
    return [
        index if index >= 0 and counts[index] == 1 else int(question[:_DIGEST_DIGITS], 16)
        for index, question in zip(stated, questions, strict=True)
    ]


def _numbered(record: SampleRecord, index: int) -> SampleRecord:
    return replace(record, index=index, id=SampleKey(record.task, record.ctx, index, record.seed).id)


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
