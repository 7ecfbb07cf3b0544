"""State tracking: how many updates of a state a model can follow."""

from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites.corpora import Essays
from suites.state_tracking.settings import NO_CTX, QUICK_SAMPLES, StateTrackingSettings
from suites.state_tracking.suite import StateTrackingSuite
from suites.state_tracking.summary import summarize

__all__ = ["SPEC", "StateTrackingSettings", "StateTrackingSuite", "build"]


def build(
    settings: StateTrackingSettings,
    tokenizer: Tokenizer,
    prose: Essays | None = None,
    chat: ChatOptions = RAW,
) -> StateTrackingSuite:
    """The suite for one tokenizer; `prose` is the distractor text, by default RULER's essays."""
    if prose is None and any(ctx != NO_CTX for ctx in settings.ctxs):
        from suites.corpora import load_essays

        prose = load_essays()
    return StateTrackingSuite(settings, tokenizer, prose, chat)


SPEC = SuiteSpec(
    name="track",
    settings=StateTrackingSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer, chat=reader.chat),
    quick={"samples": QUICK_SAMPLES},
    summarize=summarize,
    renders_chat=True,
    thinks=True,
    report="reports.state_tracking:report",
)
