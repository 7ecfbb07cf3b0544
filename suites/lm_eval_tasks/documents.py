"""Documents of a task and their instances, in lm-eval's order."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

ChatTemplate = Callable[..., str]
"""(messages, add_generation_prompt=True) -> text, as lm-eval calls it."""


class TaskDocuments:
    """Documents of one task, from the start.

    Instances are made for one document after the other, even if a later one is requested: examples are drawn from one
    stream of random numbers, so those of a document depend on the number of documents before it.
    """

    def __init__(
        self, task: Any, limit: int | None, template: ChatTemplate | None = None, *, multiturn: bool = True
    ) -> None:
        """`template` renders lm-eval's messages; None for raw text. `multiturn` is its `fewshot_as_multiturn`."""
        self._task, self._limit = task, limit
        self._template, self._multiturn = template, multiturn
        self._made: list[tuple[Any, ...]] = []

    @cached_property
    def docs(self) -> tuple[Any, ...]:
        return tuple(doc for _, doc in self._task.doc_iterator(limit=self._limit))

    def instances(self, index: int) -> tuple[Any, ...]:
        """lm-eval's `Instance`s of document `index`, whose requests are judged together."""
        while len(self._made) <= index:
            self._made.append(self._make(len(self._made)))
        return self._made[index]

    def contexts(self) -> Iterator[str]:
        """The contexts of all instances in order, made lazily."""
        for index in range(len(self.docs)):
            yield from (instance.args[0] for instance in self.instances(index))

    def judged_instances(self, index: int, responses: Sequence[Any]) -> list[Any]:
        """Instances of a document with responses and without requests, for filters."""
        from lm_eval.api.instance import Instance

        return [
            Instance(
                request_type=self._task.OUTPUT_TYPE,
                doc=self.docs[index],
                arguments=(),
                idx=number,
                metadata=(self._task.task_name, index, self._repeats),
                resps=[response] * self._repeats,
            )
            for number, response in enumerate(responses)
        ]

    @property
    def _repeats(self) -> int:
        """Greedy answers do not vary, so one counts for all repeats."""
        return self._task.get_config("repeats") or 1

    def _make(self, index: int) -> tuple[Any, ...]:
        task, doc = self._task, self.docs[index]
        context = task.fewshot_context(
            doc,
            num_fewshot=task.get_config("num_fewshot") or 0,
            system_instruction=None,
            apply_chat_template=self._template is not None,
            fewshot_as_multiturn=self._template is not None and self._multiturn,
            chat_template=self._template,
            gen_prefix=task.doc_to_prefix(doc),
        )
        made = task.construct_requests(
            doc=doc,
            ctx=context,
            metadata=(task.task_name, index, self._repeats),
            apply_chat_template=self._template is not None,
            chat_template=self._template,
        )
        return tuple(made) if isinstance(made, list) else (made,)
