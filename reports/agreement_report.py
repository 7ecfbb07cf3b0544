"""The report of a comparison of two engines, to be attached to a report of a fault."""

from collections.abc import Iterator, Sequence

from evalkit.analysis.agreement.records import Agreement, AnswerGroup, Difference, GapGroup
from reports.report import Report, Table

MOST_DIFFERENCES = 24
MOST_LINES = 8


def agreement_report(result: Agreement) -> Report:
    """Verdict with reasons, answers, first differing tokens, log-probabilities, and all that is needed to repeat it."""
    return Report(
        headline=f"agree · {result.model.path} against {result.served_model} on {result.engine}: {result.verdict}",
        notices=(*_first(result.findings), *_first([f"failed: {failure}" for failure in result.failures])),
        tables=tuple(_tables(result)),
        facts=tuple(_facts(result)),
    )


def _first(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES} more like these"


def _tables(result: Agreement) -> Iterator[Table]:
    yield Table(
        "Greedy answers: alone against the reference; repeated and under load against the server's own first answer",
        ("asked", "prompts", "requests", "equal", "by rounding", "differing", "failed"),
        tuple(_answer_row(group) for group in result.answers),
    )
    if result.differences:
        shown = result.differences[:MOST_DIFFERENCES]
        more = len(result.differences) - len(shown)
        yield Table(
            f"First differing token, {len(shown)} of {len(result.differences)}"
            if more
            else "First differing token of each answer that differs",
            ("prompt", "tokens", "asked", "token", "expected", "found", "margin (nats)", "verdict"),
            tuple(_difference_row(difference) for difference in shown),
        )
    if result.gaps:
        yield Table(
            "Differences of log-probabilities in nats: root mean square, and the largest with its position",
            ("positions", "ctx", "tokens", "RMS", "allowed", "largest", "at", "verdict"),
            tuple(_gap_row(group) for group in result.gaps),
        )


def _answer_row(group: AnswerGroup) -> tuple[str, ...]:
    counts = (group.requests, group.equal, group.by_rounding, group.differing, group.failed)
    return group.way, group.what, *(f"{count:,}" for count in counts)


def _difference_row(difference: Difference) -> tuple[str, ...]:
    return (
        difference.probe,
        f"{difference.prompt_tokens:,}",
        difference.way,
        f"{difference.token:,}",
        repr(difference.expected),
        repr(difference.found),
        "-" if difference.margin is None else f"{difference.margin:.2g}",
        "rounding" if difference.by_rounding else "DIFFERS",
    )


def _gap_row(group: GapGroup) -> tuple[str, ...]:
    return (
        group.where,
        f"{group.ctx:,}",
        f"{group.tokens:,}",
        f"{group.rms:.2g}",
        f"{group.bound:.2g}",
        f"{group.largest:.2g}",
        f"{group.largest_at:,}",
        "agrees" if group.agrees else "DIFFERS",
    )


def _facts(result: Agreement) -> Iterator[tuple[str, str]]:
    reference = result.reference
    yield "bounds", f"{result.rounding}; a margin of {result.margin_bound:.2g} nats between two tokens is a tie"
    if not result.gaps:
        yield "log-probabilities", "not compared: the server gives none, of its prompts or of its answers' tokens"
    sampling = ", ".join(f"{name} = {value:g}" for name, value in result.sampling.items())
    sent = "token ids" if result.takes_token_ids else "text (the server takes no token ids)"
    yield "requests", f"/v1/completions with {sent}, {sampling}; {result.concurrency} at once under load"
    yield "server", f"{result.server}: {result.engine}, model {result.served_model}"
    parts = (
        f"evalkit's engine in {reference.dtype} on {reference.device}",
        f"attention {reference.attention}" if reference.attention else "",
        f"gated delta rule {reference.gdn_kernel}" if reference.gdn_kernel else "",
        f"segments of {reference.segment_tokens:,} tokens" if reference.segment_tokens else "",
    )
    yield "reference", ", ".join(filter(None, parts))
    yield "checkpoint", f"{result.model.path} ({result.model.family}), {result.model.fingerprint}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in result.environment.versions.items())
    gpu = result.environment.gpu
    yield "hardware", (gpu.name if gpu is not None and gpu.name else result.environment.cpu) or "unknown"
    yield "started", result.started_at
    yield "command", result.command
