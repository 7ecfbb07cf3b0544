"""Stored runs as commands read them: finished ones, and what there is of those that were stopped."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import RunStart, SampleRecord, SuiteSummary


def open_run(path: Path) -> "StoredRun":
    """The run in folder `path`, finished or not; raises as `load_run` and `load_unfinished`."""
    from evalkit.analysis.finished_run import load_run
    from evalkit.analysis.unfinished_run import is_unfinished, load_unfinished

    return load_unfinished(path, summarize) if is_unfinished(path) else load_run(path)


def summarize(start: "RunStart", samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    """The suite's own summary, from its settings and the samples; a plain one if it needs more than these."""
    from evalkit.analysis.unfinished_run import plain_summary

    return summarize_stored(start.suite, start.config, samples) or plain_summary(samples)


def summarize_stored(
    suite: str, config: "Mapping[str, Any]", samples: "Sequence[SampleRecord]"
) -> "SuiteSummary | None":
    """The suite's own summary; None if it needs more than settings and samples, or settings of another version."""
    from evalkit.records.codec import RecordError

    own = _SUMMARIES.get(suite)
    try:
        return None if own is None else own(config, samples)
    except RecordError:
        return None


def _ruler(_: Mapping[str, Any], samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    from suites.ruler.summary import summarize

    return summarize(samples)


def _mmlu(config: Mapping[str, Any], samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    from evalkit.records.codec import from_dict
    from suites.mmlu.settings import MmluSettings
    from suites.mmlu.summary import summarize

    return summarize(from_dict(MmluSettings, config), samples)


def _track(config: Mapping[str, Any], samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    from evalkit.records.codec import from_dict
    from suites.state_tracking.settings import StateTrackingSettings
    from suites.state_tracking.summary import summarize

    return summarize(from_dict(StateTrackingSettings, config), samples)


def _loss(config: Mapping[str, Any], samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    from evalkit.records.codec import from_dict
    from suites.text_loss.settings import TextLossSettings
    from suites.text_loss.summary import summarize

    return summarize(from_dict(TextLossSettings, config), samples)


def _extend(config: Mapping[str, Any], samples: "Sequence[SampleRecord]") -> "SuiteSummary":
    from evalkit.records.codec import from_dict
    from suites.context_extension.settings import ExtensionSettings
    from suites.context_extension.summary import summarize

    return summarize(from_dict(ExtensionSettings, config), samples)


_SUMMARIES: dict[str, "Callable[[Mapping[str, Any], Sequence[SampleRecord]], SuiteSummary]"] = {
    "ruler": _ruler,
    "mmlu": _mmlu,
    "track": _track,
    "loss": _loss,
    "extend": _extend,
}
