"""Checks of a context extension: does a model still read, find and remember past the length it was trained at?"""

from pathlib import Path

from evalkit.running.protocols import Tokenizer
from suites import mmlu
from suites.context_extension.settings import SAMPLES, WINDOWS, ExtensionSettings
from suites.context_extension.suite import ContextExtensionSuite
from suites.context_extension.verdicts import Conclusion, ExtensionRun, Margins, conclude
from suites.ruler import RulerCorpora
from suites.text_loss.sources import EssayText, Source, open_source

__all__ = [
    "SAMPLES",
    "WINDOWS",
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
    """The suite for one tokenizer; long documents and haystacks are by default what the settings and RULER read.

    MMLU's questions longer than `max_tokens`, where they are asked, are left out.
    """
    corpora = corpora or RulerCorpora.default()
    if source is None:
        source = (
            EssayText(corpora.essays()) if settings.path is None else open_source(Path(settings.path), settings.field)
        )
    questions = None if settings.mmlu is None else mmlu.build(settings.mmlu, tokenizer, max_tokens=max_tokens)
    return ContextExtensionSuite(settings, tokenizer, source, corpora, mmlu=questions)
