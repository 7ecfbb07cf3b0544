"""One sample: its prompt, its targets, and the answer of the model."""

from collections.abc import Sequence

from evalkit.records import RunRecord, SampleRecord
from evalkit.views.samples import Piece, SampleView, folded, thought_note
from reports.plain_text import one_line
from reports.report import Report, Table

LONGEST_THOUGHT = 600
"""Characters of a thought that are shown: those of its beginning and of its end."""
ANSWER_CHARACTERS = 60
METRICS = {
    "all": "the share of the targets in the answer",
    "part": "1 if any target is in the answer",
    "part_normalized": "1 if any target is in the answer, without case, articles and punctuation",
}
"""What the scores of RULER's metrics mean."""


def sample_report(record: RunRecord, sample: SampleRecord, pieces: Sequence[Piece], reason: str | None) -> Report:
    """The report of one sample; `pieces` are excerpts of its prompt, or `reason` says why there are none."""
    tables = (_prompt_table(sample, pieces),) if pieces else ()
    return Report(
        headline=f"{sample.id} · {record.model.path} · {record.suite}, dialect {record.dialect}",
        notices=(f"The prompt is not shown: {reason}.",) if reason else (),
        tables=tables,
        facts=tuple((name, value) for name, value in _facts(sample) if value),
    )


def failed_rows(views: Sequence[SampleView]) -> list[tuple[str, ...]]:
    """One row per sample that is not fully right: id, score, failure, and the beginning of the answer."""
    return [
        (
            view.id,
            "-" if answer.score is None else f"{answer.score:.2f}",
            (answer.failure or answer.problem or "-").replace("_", " "),
            _beginning(one_line(answer.prediction)),
        )
        for view in views
        for answer in view.answers[-1:]
        if view.failed and answer is not None
    ]


def _beginning(answer: str) -> str:
    """Cut within a word if need be: Chinese and Japanese have no spaces, nor has a model that repeats itself."""
    return answer if len(answer) <= ANSWER_CHARACTERS else f"{answer[: ANSWER_CHARACTERS - 1]}…"


def _prompt_table(sample: SampleRecord, pieces: Sequence[Piece]) -> Table:
    length = f" ({sample.prompt_tokens:,} tokens)" if sample.prompt_tokens else ""
    return Table(
        f"Excerpts of the prompt{length}; --format json shows the whole prompt",
        ("piece", "from character", "text"),
        tuple((piece.label, f"{piece.start:,}", "".join(piece.parts)) for piece in pieces),
    )


def _facts(sample: SampleRecord) -> list[tuple[str, str]]:
    return [
        ("targets", " | ".join(sample.targets)),
        ("thought", _thought(sample)),
        ("prediction", sample.prediction),
        ("score", "not scored" if sample.score is None else f"{sample.score:g} ({_metric(sample)})"),
        ("failure", (sample.failure or "").replace("_", " ")),
        ("error", sample.error or ""),
        ("unscored", sample.unscored or ""),
        ("depths in haystack", ", ".join(f"{depth:.2f}" for depth in sample.depths)),
        ("log-probabilities of the choices", ", ".join(f"{one.log_probability:.3f}" for one in sample.continuations)),
        ("finish reason", sample.finish_reason),
        ("completion tokens", f"{sample.completion_tokens:,}"),
        ("prefill, decode", f"{_seconds(sample.prefill_seconds)}, {_seconds(sample.decode_seconds)}"),
        ("prompt sha256", sample.prompt_sha256),
    ]


def _thought(sample: SampleRecord) -> str:
    note, text = thought_note(sample), folded(sample.thought or "", LONGEST_THOUGHT)
    return f"({note}) {text}".strip() if note else ""


def _metric(sample: SampleRecord) -> str:
    return METRICS.get(sample.metric, sample.metric)


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.3g} s"
