"""An lm-eval model over evalkit's adapters, so that lm-eval's own evaluator runs on evalkit's engine.

lm = EvalkitLM(adapter, max_tokens=None)
lm_eval.evaluator.evaluate(lm, task_dict)
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain, groupby
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs

from evalkit.errors import RequestFailedError, SampleDoesNotFitError, UsageError
from evalkit.records import Completion, Request
from evalkit.running.chat import Chat
from evalkit.running.model_options import ChatMode, ChatOptions
from evalkit.running.protocols import Adapter
from evalkit.running.text_requests import SharedPrefix, TextRequests

MAX_GEN_TOKS = 256
"""Maximum new tokens of tasks that state none, as for lm-eval's `hf` model."""
_AS_LM_EVAL = ChatOptions(ChatMode.PREFILL)

_Make = Callable[[str, Sequence[Instance]], tuple[Request, ...]]
"""Requests of a document, under a name."""


class EvalkitLM(LM):  # type: ignore[misc]  # lm-eval publishes no types
    """Answers lm-eval's three kinds of requests with an adapter.

    Requests are cut, grouped and ordered as evalkit's own suite of lm-eval's tasks does, so that both get the same
    numbers. `max_tokens` is the model's trained length (None: no limit). Nothing is truncated: a longer document raises
    UsageError before anything runs. Raises RequestFailedError if the engine fails. `chat` is used if lm-eval applies
    the chat template.
    """

    def __init__(self, adapter: Adapter, *, max_tokens: int | None, chat: ChatOptions = _AS_LM_EVAL) -> None:
        super().__init__()
        self._adapter, self._options = adapter, chat
        self._texts = TextRequests(adapter.tokenizer, max_tokens=max_tokens)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of a conversation, as lm-eval's `hf` model renders it; UsageError if there is no template."""
        return self._chat.conversation(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The tokenizer's template, for lm-eval's results; None if it is not applied."""
        template = self._adapter.tokenizer.chat_template
        return template.source if chat_template and template is not None else None

    @property
    def tokenizer_name(self) -> str:
        """What decides the text of a conversation, for lm-eval's cache of requests."""
        return f"{self._adapter.tokenizer.fingerprint}-{self._chat.template_sha256}"

    @cached_property
    def _chat(self) -> Chat:
        return Chat(self._adapter.tokenizer, self._options, model=self._adapter.identity.path)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(nats, is_greedy) of each continuation; those of one document are scored together."""
        documents = [list(group) for _, group in groupby(requests, _document)]
        prefixes = self._prefixes(documents)

        def make(name: str, group: Sequence[Instance]) -> tuple[Request, ...]:
            pairs = [(request.args[0], request.args[1]) for request in group]
            return self._texts.continuations(name, pairs, prefixes[_task(group)])

        results = []
        for group, completion in zip(documents, self._ask(documents, make), strict=True):
            for request, score in zip(group, completion.continuations or (), strict=True):
                results.append((score.log_probability, score.is_greedy))
                self.cache_hook.add_partial("loglikelihood", request.args, results[-1])
        return results

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Nats of each whole text, in as few windows as the model's length allows."""
        answers = self._ask([[request] for request in requests], self._rolling)
        results = [math.fsum(completion.log_probabilities or ()) for completion in answers]
        for request, nats in zip(requests, results, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, nats)
        return results

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy answers up to the first stop string; UsageError if a task requests sampling."""
        documents = [[request] for request in requests]
        prefixes = self._prefixes(documents)

        def make(name: str, group: Sequence[Instance]) -> tuple[Request, ...]:
            stated, prefix = _generation(group[0]), prefixes[_task(group)]
            budget, context = int(stated["max_gen_toks"]), group[0].args[0]
            return (self._texts.generation(name, context, budget, prefix, stop=stated["until"]),)

        results = []
        for request, completion in zip(requests, self._ask(documents, make), strict=True):
            results.append(completion.text)
            self.cache_hook.add_partial("generate_until", request.args, results[-1])
        return results

    def _rolling(self, name: str, group: Sequence[Instance]) -> tuple[Request, ...]:
        return self._texts.rolling(name, group[0].args[0])

    def _prefixes(self, documents: Sequence[Sequence[Instance]]) -> dict[str, SharedPrefix | None]:
        """The prefix shared by the contexts of each task."""
        contexts: dict[str, list[str]] = {}
        for group in documents:
            contexts.setdefault(_task(group), []).extend(request.args[0] for request in group)
        return {task: self._texts.shared_prefix(f"lm-eval/{task}", here) for task, here in contexts.items()}

    def _ask(self, documents: Sequence[Sequence[Instance]], make: _Make) -> list[Completion]:
        """The joined completion of each document, in order; nothing runs before all documents are checked."""
        asked = [self._made(str(number), group, make) for number, group in enumerate(documents)]
        stream = chain.from_iterable(asked)
        found = {completion.request_id: completion for completion in self._adapter.generate(stream)}
        answers = []
        for number, (requests, group) in enumerate(zip(asked, documents, strict=True)):
            completion = Completion.joined(str(number), [found.pop(request.id) for request in requests])
            if completion.error is not None:
                raise RequestFailedError(f"document {group[0].doc_id} of {_task(group)}: {completion.error}")
            answers.append(completion)
        return answers

    def _made(self, name: str, group: Sequence[Instance], make: _Make) -> tuple[Request, ...]:
        try:
            return make(name, group)
        except SampleDoesNotFitError as error:
            raise UsageError(
                f"document {group[0].doc_id} of {_task(group)}: {error}; lm-eval cannot leave it out, "
                f"`evalkit run --suite lm-eval:{_task(group)}` does"
            ) from None


def _document(request: Instance) -> tuple[str | None, int | None]:
    return request.task_name, request.doc_id


def _task(group: Sequence[Instance]) -> str:
    return str(group[0].task_name)


def _generation(request: Instance) -> dict[str, Any]:
    stated = dict(normalize_gen_kwargs(request.args[1], MAX_GEN_TOKS))
    if stated["do_sample"]:
        raise UsageError(
            f"task {request.task_name} samples its answers (do_sample), and evalkit is greedy; leave it out"
        )
    return stated
