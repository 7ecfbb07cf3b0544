"""An adapter for a model behind an OpenAI-compatible server."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from evalkit.errors import RequestFailedError
from evalkit.records import (
    Completion,
    ContinuationScore,
    EngineDescription,
    MemoryUse,
    ModelIdentity,
    Request,
    Thinking,
)
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import cut_at
from model_adapters.messages import first_line
from model_adapters.served.answers import Answer, read_answer, read_answer_tokens, read_log_probabilities
from model_adapters.served.client import ServerClient
from model_adapters.served.thoughts import answer_after_thought

GREEDY: Mapping[str, float] = MappingProxyType({"temperature": 0.0, "frequency_penalty": 0.0})
"""Sampling parameters of greedy decoding. Servers apply the settings of a checkpoint's generation_config.json that a
request does not set: `transformers serve` takes the frequency penalty for its repetition penalty."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """The requests that a server supports, found out by trying them."""

    token_ids: bool
    """Prompts as token ids; otherwise the server gets text and tokenizes it."""
    log_probabilities: bool
    """Log-probabilities of the tokens of a given text."""
    max_tokens: int | None = None
    """Maximum length of prompt plus answer; None if the server does not report one."""
    engine: str = "server"
    """Name and version, such as `server (vllm 0.26.0)`."""
    answer_tokens: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a request for the ids and log-probabilities of the answer's tokens, as far as the server gives them."""
    sampling: Mapping[str, float] = field(default_factory=lambda: {**GREEDY})
    """Sampling parameters of every request."""


