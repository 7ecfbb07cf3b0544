"""MMLU: 57 subjects of four-choice questions, with lm-eval's prompts.

Hendrycks et al., Measuring Massive Multitask Language Understanding (2021).
"""

from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites.mmlu.questions import QuestionSource
from suites.mmlu.settings import MmluSettings
from suites.mmlu.subjects import SUBJECTS
from suites.mmlu.suite import MmluSuite, load_subject
from suites.mmlu.summary import summarize

__all__ = ["SPEC", "MmluSettings", "MmluSuite", "build", "check_inputs"]


def build(
    settings: MmluSettings,
    tokenizer: Tokenizer,
    *,
    max_tokens: int | None = None,
    source: QuestionSource | None = None,
    chat: ChatOptions = RAW,
) -> MmluSuite:
    """The suite for one tokenizer and for a model that was trained to `max_tokens` (None: reads any number).

    `source` is by default that of the settings.
    """
    return MmluSuite(settings, tokenizer, max_tokens, source or _source(settings), chat)


def check_inputs(settings: MmluSettings) -> None:
    """Raise UsageError if a folder of CSV files lacks questions of the settings; the hub is not asked."""
    if settings.data is not None:
        source = _source(settings)
        for subject in settings.subjects:
            load_subject(source, subject, settings.shots)


def _source(settings: MmluSettings) -> QuestionSource:
    if settings.data is None:
        from suites.mmlu.hub import HubQuestions

        return HubQuestions()
    from pathlib import Path

    from suites.mmlu.csv_folder import CsvFolder

    return CsvFolder(Path(settings.data))


SPEC = SuiteSpec(
    name="mmlu",
    settings=MmluSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer, max_tokens=reader.max_tokens, chat=reader.chat),
    check_inputs=check_inputs,
    summarize=summarize,
    report="reports.mmlu:report",
    tasks=SUBJECTS,
    renders_chat=True,
    chat_settings=("fewshot_as_multiturn",),
)
