"""Tasks of lm-eval as one suite: prompts, examples, metrics and aggregation are lm-eval's, the run is evalkit's.

Gao et al., A framework for few-shot language model evaluation (https://github.com/EleutherAI/lm-evaluation-harness).
"""

from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from evalkit.suite_spec import SuiteSpec
from suites.lm_eval_tasks.harness import LoadedTasks, check_chat, check_tasks, load_tasks
from suites.lm_eval_tasks.settings import LmEvalSettings
from suites.lm_eval_tasks.suite import LmEvalSuite

__all__ = ["SPEC", "LmEvalSettings", "LmEvalSuite", "LoadedTasks", "build", "check_chat", "load_tasks"]


def build(
    settings: LmEvalSettings,
    tokenizer: Tokenizer,
    *,
    max_tokens: int | None = None,
    chat: ChatOptions = RAW,
) -> LmEvalSuite:
    """The suite for one tokenizer and for a model that was trained to `max_tokens` (None: reads any number).

    Raises UsageError for tasks that do not exist, cannot be loaded or cannot be run.
    """
    return LmEvalSuite(settings, tokenizer, max_tokens, load_tasks(settings), chat)


SPEC = SuiteSpec(
    name="lm-eval",
    settings=LmEvalSettings,
    build=lambda settings, reader: build(settings, reader.tokenizer, max_tokens=reader.max_tokens, chat=reader.chat),
    report="reports.lm_eval_tasks:report",
    renders_chat=True,
    thinks=True,
    chat_settings=("fewshot_as_multiturn",),
    check_inputs=check_tasks,
)