class ServedAdapter:
    """Answers requests greedily with a server, several at a time, each separately and in any order."""

    def __init__(
        self,
        url: str,
        name: str,
        tokenizer: Tokenizer,
        identity: ModelIdentity,
        abilities: Abilities,
        *,
        concurrency: int,
    ) -> None:
        self._url, self._name = url, name
        self._tokenizer, self._identity = tokenizer, identity
        self._abilities, self._concurrency = abilities, concurrency

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Answer requests with the server; at most `concurrency` requests are pulled ahead of their answers."""
        stream, running = iter(requests), set[Future[Completion]]()
        with (
            ServerClient(self._url, connections=self._concurrency) as client,
            ThreadPoolExecutor(self._concurrency, thread_name_prefix="server") as pool,
        ):
            answered = partial(self._completion, client)
            try:
                while True:
                    room = self._concurrency - len(running)
                    running |= {pool.submit(answered, request) for request in itertools.islice(stream, room)}
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            except BaseException:
                # If the consumer stops reading, do not wait for retries.
                client.stop()
                raise
            finally:
                for each in running:
                    each.cancel()

    def memory(self) -> MemoryUse:
        return MemoryUse()

    def describe(self) -> EngineDescription:
        return EngineDescription(engine=self._abilities.engine, batch_sequences=self._concurrency)

    def _completion(self, client: ServerClient, request: Request) -> Completion:
        try:
            return self._answered(client, request)
        except RequestFailedError as error:
            return self._failed(request, str(error))
        except Exception as error:  # noqa: BLE001 - an exception in one answer must not end the run
            return self._failed(request, f"{type(error).__name__}: {first_line(error)}")

    def _answered(self, client: ServerClient, request: Request) -> Completion:
        if request.scored_from is not None:
            values, greedy = self._scores(client, request.token_ids)
            first = request.scored_from - 1
            return self._scored(request, log_probabilities=tuple(values[first:]), is_greedy=all(greedy[first:]))
        if request.continuations:
            return self._scored(request, continuations=tuple(self._continued(client, request)))
        if request.thinking is not None:
            return self._thoughtful(client, request, request.thinking)
        options = self._abilities.answer_tokens
        answer = self._generated(client, request.token_ids, request.generation_tokens, request.stop, **options)
        token_ids, log_probabilities = read_answer_tokens(answer)
        # Some servers leave the stop string in the text, and some do not support stop strings.
        text, written = cut_at(answer.text, request.stop), answer.completion_tokens
        return Completion(
            request_id=request.id,
            text=text,
            prompt_tokens=len(request.token_ids),
            completion_tokens=len(self._tokenizer.encode(answer.text)) if written is None else written,
            finish_reason=answer.finish_reason if text == answer.text else "stop",
            prefill_seconds=None,
            decode_seconds=None,
            token_ids=token_ids,
            token_log_probabilities=log_probabilities,
        )

    def _generated(
        self, client: ServerClient, token_ids: tuple[int, ...], max_tokens: int, stop: tuple[str, ...], **options: Any
    ) -> Answer:
        answer = self._ask(
            client, token_ids, max_tokens=max_tokens, **({"stop": list(stop)} if stop else {}), **options
        )
        written = answer.completion_tokens
        if answer.finish_reason == "length" and written is not None and written < max_tokens:
            raise RequestFailedError(
                f"the server cut the answer after {written:,} of {max_tokens:,} tokens; start it with a longer sequence"
            )
        return answer

    def _thoughtful(self, client: ServerClient, request: Request, thinking: Thinking) -> Completion:
        """The answer to a request with a thought, for which the server has to show tags that are special tokens."""
        tags = self._tokenizer.decode(self._tokenizer.encode(thinking.open + thinking.close))
        hidden = {"skip_special_tokens": False} if tags != thinking.open + thinking.close else {}

        def ask(token_ids: tuple[int, ...], max_tokens: int, stop: tuple[str, ...]) -> Answer:
            if token_ids != request.token_ids and not self._abilities.token_ids:
                token_ids = tuple(self._tokenizer.encode_prompt(self._tokenizer.spell(token_ids)))
            return self._generated(client, token_ids, max_tokens, stop, **hidden, **self._abilities.answer_tokens)

        return answer_after_thought(request, thinking, self._tokenizer, ask)

    def _continued(self, client: ServerClient, request: Request) -> Iterator[ContinuationScore]:
        first = len(request.token_ids) - 1
        for continuation in request.continuations:
            values, greedy = self._scores(client, (*request.token_ids, *continuation))
            yield ContinuationScore(sum(values[first:]), all(greedy[first:]))

    def _scores(self, client: ServerClient, token_ids: tuple[int, ...]) -> tuple[list[float], list[bool]]:
        return read_log_probabilities(self._ask(client, token_ids, max_tokens=1, echo=True, logprobs=1), len(token_ids))

    def _ask(self, client: ServerClient, token_ids: tuple[int, ...], **options: Any) -> Answer:
        prompt = list(token_ids) if self._abilities.token_ids else text_of(self._tokenizer, token_ids)
        body = {"model": self._name, "prompt": prompt, "stream": False, **self._abilities.sampling, **options}
        return read_answer(client.complete(body), model=self._name, prompt_tokens=len(token_ids))

    def _scored(self, request: Request, **scores: Any) -> Completion:
        return Completion(
            request_id=request.id,
            text="",
            prompt_tokens=len(request.token_ids),
            completion_tokens=0,
            finish_reason="stop",
            prefill_seconds=None,
            decode_seconds=None,
            **scores,
        )

    def _failed(self, request: Request, error: str) -> Completion:
        return Completion(
            request_id=request.id,
            text="",
            prompt_tokens=len(request.token_ids),
            completion_tokens=0,
            finish_reason="error",
            prefill_seconds=None,
            decode_seconds=None,
            error=error,
        )


def text_of(tokenizer: Tokenizer, token_ids: tuple[int, ...]) -> str:
    """Text that the server, with this tokenizer, encodes to exactly these tokens; raises RequestFailedError if none."""
    # Servers add the special tokens before a text themselves.
    added = tuple(tokenizer.add_special_tokens([]))
    rest = token_ids[len(added) :] if token_ids[: len(added)] == added else token_ids
    for text in (tokenizer.decode(token_ids), tokenizer.spell(rest)):
        if tuple(tokenizer.encode_prompt(text)) == token_ids:
            return text
    raise RequestFailedError("the server takes only text, and no text is tokenized as this prompt is")
