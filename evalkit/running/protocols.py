"""Protocols of a tokenizer, a model adapter and a suite."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from evalkit.records import (
    Asked,
    Completion,
    EngineDescription,
    MemoryUse,
    ModelIdentity,
    Request,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    SuiteSummary,
)

AskedT = TypeVar("AskedT", bound=Asked)
"""`Asked`, or a subclass with what the suite's judge also needs."""


class ChatTemplate(Protocol):
    """A tokenizer's chat template."""

    @property
    def sha256(self) -> str:
        """`sha256:<hex>` of the template."""
        ...

    @property
    def source(self) -> str:
        """The template itself."""
        ...

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables that the template reads and does not only set itself."""
        ...

    def with_variables(self, values: Mapping[str, Any]) -> "ChatTemplate":
        """The same template, with some of its variables set."""
        ...

    def render(self, question: str, answer: str = "", *, closed: bool = False) -> str:
        """The text of a conversation up to the assistant's answer, which begins with `answer`.

        With `closed`, the answer is complete and its turn has ended; `switches` are variables of the template. Raises
        ValueError if the template fails.
        """
        ...

    def conversation(self, messages: Sequence[Mapping[str, str]], *, continued: bool = False) -> str:
        """The text of messages with a role and a content, followed by the start of the assistant's turn.

        With `continued`, the last message is not ended instead. Raises ValueError if the template fails.
        """
        ...


class Tokenizer(Protocol):
    """A model's tokenizer, as suites use it."""

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of the tokenizer's definition."""
        ...

    @property
    def chat_template(self) -> ChatTemplate | None:
        """None if the tokenizer has none."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of `text` without special tokens."""
        ...

    def encode_rendered(self, text: str, plain: Sequence[tuple[int, int]]) -> list[int]:
        """Token ids of a rendered prompt without added special tokens: those that it spells are its template's.

        The ascending (start, end) `plain` are text, even if it spells special tokens. Raises SampleDoesNotFitError if
        the vocabulary cannot write that text without them.
        """
        ...

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids without special tokens, and each token's (start, end) in characters of `text`."""
        ...

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of `text` with the special tokens (such as BOS) that the model expects before a prompt.

        They are not added if `text` contains them.
        """
        ...

    def add_special_tokens(self, token_ids: list[int]) -> list[int]:
        """The result of `encode_prompt` for a text with the tokens `token_ids`; the special tokens alone for none."""
        ...

    @property
    def text_start(self) -> int | None:
        """The token put before a text that has no context (BOS, else EOS); None if there is neither."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of `token_ids`, special tokens left out."""
        ...

    def spell(self, token_ids: Sequence[int]) -> str:
        """Text of `token_ids` with special tokens as the vocabulary spells them."""
        ...


class Adapter(Protocol):
    """A model that answers requests."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Answer requests greedily, lazily pulling from `requests`; each is answered exactly once, in any order.

        A request that fails yields a Completion with `finish_reason == "error"`; it never ends the stream. Of a request
        with `thinking`, the text is the answer alone, and the thought before it is bounded and stated apart.
        """
        ...

    def memory(self) -> MemoryUse:
        """Peak memory since the adapter was made."""
        ...

    def describe(self) -> EngineDescription:
        """How the model is run, as far as it is known yet."""
        ...


class Suite(Protocol[AskedT]):
    """A benchmark: a set of keyed questions, and how their answers are judged.

    `plan` is called first. Then `ask` runs in a thread of its own, one call at a time, ahead of the model, and `judge`
    and `summarize` run in the thread of the run at the same time. What a judge needs of what was built travels in
    `Asked`; neither side writes what the other reads.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes with every change to the prompt of a key or to the score of an answer."""
        ...

    @property
    def dialect(self) -> str: ...

    def plan(self) -> SuitePlan:
        """All keys in run order, and the cells that cannot be scored; builds no prompt."""
        ...

    def ask(self, key: SampleKey) -> AskedT:
        """The sample of `key` with its requests: a function of the key alone, tokenized once.

        Raises SampleDoesNotFitError.
        """
        ...

    def judge(self, asked: AskedT, completion: Completion) -> Score:
        """The score of an answer; `completion` joins those of all requests and is never one that failed."""
        ...

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary: ...
