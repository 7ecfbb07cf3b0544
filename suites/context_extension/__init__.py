"""Checks of a context extension: loss, retrieval and effective length beyond the trained length."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites import mmlu
from suites.context_extension.settings import QUICK_SAMPLES, QUICK_WINDOWS, ExtensionSettings
from suites.context_extension.suite import ContextExtensionSuite
from suites.context_extension.summary import summarize
from suites.context_extension.verdicts import conclude
from suites.ruler import RulerCorpora
from suites.text_loss.sources import EssayText, Source, check_text, open_source

__all__ = [
    "SPEC",
    "ContextExtensionSuite",
    "ExtensionSettings",
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
    chat: ChatOptions = RAW,
) -> ContextExtensionSuite:
    """The suite for one tokenizer; long documents and haystacks are by default those of the settings and of RULER.

    MMLU questions longer than `max_tokens` are left out. `chat` is the convention of needles and MMLU, which is scored
    without thoughts.
    """
    corpora = corpora or RulerCorpora.default()
    if source is None:
        source = (
            EssayText(corpora.essays()) if settings.path is None else open_source(Path(settings.path), settings.field)
        )
    scored = replace(chat, thinking=0)
    questions = (
        None if settings.mmlu is None else mmlu.build(settings.mmlu, tokenizer, max_tokens=max_tokens, chat=scored)
    )
    return ContextExtensionSuite(settings, tokenizer, source, corpora, mmlu=questions, chat=chat)


def _check_inputs(settings: ExtensionSettings) -> None:
    check_text(settings.path, settings.field)
    if settings.mmlu is not None:
        mmlu.check_inputs(settings.mmlu)


def _others(settings: ExtensionSettings) -> Mapping[str, tuple[str, ExtensionSettings]]:
    return {} if settings.before is None else {"before": (settings.before, settings.short_only())}


SPEC = SuiteSpec(
    name="extend",
    settings=ExtensionSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer, max_tokens=reader.max_tokens, chat=reader.chat),
    quick={"samples": QUICK_SAMPLES, "windows": QUICK_WINDOWS},
    others=_others,
    check_inputs=_check_inputs,
    conclude=conclude,
    stores_charts=True,
    summarize=summarize,
    renders_chat=True,
    thinks=True,
    report="reports.context_extension:report",
)
