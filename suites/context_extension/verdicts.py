"""Verdicts of an extension's checks: pass, fail or undecided.

A check of a difference passes if the 95 % interval of the difference is within the margin, fails if it is beyond the
margin, and is undecided otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.records import EFFECTIVE_LENGTH, Figure, Outcome, RunRecord, SampleRecord, Verdict
from evalkit.statistics.effective_length import FIXED_SCORE, OWN_SHARE, EffectiveLength, effective_length
from evalkit.statistics.intervals import CONFIDENCE
from evalkit.statistics.paired import PairedDifferences, pool
from suites.context_extension.effective_length import above_baseline, collect, length_figure, mean_score
from suites.context_extension.position_loss import LONG_TEXT, SHORT_TEXT, bucket_width, mean_nats
from suites.context_extension.settings import MARGIN_BITS, MARGIN_NATS, MARGIN_POINTS, ExtensionSettings

LEAST_DOCUMENTS = 2


@dataclass(frozen=True, slots=True)
class Margins:
    """Accepted losses."""

    nats: float = MARGIN_NATS
    """Nats per token: loss beyond the trained length, compared with the loss just before it."""
    points: float = MARGIN_POINTS
    """Points of the mean score at the short length, compared with the checkpoint before the extension."""
    bits: float = MARGIN_BITS
    """Bits per byte: loss at the short length, compared with the checkpoint before the extension."""


@dataclass(frozen=True, slots=True)
class ExtensionRun:
    """A run of the suite, with its samples."""

    record: RunRecord
    samples: Sequence[SampleRecord]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Figures and verdicts for the record of the run."""

    figures: tuple[Figure, ...]
    verdicts: tuple[Verdict, ...]


def conclude(
    settings: ExtensionSettings,
    run: ExtensionRun,
    *,
    trained_length: int | None,
    margins: Margins,
    before: ExtensionRun | None = None,
    baseline: ExtensionRun | None = None,
) -> Conclusion:
    """All verdicts that the runs allow; `trained_length` is that before the extension."""
    verdicts = list(_position_verdicts(settings, run.samples, trained_length, margins.nats))
    figures: list[Figure] = []
    scores = collect(run.samples, settings.tasks)
    detectable: dict[int, float | None] = {ctx: mean_score(cells).detectable() for ctx, cells in scores.items()}
    for rule, part, text in (
        ("fixed", "", f"at least {FIXED_SCORE} points"),
        ("own_share", "own_share", f"at least {OWN_SHARE:.0%} of its own score at {settings.short_ctx:,}"),
    ):
        length = _read_length(run.record.figure(EFFECTIVE_LENGTH, part))
        verdicts.append(_length_verdict(settings, rule, text, length, detectable))
    if baseline is not None:
        gains = above_baseline(scores, collect(baseline.samples, settings.tasks))
        length = effective_length(gains)
        figures += length_figure("baseline", length, sum(len(gain.differences) for gain in gains.values()))
        rule = f"better than {baseline.record.model.path}"
        detectable = {ctx: gain.detectable() for ctx, gain in gains.items()}
        verdicts.append(_length_verdict(settings, "baseline", rule, length, detectable))
    if before is not None:
        verdicts += _retention(settings, run.samples, before, margins)
        verdicts += _mmlu_retention(settings, run.samples, before, margins)
    return Conclusion(tuple(figures), tuple(verdicts))


