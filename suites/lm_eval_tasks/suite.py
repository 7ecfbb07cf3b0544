"""Tasks of lm-eval as an evalkit suite."""

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import (
    Asked,
    Completion,
    FailureKind,
    Request,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    SuiteSummary,
)
from evalkit.running.chat import Chat
from evalkit.running.excerpts import places_of
from evalkit.running.model_options import RAW, ChatMode, ChatOptions
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import SharedPrefix, TextRequests
from suites.lm_eval_tasks.documents import TaskDocuments
from suites.lm_eval_tasks.harness import LoadedTasks, check_chat, generation, output_type
from suites.lm_eval_tasks.responses import judge, responses_of
from suites.lm_eval_tasks.row_metric import rolling_score, row_metric, score_of
from suites.lm_eval_tasks.settings import LmEvalSettings
from suites.lm_eval_tasks.summary import summarize
from suites.lm_eval_tasks.task_use import task_use


class LmEvalSuite:
    """One document per sample; it takes several requests if its contexts differ or its text needs several windows."""

    name = "lm-eval"

    def __init__(
        self,
        settings: LmEvalSettings,
        tokenizer: Tokenizer,
        max_tokens: int | None,
        loaded: LoadedTasks,
        chat: ChatOptions = RAW,
    ) -> None:
        """Documents longer than `max_tokens` are left out, never truncated; rolling texts are split into windows."""
        check_chat(loaded, chat)
        self._settings, self._loaded = settings, loaded
        self._chat = Chat(tokenizer, chat)
        self._texts = TextRequests(tokenizer, max_tokens=max_tokens)
        template = None if chat.mode is ChatMode.OFF else self._chat.conversation
        self._documents = {
            name: TaskDocuments(task, settings.samples, template, multiturn=settings.multiturn)
            for name, task in loaded.tasks.items()
        }
        # Here, not when first needed: documents have to be built in order, and later another thread builds them.
        self._metrics = {name: row_metric(task, self._documents[name]) for name, task in loaded.tasks.items()}
        self._prefixes: dict[str, SharedPrefix | None] = {}

    @property
    def version(self) -> str:
        """Includes the version of lm-eval, which makes prompts and metrics."""
        return f"2+lm-eval-{version('lm_eval')}"

    @property
    def dialect(self) -> str:
        name = "each task's own shots" if self._settings.shots is None else f"{self._settings.shots}-shot"
        return self._chat.dialect(name, single_turn=not self._settings.multiturn)

    def plan(self) -> SuitePlan:
        keys = tuple(
            SampleKey(name, 0, index, self._settings.seed)
            for name, documents in self._documents.items()
            for index in range(len(documents.docs))
        )
        corpora = tuple(task_use(task) for task in self._loaded.tasks.values())
        scored = any(output_type(task) != "generate_until" for task in self._loaded.tasks.values())
        return SuitePlan(
            keys=keys, unscored=(), corpora=corpora, log_probabilities=scored, prefix_tasks=tuple(self._documents)
        )

    def ask(self, key: SampleKey) -> Asked:
        """Document number `key.index` of the task.

        One request holds all continuations of one context, one window of a text, or one open answer. Raises
        SampleDoesNotFitError if the document is too long.
        """
        task, metric = self._loaded.tasks[key.task], self._metrics[key.task]
        instances = self._documents[key.task].instances(key.index)
        try:
            requests = self._requests(key, instances)
        except SampleDoesNotFitError as error:
            raise SampleDoesNotFitError(f"document {key.index} of {key.task}: {error}") from None
        prompt = "\n\n".join(dict.fromkeys(instance.args[0] for instance in instances))
        targets = _targets(task, instances[0].doc)
        sample = Sample(
            key=key,
            prompt=prompt,
            answer_prefix="",
            targets=targets,
            generation_tokens=max(map(_new_tokens, requests)),
            prompt_tokens=sum(len(request.token_ids) for request in requests),
            metric=next(iter(task.aggregation()), "none") if metric is None else metric.name,
            evidence=places_of(prompt, targets) if output_type(task) == "generate_until" else (),
        )
        return Asked(sample, requests)

    def judge(self, asked: Asked, completion: Completion) -> Score:
        """lm-eval's metric of the document; all responses are kept, so that the record allows any metric."""
        key = asked.sample.key
        task, documents, metric = self._loaded.tasks[key.task], self._documents[key.task], self._metrics[key.task]
        responses = responses_of(output_type(task), completion)
        doc = documents.docs[key.index]
        values = judge(task, doc, documents.judged_instances(key.index, responses))
        if output_type(task) == "loglikelihood_rolling":
            score = rolling_score(-math.fsum(completion.log_probabilities or ()), asked.sample.prompt)
        else:
            score = score_of(metric, values)
        return _with_answer(task, doc, responses, score)

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return summarize(self._loaded, self._documents, self._metrics, records)

    def _requests(self, key: SampleKey, instances: Sequence[Any]) -> tuple[Request, ...]:
        task = self._loaded.tasks[key.task]
        match output_type(task):
            case "loglikelihood_rolling":
                return self._texts.rolling(key.id, instances[0].args[0])
            case "generate_until":
                context, stated = instances[0].args[:2]
                settings = generation(stated)
                budget, until = int(settings["max_gen_toks"]), settings["until"]
                begun = task.get_config("gen_prefix") is not None
                thinking = None if begun else self._chat.thought("")
                prefix = self._prefix(key.task)
                return (self._texts.generation(key.id, context, budget, prefix, stop=until, thinking=thinking),)
            case _:
                pairs = [(instance.args[0], instance.args[1]) for instance in instances]
                return self._texts.continuations(key.id, pairs, self._prefix(key.task))

    def _prefix(self, name: str) -> SharedPrefix | None:
        if name not in self._prefixes:
            contexts = self._documents[name].contexts()
            self._prefixes[name] = self._texts.shared_prefix(f"{self.name}/{name}", contexts)
        return self._prefixes[name]


def _new_tokens(request: Request) -> int:
    return request.generation_tokens + (0 if request.thinking is None else request.thinking.most_tokens)


def _targets(task: Any, doc: Any) -> tuple[str, ...]:
    """The right answers as text; none for a text that is only scored."""
    if output_type(task) == "loglikelihood_rolling":
        return ()
    stated = task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(doc)
    choices = task.doc_to_choice(doc) if task.get_config("doc_to_choice") is not None else None
    listed = stated if isinstance(stated, list) else [stated]
    return tuple(
        str(choices[target]) if choices and isinstance(target, int) and 0 <= target < len(choices) else str(target)
        for target in listed
    )


def _with_answer(task: Any, doc: Any, responses: Sequence[Any], score: Score) -> Score:
    """The score with the model's answer as text, and with a kind of failure if it is below 1."""
    answer: str | None = None
    is_choice = output_type(task) == "multiple_choice"
    if is_choice and task.get_config("doc_to_choice") is not None:
        choices = task.doc_to_choice(doc)
        nats = [response[0] for response in responses[: len(choices)]]
        answer = str(choices[nats.index(max(nats))])
    elif output_type(task) == "generate_until":
        answer = responses[0]
    is_loss = output_type(task) == "loglikelihood_rolling"
    failure: FailureKind | None = None
    if score.value is not None and score.value < 1 and not is_loss:
        failure = "wrong_choice" if is_choice else "other"
    return replace(score, failure=failure, prediction=answer)
