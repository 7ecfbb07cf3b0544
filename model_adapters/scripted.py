"""A model with scripted replies and a tokenizer without files, so that whole pipelines are tested in milliseconds.

tokenizer = ScriptedTokenizer()
adapter = ScriptedAdapter({"niah_single_1/512/0/42": "1234567"}, tokenizer=tokenizer)
adapter = ScriptedAdapter(lambda request: "1234567", prefill_seconds=0.5)
adapter = ScriptedAdapter(lambda request: ScriptedReply(error="out of memory"))
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.errors import RequestFailedError
from evalkit.records import (
    Completion,
    ContinuationScore,
    EngineDescription,
    FinishReason,
    MemoryUse,
    ModelIdentity,
    PositionScheme,
    Request,
    Thinking,
    ThoughtEnd,
)
from evalkit.running.protocols import Tokenizer
from evalkit.running.text_requests import cut_at
from evalkit.running.thinking import kept_tokens, read_response
from model_adapters.chat_template import JinjaTemplate

# At most six word characters, or one mark, each with the space before it; other characters are separate. A piece then
# has at most seven bytes, and its id fits a signed 64-bit integer.
PIECE = re.compile(r" ?[A-Za-z0-9_]{1,6}| ?[!-/:-@\[-`{-~]|.", re.DOTALL)
BOS = 1


class ScriptedTokenizer:
    """A tokenizer whose ids spell their own text: no vocabulary, no state, the same in every process.

    English takes about 1.3 tokens a word, spaces included. `decode` undoes `encode` for every text. Like a real
    one it may join across a seam: `encode(a + b)` can be shorter than `encode(a) + encode(b)`.
    """

    def __init__(self, *, adds_bos: bool = False, chat_template: str | None = None) -> None:
        """`chat_template` is a Jinja template; it names no special tokens."""
        self._prefix = [BOS] if adds_bos else []
        self._chat_template = None if chat_template is None else JinjaTemplate(chat_template, {})

    @property
    def fingerprint(self) -> str:
        """Not a digest, because this class is the definition."""
        return f"sha256:scripted-{len(self._prefix)}"

    @property
    def chat_template(self) -> JinjaTemplate | None:
        return self._chat_template

    def encode(self, text: str) -> list[int]:
        return [_spell(match[0]) for match in PIECE.finditer(text)]

    def encode_rendered(self, text: str, plain: Sequence[tuple[int, int]]) -> list[int]:  # noqa: ARG002
        """The same: there are no special tokens to spell."""
        return self.encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        matches = list(PIECE.finditer(text))
        return [_spell(match[0]) for match in matches], [match.span() for match in matches]

    def encode_prompt(self, text: str) -> list[int]:
        return self.add_special_tokens(self.encode(text))

    def add_special_tokens(self, token_ids: list[int]) -> list[int]:
        return token_ids if self._prefix[:1] == token_ids[:1] else self._prefix + token_ids

    @property
    def text_start(self) -> int | None:
        return BOS

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text that the ids spell; raises ValueError for an id that spells none."""
        return "".join(_read(token_id) for token_id in token_ids if token_id != BOS)

    def spell(self, token_ids: Sequence[int]) -> str:
        """The same: BOS spells nothing."""
        return self.decode(token_ids)


def _spell(piece: str) -> int:
    # The leading 1 keeps the length: without it "\0a" and "a" would be one id.
    return int.from_bytes(b"\x01" + piece.encode("utf-8", "surrogatepass"), "big")


