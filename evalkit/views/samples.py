"""The samples of one run or of several as a reader browses them: answers, targets, and excerpts of the prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from evalkit.analysis.pairing import Pairing
from evalkit.records import Excerpt, SampleRecord
from evalkit.records.metrics import metric_of
from evalkit.running.excerpts import LONGEST, PLACES
from evalkit.views.grids import depth_label

LONGEST_ANSWER = 4_000
"""Characters of an answer that are shown; more than any budget of RULER allows."""


LONGEST_THOUGHT = 2_000
"""Characters of a thought that are shown: those of its beginning and of its end."""
_ENDS = {
    "closed": "",
    "forced": "closed by force",
    "unclosed": "never closed",
    "absent": "no thought",
}


def thought_note(sample: SampleRecord) -> str:
    """Length and end of a thought: `64 tokens, closed by force`; empty if thinking was not governed."""
    if sample.thought_end is None:
        return ""
    end = _ENDS.get(sample.thought_end, sample.thought_end)
    tokens = "" if sample.thought_end == "absent" else f"{sample.thought_tokens or 0:,} tokens"
    return ", ".join(filter(None, (tokens, end)))


def folded(text: str, longest: int) -> str:
    """A text of at most `longest` characters, or its beginning and its end with the number of those between them."""
    half, left_out = longest // 2, len(text) - longest
    return text if left_out <= 0 else f"{text[:half]}\n[… {left_out:,} characters …]\n{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer to a sample."""

    score: float | None
    right: bool | None
    """None for a loss, which is neither right nor wrong."""
    failure: str | None
    prediction: str
    problem: str | None
    """Why it errored or could not be run."""
    finish_reason: str
    thought: str
    """What was thought before it, shortened; empty if nothing was."""
    thought_note: str
    """Length and end of the thought; empty if thinking was not governed."""

    @staticmethod
    def of(sample: SampleRecord) -> "Answer":
        is_loss = sample.score is not None and not metric_of(sample.metric).bounded
        return Answer(
            score=sample.score,
            right=None if is_loss else sample.score is not None and sample.failure is None,
            failure=sample.failure,
            prediction=sample.prediction[:LONGEST_ANSWER],
            problem=sample.error or sample.unscored,
            finish_reason=sample.finish_reason,
            thought=folded(sample.thought or "", LONGEST_THOUGHT),
            thought_note=thought_note(sample),
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
    """One sample with the answers of all runs that are shown."""

    id: str
    task: str
    ctx: int
    depths: tuple[float, ...]
    depth: str
    """The bin of the requested needle in grids by depth; empty for none."""
    targets: tuple[str, ...]
    answers: tuple[Answer | None, ...]
    """BASE's first, if runs are compared; None for a run that has no score of it."""
    failed: bool
    """Not fully right, errored, or not run; of several runs, in one that is compared with BASE."""
    change: Literal["", "worse", "better"]
    """Against BASE; worse if one run is worse."""
    pieces: tuple[Piece, ...]
    """Excerpts of the prompt; empty if the run stored none."""


def run_views(samples: Iterable[SampleRecord]) -> list[SampleView]:
    """Views of one run's samples, failed ones first."""
    return _worst_first(_view((sample,)) for sample in samples)


def comparison_views(pairings: Sequence[Pairing]) -> list[SampleView]:
    """Views of the samples that BASE and at least one other run scored; what got worse or failed comes first."""
    of_base: dict[str, SampleRecord] = {}
    of_new: list[dict[str, SampleRecord]] = []
    for pairing in pairings:
        of_new.append({pair.new.id: pair.new for pair in pairing.pairs()})
        of_base |= {pair.base.id: pair.base for pair in pairing.pairs()}
    return _worst_first(_view((base, *(runs.get(name) for runs in of_new))) for name, base in of_base.items())


def _worst_first(views: Iterable[SampleView]) -> list[SampleView]:
    """Worse than BASE, failed, better, right; within each kind the longest context first, then the lowest score."""

    def place(view: SampleView) -> tuple[bool, bool, bool, int, float]:
        compared = view.answers[1:] or view.answers
        lowest = min((answer.score or 0.0 for answer in compared if answer is not None), default=0.0)
        return view.change != "worse", not view.failed, view.change != "better", -view.ctx, lowest

    return sorted(views, key=place)


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


def _view(samples: Sequence[SampleRecord | None]) -> SampleView:
    """`samples` are the answers of all runs, BASE's first; at least one is there."""
    known = [sample for sample in samples if sample is not None]
    compared = known[1:] or known
    shown = compared[-1]
    answers = tuple(None if sample is None else Answer.of(sample) for sample in samples)
    # Of real-valued losses every sample differs, so none counts as changed.
    compared_scores = [sample.score or 0.0 for sample in known[1:] if metric_of(sample.metric).bounded]
    changes = [score - (known[0].score or 0.0) for score in compared_scores]
    return SampleView(
        id=shown.id,
        task=shown.task,
        ctx=shown.ctx,
        depths=shown.depths,
        depth=depth_label(shown.depths[0]) if len(shown.targets) == 1 and shown.depths else "",
        targets=shown.targets,
        answers=answers,
        failed=any(sample.score is None or sample.failure is not None for sample in compared),
        change="worse" if any(change < 0 for change in changes) else "better" if any(changes) else "",
        pieces=pieces_of(shown.excerpts),
    )


@dataclass(frozen=True, slots=True)
class Filters:
    """Values to filter samples by."""

    tasks: tuple[str, ...]
    lengths: tuple[int, ...]
    depths: tuple[str, ...]
    failures: tuple[str, ...]

    @staticmethod
    def of(views: Iterable[SampleView]) -> "Filters":
        views = sorted(views, key=lambda view: view.id)
        answers = [answer for view in views for answer in view.answers if answer is not None]
        return Filters(
            tasks=tuple(dict.fromkeys(view.task for view in views)),
            lengths=tuple(sorted({view.ctx for view in views})),
            depths=tuple(sorted({view.depth for view in views if view.depth})),
            failures=tuple(sorted({answer.failure for answer in answers if answer.failure is not None})),
        )