def _position_verdicts(
    settings: ExtensionSettings, samples: Sequence[SampleRecord], trained_length: int | None, margin: float
) -> Iterator[Verdict]:
    """One verdict per doubling beyond the trained length, over the documents."""
    if trained_length is None or trained_length >= settings.ctx:
        window = "it is not stated" if trained_length is None else f"it ends at {trained_length:,}"
        yield _untold(
            "position_loss",
            f"nothing was read beyond the trained window ({window}); name it with --trained or raise --ctx",
            margin,
            "nats per token",
        )
        return
    documents = [sample.measures for sample in samples if sample.task == LONG_TEXT and sample.score is not None]
    width = bucket_width(settings.ctx)
    stretches = list(_doublings(trained_length, settings.ctx))
    # All stretches must pass together, so they share the 5 %.
    confidence = 1 - (1 - CONFIDENCE) / len(stretches)
    for first, end in stretches:
        excess = [
            past - edge
            for measures in documents
            if (past := mean_nats(measures, first, end, width)) is not None
            and (edge := mean_nats(measures, trained_length // 2, trained_length, width)) is not None
        ]
        yield _position_verdict((first, end), excess, margin, confidence, trained_length)


def _doublings(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        yield start, min(2 * start, end)
        start *= 2


def _position_verdict(
    stretch: tuple[int, int], excess: Sequence[float], margin: float, confidence: float, trained_length: int
) -> Verdict:
    first, end = stretch
    check = f"position_loss/{first}-{end}"
    where = f"at {first:,} to {end:,} against the edge of the trained window ({trained_length:,})"
    if len(excess) < LEAST_DOCUMENTS:
        return _untold(
            check,
            f"{len(excess)} documents reach {where}: 2 or more are needed; raise --windows",
            margin,
            "nats per token",
        )
    pairs = PairedDifferences(
        differences=np.array(excess),
        weights=np.full(len(excess), 1 / len(excess)),
        strata=np.zeros(len(excess), dtype=np.int64),
        bounded=False,
    )
    interval = pairs.interval(confidence)
    outcome = _against_margin(interval, margin)
    return Verdict(
        target=check,
        outcome=outcome,
        reason=f"loss {where}: {pairs.mean:+.3f} nats per token, {margin:g} allowed, {len(excess)} documents",
        unit="nats per token",
        value=pairs.mean,
        limit=margin,
        interval=interval,
        detectable=pairs.detectable(confidence),
        detectable_unit="nats per token",
    )


def _length_verdict(
    settings: ExtensionSettings,
    rule: str,
    text: str,
    length: EffectiveLength | None,
    detectable: Mapping[int, float | None],
) -> Verdict:
    """Whether the effective length is the tested one; the detectable difference is in points at that length."""
    check = f"{EFFECTIVE_LENGTH}/{rule}"
    missing = [ctx for ctx in settings.ctxs if ctx not in detectable]
    if length is None or missing:
        return _untold(check, f"no scores of every task at {_lengths(missing)} ({text})", settings.ctx, "tokens")
    outcome: Outcome = "pass" if length.low >= settings.ctx else "fail" if length.high < settings.ctx else "undecided"
    shown = f"{length.tokens:,}" if length.tokens else f"below {settings.short_ctx:,}"
    points = detectable[settings.ctx]
    return Verdict(
        target=check,
        outcome=outcome,
        reason=f"effective length {shown} of {settings.ctx:,} tested ({text}; mean of {_tasks(settings)})",
        unit="tokens",
        value=length.tokens,
        limit=settings.ctx,
        interval=(length.low, length.high),
        detectable=None if points is None else 100 * points,
        detectable_unit="points",
    )


def _retention(
    settings: ExtensionSettings, samples: Sequence[SampleRecord], before: ExtensionRun, margins: Margins
) -> Iterator[Verdict]:
    """Comparison at the short length with the checkpoint before the extension, on the same samples."""
    ctx, name = settings.short_ctx, before.record.model.path
    earlier = {sample.id: sample for sample in before.samples if sample.ctx == ctx and sample.score is not None}
    pairs = [
        (sample, earlier[sample.id])
        for sample in samples
        if sample.ctx == ctx and sample.score is not None and sample.id in earlier
    ]
    groups = [
        np.array([100 * (_score(old) - _score(new)) for new, old in pairs if new.task == task])
        for task in settings.tasks
    ]
    where = f"at {ctx:,} tokens against {name}"
    if groups and all(len(group) for group in groups):
        # In points; intervals of bounded differences are on the scale 0-1.
        drop = pool([group / 100 for group in groups], bounded=True)
        yield _drop_verdict("retention/ruler", f"score {where}", drop, margins.points, 100.0, "points")
    else:
        yield _untold("retention/ruler", f"no samples of every task are shared {where}", margins.points, "points")
    texts = [(new, old) for new, old in pairs if new.task == SHORT_TEXT]
    if len(texts) >= LEAST_DOCUMENTS:
        sizes = np.array([new.measures["bytes"] for new, _ in texts])
        rise = pool(
            [np.array([_score(new) - _score(old) for new, old in texts])], bounded=False, weights=[sizes / sizes.sum()]
        )
        yield _drop_verdict("retention/loss", f"loss {where}", rise, margins.bits, 1.0, "bits per byte")
    else:
        yield _untold(
            "retention/loss", f"{len(texts)} documents are shared {where}: 2 are needed", margins.bits, "bits per byte"
        )


def _mmlu_retention(
    settings: ExtensionSettings, samples: Sequence[SampleRecord], before: ExtensionRun, margins: Margins
) -> Iterator[Verdict]:
    """Accuracy over the questions that both models answered."""
    if settings.mmlu is None:
        return
    where = f"against {before.record.model.path}"
    subjects = frozenset(settings.mmlu.subjects)
    earlier = {sample.id: sample for sample in before.samples if sample.task in subjects and sample.score is not None}
    drops = [
        _score(earlier[sample.id]) - _score(sample)
        for sample in samples
        if sample.task in subjects and sample.score is not None and sample.id in earlier
    ]
    if drops:
        drop = pool([np.array(drops)], bounded=True)
        yield _drop_verdict("retention/mmlu", f"MMLU {where}", drop, margins.points, 100.0, "points")
    else:
        yield _untold("retention/mmlu", f"no question of MMLU is shared {where}", margins.points, "points")


def _drop_verdict(check: str, what: str, worse: PairedDifferences, margin: float, scale: float, unit: str) -> Verdict:
    interval = worse.interval()
    scaled = None if interval is None else (scale * interval[0], scale * interval[1])
    detectable = worse.detectable()
    return Verdict(
        target=check,
        outcome=_against_margin(scaled, margin),
        reason=(
            f"{what}: worse by {scale * worse.mean:.3g} {unit}, {margin:g} allowed, {len(worse.differences)} pairs"
        ),
        unit=unit,
        value=scale * worse.mean,
        limit=margin,
        interval=scaled,
        detectable=None if detectable is None else scale * detectable,
        detectable_unit=unit,
    )


def _against_margin(worse: tuple[float, float] | None, margin: float) -> Outcome:
    if worse is None:
        return "undecided"
    return "pass" if worse[1] <= margin else "fail" if worse[0] > margin else "undecided"


def _untold(check: str, statement: str, bound: float, unit: str) -> Verdict:
    return Verdict(target=check, outcome="undecided", reason=statement, limit=bound, unit=unit)


def _read_length(figure: Figure | None) -> EffectiveLength | None:
    if figure is None or figure.value is None or figure.ci95 is None:
        return None
    return EffectiveLength(int(figure.value), int(figure.ci95[0]), int(figure.ci95[1]))


def _tasks(settings: ExtensionSettings) -> str:
    return settings.tasks[0] if len(settings.tasks) == 1 else f"{len(settings.tasks)} tasks"


def _lengths(ctxs: Sequence[int]) -> str:
    return ", ".join(f"{ctx:,}" for ctx in ctxs) or "any length"


def _score(sample: SampleRecord) -> float:
    assert sample.score is not None
    return sample.score