def _read(token_id: int) -> str:
    spelled = token_id.to_bytes(8, "big").lstrip(b"\0")
    if not spelled.startswith(b"\x01") or len(spelled) < 2:
        raise ValueError(f"{token_id} is not an id of ScriptedTokenizer")
    return spelled[1:].decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One reply; missing fields come from the adapter."""

    text: str = ""
    finish_reason: FinishReason | None = None
    """None: "stop", or "length" if the text exceeds the budget and is cut."""
    error: str | None = None
    """Error message in one line; the completion then has no text and ends with "error"."""
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    log_probabilities: tuple[float, ...] | None = None
    """For requests with `scored_from`: one for each token from there on."""
    continuations: tuple[ContinuationScore, ...] | None = None
    """For requests with continuations: one for each."""
    thought: str | None = None
    """For requests with `thinking`: what is thought before `text`; None for no thought."""
    closes: bool = True
    """Whether it closes its thought; otherwise it ends its turn there, unless the thought is closed by force."""


Reply = str | ScriptedReply
Replies = Mapping[str, Reply] | Callable[[Request], Reply]

SCRIPTED_IDENTITY = ModelIdentity(
    path="scripted",
    family="scripted",
    fingerprint="sha256:" + "0" * 64,
    tokenizer="sha256:scripted-0",
    dtype="float32",
    positions=PositionScheme(kind="none", description="none"),
    trained_length=None,
    parameters=0,
)


class ScriptedAdapter:
    """An Adapter that answers from a script.

    `replies` maps request ids to replies, or computes one from a request; if it raises RequestFailedError, the request
    fails as a real one would, and any other exception (such as the KeyError of an id without a reply) is
    a bug of the test and is raised. With `batch_sequences` above 1, that many requests are pulled before any is
    answered, and the last is answered first, so that nothing can depend on the order.
    """

    def __init__(
        self,
        replies: Replies,
        *,
        tokenizer: Tokenizer | None = None,
        identity: ModelIdentity = SCRIPTED_IDENTITY,
        prefill_seconds: float = 0.0,
        decode_seconds: float = 0.0,
        batch_sequences: int = 1,
    ) -> None:
        self.requests: list[Request] = []
        """Every request that was pulled, in that order."""
        self._replies = replies
        self._tokenizer: Tokenizer = ScriptedTokenizer() if tokenizer is None else tokenizer
        self._identity = identity
        self._prefill_seconds, self._decode_seconds = prefill_seconds, decode_seconds
        self._batch_sequences = batch_sequences

    @property
    def identity(self) -> ModelIdentity:
        return self._identity

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Answer from the script; pulls `batch_sequences` requests at a time."""
        stream = iter(requests)
        while batch := list(itertools.islice(stream, self._batch_sequences)):
            self.requests.extend(batch)
            for request in reversed(batch):
                yield self._answer(request)

    def memory(self) -> MemoryUse:
        return MemoryUse(peak_bytes=0, weights_bytes=0, kv_bytes=0, method="scripted")

    def describe(self) -> EngineDescription:
        return EngineDescription(
            engine="scripted", device="cpu", attention="scripted", batch_sequences=self._batch_sequences
        )

    def _answer(self, request: Request) -> Completion:
        reply = self._reply(request)
        thought = None if request.thinking is None else self._thought(reply, request.thinking)
        text = "" if thought is not None and thought.end == "unclosed" else cut_at(reply.text, request.stop)
        token_ids = self._tokenizer.encode(text)
        cut = len(token_ids) > request.generation_tokens
        if cut:
            token_ids = token_ids[: request.generation_tokens]
        failed = reply.error is not None
        known = None if failed else thought
        _check_scores(request, reply)
        return Completion(
            request_id=request.id,
            text="" if failed else self._tokenizer.decode(token_ids) if cut else text,
            prompt_tokens=len(request.token_ids),
            completion_tokens=0 if failed else len(token_ids) + (0 if known is None else known.tokens),
            finish_reason="error" if failed else reply.finish_reason or ("length" if cut else "stop"),
            prefill_seconds=_first(reply.prefill_seconds, self._prefill_seconds),
            decode_seconds=_first(reply.decode_seconds, self._decode_seconds),
            error=reply.error,
            log_probabilities=reply.log_probabilities,
            continuations=reply.continuations,
            thought=None if known is None else known.text,
            thought_tokens=None if known is None else known.tokens,
            thought_end=None if known is None else known.end,
        )

    def _thought(self, reply: ScriptedReply, thinking: Thinking) -> "_Thought":
        """The thought of a reply within its budget, with its tokens and those that are inserted."""
        if reply.thought is None and not thinking.opened:
            return _Thought("", 0, "absent")
        written = ("" if thinking.opened else thinking.open) + (reply.thought or "")
        token_ids = self._tokenizer.encode(written + (thinking.close if reply.closes else ""))
        if len(token_ids) > thinking.budget_tokens:
            kept = token_ids[: kept_tokens(token_ids, thinking, self._tokenizer)]
            end: ThoughtEnd = "forced"
            tokens = len(kept) + len(thinking.close_ids)
        else:
            kept, end = token_ids, "closed" if reply.closes else "unclosed"
            tokens = len(kept) + (len(thinking.answer_ids) if reply.closes else 0)
        return _Thought(read_response(self._tokenizer.decode(kept), thinking).thought, tokens, end)

    def _reply(self, request: Request) -> ScriptedReply:
        try:
            reply = self._replies[request.id] if isinstance(self._replies, Mapping) else self._replies(request)
        except RequestFailedError as error:
            return ScriptedReply(error=str(error))
        return ScriptedReply(reply) if isinstance(reply, str) else reply


@dataclass(frozen=True, slots=True)
class _Thought:
    """A thought as a completion states it."""

    text: str
    tokens: int
    end: ThoughtEnd


def _check_scores(request: Request, reply: ScriptedReply) -> None:
    asked = 0 if request.scored_from is None else len(request.token_ids) - request.scored_from
    if reply.error is None and len(reply.log_probabilities or ()) != asked:
        raise ValueError(f"{request.id} requests {asked} log-probabilities, not {len(reply.log_probabilities or ())}")
    continued, given = len(request.continuations), len(reply.continuations or ())
    if reply.error is None and given != continued:
        raise ValueError(f"{request.id} requests {continued} continuations, not {given}")


def _first(value: float | None, default: float) -> float:
    return default if value is None else value
