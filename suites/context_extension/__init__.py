"""Checks of a context extension: loss, retrieval and effective length beyond the trained length."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evalkit.analysis.finished_run import StoredRun
from evalkit.records import RunRecord
from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites import mmlu
from suites.context_extension.settings import QUICK_SAMPLES, QUICK_WINDOWS, ExtensionSettings
from suites.context_extension.suite import ContextExtensionSuite
from suites.context_extension.summary import summarize
from suites.context_extension.verdicts import Conclusion, ExtensionRun, Margins, conclude
from suites.ruler import RulerCorpora
from suites.text_loss.sources import EssayText, Source, open_source

__all__ = [
    "SPEC",
    "Conclusion",
    "ContextExtensionSuite",
    "ExtensionRun",
    "ExtensionSettings",
    "Margins",
    "build",
    "conclude",
]


def build(
    settings: ExtensionSettings,
    tokenizer: Tokenizer,
    *,
    source: Source | None = None,
    corpora: RulerCorpora | None = None,
    max_tokens: int | None = None,
) -> ContextExtensionSuite:
    """The suite for one tokenizer; long documents and haystacks are by default those of the settings and of RULER.

    MMLU questions longer than `max_tokens` are left out.
    """
    corpora = corpora or RulerCorpora.default()
    if source is None:
        source = (
            EssayText(corpora.essays()) if settings.path is None else open_source(Path(settings.path), settings.field)
        )
    questions = None if settings.mmlu is None else mmlu.build(settings.mmlu, tokenizer, max_tokens=max_tokens)
    return ContextExtensionSuite(settings, tokenizer, source, corpora, mmlu=questions)


def _others(settings: ExtensionSettings) -> Mapping[str, tuple[str, ExtensionSettings]]:
    return {} if settings.before is None else {"before": (settings.before, settings.short_only())}


def _conclude(settings: ExtensionSettings, run: StoredRun, others: Mapping[str, StoredRun]) -> RunRecord:
    """The record with its verdicts."""
    runs = {role: ExtensionRun(other.record, tuple(other.samples.values())) for role, other in others.items()}
    record = run.record
    conclusion = conclude(
        settings,
        ExtensionRun(record, tuple(run.samples.values())),
        trained_length=settings.trained or record.model.trained_length,
        margins=Margins(settings.margin, settings.margin_points, settings.margin_bits),
        before=runs.get("before"),
        baseline=runs.get("baseline"),
    )
    figures = {figure.label: figure for figure in (*record.figures, *conclusion.figures)}
    return replace(record, figures=tuple(figures.values()), verdicts=conclusion.verdicts)


SPEC = SuiteSpec(
    name="extend",
    settings=ExtensionSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer, max_tokens=reader.max_tokens),
    quick={"samples": QUICK_SAMPLES, "windows": QUICK_WINDOWS},
    others=_others,
    conclude=_conclude,
    stores_charts=True,
    summarize=summarize,
    report="reports.context_extension:report",
)
