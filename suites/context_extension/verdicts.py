"""Verdicts of an extension's checks: pass, fail or undecided.

A check of a difference passes if the 95 % interval of the difference is within the margin, fails if it is beyond the
margin, and is undecided otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from evalkit.analysis.finished_run import StoredRun
from evalkit.records import EFFECTIVE_LENGTH, Figure, Outcome, RunRecord, SampleRecord, Verdict
from evalkit.statistics.effective_length import FIXED_SCORE, OWN_SHARE, EffectiveLength, effective_length
from evalkit.statistics.intervals import CONFIDENCE, scaled
from evalkit.statistics.paired import PairedDifferences, pool
from suites.context_extension.effective_length import above_baseline, collect, length_figure, mean_score
from suites.context_extension.position_loss import LONG_TEXT, SHORT_TEXT, mean_nats
from suites.context_extension.settings import ExtensionSettings

LEAST_DOCUMENTS = 2


def conclude(settings: ExtensionSettings, run: StoredRun, others: Mapping[str, StoredRun]) -> RunRecord:
    """The record of the run with all verdicts that it allows, also against the runs of `before` and `baseline`."""
    samples = tuple(run.samples.values())
    verdicts = list(_position_verdicts(settings, samples, settings.trained or run.record.model.trained_length))
    figures: list[Figure] = []
    scores = collect(samples, settings.tasks)
    detectable: dict[int, float | None] = {ctx: mean_score(cells).detectable() for ctx, cells in scores.items()}
    for rule, part, text in (
        ("fixed", "", f"at least {FIXED_SCORE} points"),
        ("own_share", "own_share", f"at least {OWN_SHARE:.0%} of its own score at {settings.short_ctx:,}"),
    ):
        length = _read_length(run.record.figure(EFFECTIVE_LENGTH, part))
        verdicts.append(_length_verdict(settings, rule, text, length, detectable))
    if (baseline := others.get("baseline")) is not None:
        gains = above_baseline(scores, collect(tuple(baseline.samples.values()), settings.tasks))
        length = effective_length(gains)
        figures += length_figure("baseline", length, sum(len(gain.differences) for gain in gains.values()))
        rule = f"better than {baseline.record.model.path}"
        detectable = {ctx: gain.detectable() for ctx, gain in gains.items()}
        verdicts.append(_length_verdict(settings, "baseline", rule, length, detectable))
    if (before := others.get("before")) is not None:
        verdicts += _retention(settings, samples, before)
        verdicts += _mmlu_retention(settings, samples, before)
    by_label = {figure.label: figure for figure in (*run.record.figures, *figures)}
    return replace(run.record, figures=tuple(by_label.values()), verdicts=tuple(verdicts))


def _position_verdicts(
    settings: ExtensionSettings, samples: Sequence[SampleRecord], trained_length: int | None
) -> Iterator[Verdict]:
    """One verdict per doubling beyond the trained length, over the documents."""
    if trained_length is None or trained_length >= settings.ctx:
        window = "it is not stated" if trained_length is None else f"it ends at {trained_length:,}"
        yield _untold(
            "position_loss",
            f"nothing was read beyond the trained window ({window}); name it with --trained or raise --ctx",
            settings.margin,
            "nats per token",
        )
        return
    documents = [sample.positions for sample in samples if sample.task == LONG_TEXT and sample.score is not None]
    stretches = list(_doublings(trained_length, settings.ctx))
    # All stretches must pass together, so they share the 5 %.
    confidence = 1 - (1 - CONFIDENCE) / len(stretches)
    for first, end in stretches:
        excess = [
            past - edge
            for sums in documents
            if (past := mean_nats(sums, first, end)) is not None
            and (edge := mean_nats(sums, trained_length // 2, trained_length)) is not None
        ]
        yield _position_verdict((first, end), excess, settings.margin, confidence, trained_length)


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


def _retention(settings: ExtensionSettings, samples: Sequence[SampleRecord], before: StoredRun) -> Iterator[Verdict]:
    """Comparison at the short length with the checkpoint before the extension, on the same samples."""
    ctx, name = settings.short_ctx, before.record.model.path
    pairs = [(new, old) for new, old in _shared(samples, before) if new.ctx == ctx]
    groups = [
        np.array([_score(old) - _score(new) for new, old in pairs if new.task == task]) for task in settings.tasks
    ]
    where = f"at {ctx:,} tokens against {name}"
    if groups and all(len(group) for group in groups):
        drop = pool(groups, bounded=True)
        yield _drop_verdict("retention/ruler", f"score {where}", drop, settings.margin_points, 100.0, "points")
    else:
        yield _untold(
            "retention/ruler", f"no samples of every task are shared {where}", settings.margin_points, "points"
        )
    texts = [(new, old) for new, old in pairs if new.task == SHORT_TEXT]
    if len(texts) >= LEAST_DOCUMENTS:
        sizes = np.array([new.measures["bytes"] for new, _ in texts])
        rise = pool(
            [np.array([_score(new) - _score(old) for new, old in texts])], bounded=False, weights=[sizes / sizes.sum()]
        )
        yield _drop_verdict("retention/loss", f"loss {where}", rise, settings.margin_bits, 1.0, "bits per byte")
    else:
        yield _untold(
            "retention/loss",
            f"{len(texts)} documents are shared {where}: 2 are needed",
            settings.margin_bits,
            "bits per byte",
        )


def _mmlu_retention(
    settings: ExtensionSettings, samples: Sequence[SampleRecord], before: StoredRun
) -> Iterator[Verdict]:
    """Accuracy over the questions that both models answered."""
    if settings.mmlu is None:
        return
    where = f"against {before.record.model.path}"
    subjects = frozenset(settings.mmlu.subjects)
    drops = [_score(old) - _score(new) for new, old in _shared(samples, before) if new.task in subjects]
    if drops:
        drop = pool([np.array(drops)], bounded=True)
        yield _drop_verdict("retention/mmlu", f"MMLU {where}", drop, settings.margin_points, 100.0, "points")
    else:
        yield _untold("retention/mmlu", f"no question of MMLU is shared {where}", settings.margin_points, "points")


def _shared(samples: Sequence[SampleRecord], before: StoredRun) -> Iterator[tuple[SampleRecord, SampleRecord]]:
    """Samples that both runs scored, this one's first."""
    for sample in samples:
        earlier = before.samples.get(sample.id)
        if sample.score is not None and earlier is not None and earlier.score is not None:
            yield sample, earlier


def _drop_verdict(check: str, what: str, worse: PairedDifferences, margin: float, scale: float, unit: str) -> Verdict:
    interval = scaled(worse.interval(), scale)
    detectable = worse.detectable()
    return Verdict(
        target=check,
        outcome=_against_margin(interval, margin),
        reason=(
            f"{what}: worse by {scale * worse.mean:.3g} {unit}, {margin:g} allowed, {len(worse.differences)} pairs"
        ),
        unit=unit,
        value=scale * worse.mean,
        limit=margin,
        interval=interval,
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
