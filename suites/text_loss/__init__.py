"""Text loss: bits per byte and nats per token of any text, split into copied tokens and the rest."""

from pathlib import Path

from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites.text_loss.settings import TextLossSettings
from suites.text_loss.sources import EssayText, Source, check_text, open_source
from suites.text_loss.suite import TextLossSuite
from suites.text_loss.summary import summarize

__all__ = ["SPEC", "TextLossSettings", "TextLossSuite", "build"]


def build(settings: TextLossSettings, tokenizer: Tokenizer, source: Source | None = None) -> TextLossSuite:
    """The suite for one tokenizer; `source` is by default that of the settings."""
    if source is None:
        source = _essays() if settings.path is None else open_source(Path(settings.path), settings.field)
    return TextLossSuite(settings, tokenizer, source)


def _essays() -> Source:
    from suites.corpora import load_essays

    return EssayText(load_essays())


SPEC = SuiteSpec(
    name="loss",
    settings=TextLossSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer),
    check_inputs=lambda settings: check_text(settings.path, settings.field),
    scores_only=True,
    summarize=summarize,
    report="reports.text_loss:report",
)
