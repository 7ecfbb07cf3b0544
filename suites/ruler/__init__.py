"""RULER: 13 tasks of retrieval, tracing, counting and question answering in a long context.

Hsieh et al., RULER: What's the Real Context Size of Your Long-Context Language Models? arXiv:2404.06654.
"""

from pathlib import Path

from evalkit.records import Asked
from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Suite, Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites.ruler.corpora import RulerCorpora
from suites.ruler.prepared import PreparedSuite
from suites.ruler.settings import QUICK_SAMPLES, RulerSettings
from suites.ruler.suite import RulerSuite
from suites.ruler.summary import summarize
from suites.ruler.tasks import TASKS

__all__ = ["SPEC", "TASKS", "PreparedSuite", "RulerCorpora", "RulerSettings", "RulerSuite", "build"]


def build(
    settings: RulerSettings,
    tokenizer: Tokenizer,
    corpora: RulerCorpora | None = None,
    chat: ChatOptions = RAW,
) -> Suite[Asked]:
    """The suite of `settings`: prepared samples of its data folder, or native ones from `corpora`."""
    if settings.data is not None:
        return PreparedSuite(settings, tokenizer, Path(settings.data), chat)
    return RulerSuite(settings, tokenizer, RulerCorpora.default() if corpora is None else corpora, chat)


SPEC = SuiteSpec(
    name="ruler",
    settings=RulerSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer, chat=reader.chat),
    quick={"samples": QUICK_SAMPLES},
    own_questions="data",
    summarize=lambda _, samples: summarize(samples),
    tasks=tuple(TASKS),
    renders_chat=True,
    thinks=True,
)
