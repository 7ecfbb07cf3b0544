"""Asks both engines, and compares what they answer."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.analysis.agreement.answers import AnswerComparison, Sides, ask, checked, distinct, ordered
from evalkit.analysis.agreement.gaps import Gaps, by_position, departure, gap_group
from evalkit.analysis.agreement.probes import WHOLE, Probe
from evalkit.analysis.agreement.records import AnswerGroup, Difference, GapGroup
from evalkit.analysis.agreement.rounding import Rounding
from evalkit.records import Completion, Request
from evalkit.running.protocols import Adapter


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was compared."""

    answers: tuple[AnswerGroup, ...]
    differences: tuple[Difference, ...]
    gaps: tuple[GapGroup, ...]
    findings: tuple[str, ...]
    """Why the engines do not agree, one line each."""
    failures: tuple[str, ...]


@dataclass(slots=True)
class _Scores:
    """Groups of log-probability differences, and what is wrong with them."""

    groups: list[GapGroup] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def measure(
    sides: Sides,
    probes: Sequence[Probe],
    blocks: Mapping[str, int],
    rounding: Rounding,
    *,
    repeats: int,
    given_text: bool,
) -> Measured:
    """Compare greedy answers alone, repeated and under load, and log-probabilities as far as the server gives them.

    `given_text` says whether the server gives log-probabilities of a prompt. Raises UsageError if the reference fails.
    """
    model = sides.reference.identity.path
    reference = checked(model, ask(sides.reference, probes))
    comparison = AnswerComparison(sides, sides.reference.tokenizer, rounding)
    expected = [comparison.tokens(completion, ()) for completion in reference]
    alone = ask(sides.alone, probes)
    groups = comparison.compare("alone", probes, expected, alone)
    first = [comparison.tokens(found, known) for found, known in zip(alone, expected, strict=True)]
    whole = [place for place, probe in enumerate(probes) if probe.group == WHOLE and alone[place].error is None]
    again = whole * (repeats - 1)
    groups += comparison.compare(
        "repeated",
        [probes[place] for place in again],
        [first[place] for place in again],
        ask(sides.alone, [probes[place] for place in again]),
    )
    answered = [place for place, completion in enumerate(alone) if completion.error is None]
    concurrency = sides.at_once.describe().batch_sequences or 1
    count = max(concurrency, len(answered)) if answered else 0
    loaded = list(itertools.islice(itertools.cycle(answered), count)) if concurrency > 1 else []
    under_load = ask(sides.at_once, [probes[place] for place in loaded])
    groups += comparison.compare(
        "under load", [probes[place] for place in loaded], [first[place] for place in loaded], under_load
    )
    scores = _Scores()
    ways = {"alone": dict(enumerate(alone)), "under load": dict(zip(loaded, under_load, strict=True))}
    _own_answers(scores, sides, probes, ways, rounding)
    if given_text:
        _given_text(scores, sides, [probe for probe in probes if probe.group == WHOLE], blocks, rounding)
    findings = (*_answer_findings(groups), *scores.findings)
    failures = distinct([*comparison.failures, *scores.failures])
    return Measured(tuple(groups), tuple(comparison.differences), tuple(scores.groups), findings, failures)


def _own_answers(
    scores: _Scores,
    sides: Sides,
    probes: Sequence[Probe],
    ways: Mapping[str, Mapping[int, Completion]],
    rounding: Rounding,
) -> None:
    """Compare the log-probabilities that the server gives of its own answers, if it gives their tokens too."""
    alone = {place: found.token_ids for place, found in ways["alone"].items() if found.token_log_probabilities}
    alone = {place: ids for place, ids in alone.items() if ids}
    texts = [(*probes[place].token_ids, *(ids or ())) for place, ids in alone.items()]
    starts = [len(probes[place].token_ids) for place in alone]
    reference = dict(zip(alone, _log_probabilities(sides.reference, texts, starts), strict=True))
    for way, completions in ways.items():
        by_ctx: dict[int, list[Gaps]] = {}
        for place, found in completions.items():
            known = reference.get(place)
            if known is not None and found.token_ids == alone[place]:
                gaps = Gaps.between(found.token_log_probabilities or (), known, first=0)
                by_ctx.setdefault(probes[place].ctx, []).append(gaps)
        for ctx, each in by_ctx.items():
            _add(scores, gap_group(ctx, f"the server's own answers, {way}", each, rounding))


def _given_text(
    scores: _Scores, sides: Sides, prompts: Sequence[Probe], blocks: Mapping[str, int], rounding: Rounding
) -> None:
    """Compare the log-probabilities of the prompts themselves, teacher-forced, alone and under load."""
    texts, starts = [prompt.token_ids for prompt in prompts], [1] * len(prompts)
    reference = _log_probabilities(sides.reference, texts, starts)
    for way, adapter in (("", sides.alone), (", under load", sides.at_once)):
        found = _log_probabilities(adapter, texts, starts, scores.failures)
        if failed := found.count(None):
            scores.findings.append(f"log-probabilities{way}: {failed} of {len(prompts)} requests failed")
        by_ctx: dict[int, list[Gaps]] = {}
        for prompt, one, other in zip(prompts, found, reference, strict=True):
            if one is not None and other is not None:
                by_ctx.setdefault(prompt.ctx, []).append(Gaps.between(one, other, first=1))
        for ctx, gaps in by_ctx.items():
            if way:
                _add(scores, gap_group(ctx, f"all positions{way}", gaps, rounding))
                continue
            for group in by_position(ctx, gaps, blocks, rounding):
                _add(scores, group)
            departures = sorted(place for each in gaps if (place := departure(each, rounding)) is not None)
            if departures and not all(group.agrees for group in scores.groups):
                scores.findings.append(f"at {ctx:,}: log-probabilities depart from position {departures[0]:,} on")


def _log_probabilities(
    adapter: Adapter, texts: Sequence[tuple[int, ...]], starts: Sequence[int], failures: list[str] | None = None
) -> list[tuple[float, ...] | None]:
    """Log-probabilities of each text's tokens from its start on; None for a request that failed."""
    requests: Iterator[Request] = (
        Request(str(place), text, 0, scored_from=start)
        for place, (text, start) in enumerate(zip(texts, starts, strict=True))
    )
    completions = ordered(adapter, requests, len(texts))
    if failures is not None:
        failures += [completion.error for completion in completions if completion.error is not None]
    return [completion.log_probabilities for completion in completions]


def _add(scores: _Scores, group: GapGroup | None) -> None:
    if group is None:
        return
    scores.groups.append(group)
    if not group.agrees:
        scores.findings.append(
            f"at {group.ctx:,}, {group.where}: log-probabilities differ by {group.rms:.2g} nats (root mean square of "
            f"{group.tokens:,} tokens), {group.bound:.2g} allowed; by {group.largest:.2g} at {group.largest_at:,}"
        )


def _answer_findings(groups: Sequence[AnswerGroup]) -> Iterator[str]:
    for group in groups:
        against = "the reference's" if group.way == "alone" else "the server's first"
        if group.differing:
            yield f"{group.way}, {group.what}: {group.differing} of {group.requests} answers differ from {against}"
        if group.failed:
            yield f"{group.way}, {group.what}: {group.failed} of {group.requests} requests failed"
