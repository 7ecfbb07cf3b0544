"""The samples of one run or of two as a reader browses them: answers, targets, and excerpts of the prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from evalkit.analysis.pairing import Pairing
from evalkit.records import Excerpt, SampleRecord
from evalkit.running.excerpts import LONGEST, PLACES

LONGEST_ANSWER = 4_000
"""Characters of an answer that are shown; more than any budget of RULER allows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer to a sample."""

    score: float | None
    failure: str | None
    prediction: str
    problem: str | None
    """Why it errored or could not be run."""
    finish_reason: str

    @staticmethod
    def of(sample: SampleRecord) -> "Answer":
        return Answer(
            score=sample.score,
            failure=sample.failure,
            prediction=sample.prediction[:LONGEST_ANSWER],
            problem=sample.error or sample.unscored,
            finish_reason=sample.finish_reason,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """An excerpt of a prompt, ready to show."""

    label: str
    start: int
    """Character of the prompt at which it begins."""
    parts: tuple[str, ...]
    """Its text split at its marks: the second part and every second one after it is marked."""


@dataclass(frozen=True, slots=True)
class SampleView:
    """One sample; `base` is None if a single run is shown."""

    id: str
    task: str
    ctx: int
    depths: tuple[float, ...]
    targets: tuple[str, ...]
    new: Answer
    base: Answer | None
    failed: bool
    """Not fully right, errored, or not run."""
    flipped: bool
    pieces: tuple[Piece, ...]
    """Excerpts of the prompt; empty if the run stored none."""


def run_views(samples: Iterable[SampleRecord]) -> list[SampleView]:
    """Views of one run's samples, in their stored order."""
    return [_view(sample, None) for sample in samples]


def comparison_views(pairing: Pairing) -> list[SampleView]:
    """Views of the samples that both runs scored, in the order of the table."""
    return [_view(pair.new, pair.base) for pair in pairing.pairs()]


def pieces_of(excerpts: Sequence[Excerpt]) -> tuple[Piece, ...]:
    """Excerpts of one prompt, the last of which is its end; no more than a run stores, whatever a file holds."""
    kept = [replace(excerpt, text=excerpt.text[:LONGEST]) for excerpt in excerpts[: PLACES + 2]]
    length = max((excerpt.start + len(excerpt.text) for excerpt in kept), default=0)
    return tuple(Piece(_label(excerpt, length), excerpt.start, _parts(excerpt)) for excerpt in kept)


def _label(excerpt: Excerpt, length: int) -> str:
    is_start, is_end = excerpt.start == 0, excerpt.start + len(excerpt.text) == length
    if is_start or is_end:
        return "prompt" if is_start and is_end else "start of the prompt" if is_start else "end of the prompt"
    place = excerpt.start + (excerpt.marks[0][0] if excerpt.marks else 0)
    return f"{place / max(length, 1):.0%} into the prompt"


def _parts(excerpt: Excerpt) -> tuple[str, ...]:
    borders = [0, *(border for mark in excerpt.marks for border in mark), len(excerpt.text)]
    return tuple(excerpt.text[start:end] for start, end in pairwise(borders))


def _view(new: SampleRecord, base: SampleRecord | None) -> SampleView:
    return SampleView(
        id=new.id,
        task=new.task,
        ctx=new.ctx,
        depths=new.depths,
        targets=new.targets,
        new=Answer.of(new),
        base=None if base is None else Answer.of(base),
        failed=not _is_right(new),
        flipped=base is not None and base.score != new.score,
        pieces=pieces_of(new.excerpts),
    )


def _is_right(sample: SampleRecord) -> bool:
    return sample.score is not None and sample.failure is None


def tasks_and_lengths(views: Sequence[SampleView]) -> tuple[list[str], list[int]]:
    """Values to filter by, in the order of the samples."""
    return list(dict.fromkeys(view.task for view in views)), sorted({view.ctx for view in views})
