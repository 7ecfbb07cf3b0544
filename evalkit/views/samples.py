"""The samples of a run or of two, as a reader browses them: answer, target, and pieces of the prompt."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evalkit.analysis.pairing import Pairing
from evalkit.errors import UsageError
from evalkit.records import Sample, SampleRecord
from evalkit.views.excerpts import Excerpt, excerpts

LONGEST_ANSWER = 4_000
"""Characters of an answer that are shown; no budget of RULER's comes near."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model made of a sample."""

    score: float | None
    failure: str | None
    prediction: str
    problem: str | None
    """Why it errored or could not be asked."""
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
class SampleView:
    """One sample; `base` is None where one run is shown."""

    id: str
    task: str
    ctx: int
    depths: tuple[float, ...]
    targets: tuple[str, ...]
    new: Answer
    base: Answer | None
    failed: bool
    """Not fully right, errored, or not asked."""
    flipped: bool
    pieces: tuple[Excerpt, ...]
    """Of the prompt; empty where it was not made again."""


def run_views(samples: Iterable[SampleRecord], prompts: "PromptSource") -> list[SampleView]:
    """Views of one run's samples, in their stored order."""
    listed = list(samples)
    prompts.choose(sorted(listed, key=_is_right))
    return [_view(sample, None, prompts) for sample in listed]


def comparison_views(pairing: Pairing, prompts: "PromptSource") -> list[SampleView]:
    """Views of the samples that both runs scored, in the order of the table."""
    pairs = list(pairing.pairs())
    prompts.choose(pair.new for pair in sorted(pairs, key=lambda pair: (pair.change == 0, pair.change)))
    return [_view(pair.new, pair.base, prompts) for pair in pairs]


class PromptSource:
    """Makes the prompts of a few samples again, those that a reader will ask for first.

    `remake` raises UsageError where a prompt cannot be made; then the samples go without, and `reason` says why.
    """

    def __init__(self, remake: Callable[[SampleRecord], Sample] | None, limit: int, reason: str | None = None) -> None:
        self._remake, self._limit = remake, limit
        self._chosen: set[str] = set()
        self.reason = reason
        self.made = 0

    def choose(self, samples: Iterable[SampleRecord]) -> None:
        """Take the first of `samples` up to the limit."""
        asked = (sample.id for sample in samples if sample.unscored is None)
        self._chosen = {name for name, _ in zip(asked, range(self._limit), strict=False)}

    def pieces(self, sample: SampleRecord) -> tuple[Excerpt, ...]:
        if sample.id not in self._chosen or self._remake is None:
            return ()
        try:
            prompt = self._remake(sample).prompt
        except UsageError as error:
            # What stands in the way of one prompt stands in the way of them all.
            self.reason, self._remake = str(error), None
            return ()
        self.made += 1
        return tuple(excerpts(prompt, sample.targets))


def _view(new: SampleRecord, base: SampleRecord | None, prompts: PromptSource) -> SampleView:
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
        pieces=prompts.pieces(new),
    )


def _is_right(sample: SampleRecord) -> bool:
    return sample.score is not None and sample.failure is None


def tasks_and_lengths(views: Sequence[SampleView]) -> tuple[list[str], list[int]]:
    """What a reader can filter by, in the order of the samples."""
    return list(dict.fromkeys(view.task for view in views)), sorted({view.ctx for view in views})
