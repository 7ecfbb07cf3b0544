"""Conventions of chat: how a question and the opening of its answer become a prompt."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.errors import UsageError
from evalkit.running.model_options import ChatMode
from evalkit.running.protocols import ChatTemplate, Tokenizer

_QUESTION, _OPENING, _ANSWER = "What is the pass key?", "The pass key is", "The pass key is 12345."


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as it is sent."""

    text: str
    token_ids: list[int]
    question_start: int
    """Index in `text` of the question's first character."""
    opening: str
    """The end of `text` that opens the answer; empty if the answer has no opening, or it is part of the question."""


class Chat:
    """Renders prompts in one convention for one tokenizer.

    off: raw text, the opening of the answer directly after the question.
    prefill: the question is the user's turn; its answer is the assistant's turn, begun with the opening, whose outer
    spaces are removed. A question without an opening is rendered as in `user`.
    user: question and opening, joined as in raw text, are the user's turn, and the assistant's turn is empty.
    """

    def __init__(self, tokenizer: Tokenizer, mode: ChatMode = ChatMode.OFF, *, model: str = "the model") -> None:
        """Raises UsageError, naming `model`, if its tokenizer has no template or one that loses what it is given."""
        self.tokenizer = tokenizer
        self._mode, self._model = mode, model
        self._template = None if mode is ChatMode.OFF else _template_of(tokenizer, mode, model)
        self._heads: dict[bool, str] = {}
        self.stop: tuple[str, ...] = ()
        """Stop strings of an answer: the end of the assistant's turn, if the template marks one."""
        if self._template is not None:
            self.render(_QUESTION, _OPENING)
            closed = self._template.render(_QUESTION, _ANSWER, closed=True)
            end = closed.rpartition(_ANSWER)[2].strip()
            self.stop = (end,) if end else ()

    @property
    def template_sha256(self) -> str | None:
        """`sha256:<hex>` of the template; None for raw text."""
        return None if self._template is None else self._template.sha256

    def dialect(self, name: str, *, single_turn: bool = False) -> str:
        """The suite's dialect `name` with the convention: `nvidia+chat-prefill`.

        `single_turn` says that worked examples are not turns of their own.
        """
        return name if self._template is None else f"{name}+chat-{self._mode}{'-single-turn' if single_turn else ''}"

    def conversation(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of messages with a role and a content, as lm-eval's `hf` model renders it.

        The start of the assistant's turn follows, or the last message is left open. System messages are left out if
        the template refuses them. Raises UsageError if the template fails. In raw text there is no conversation.
        """
        assert self._template is not None
        try:
            return self._template.conversation(messages, continued=not add_generation_prompt)
        except ValueError as error:
            others = [message for message in messages if message["role"] != "system"]
            if len(others) < len(messages):
                return self.conversation(others, add_generation_prompt)
            raise self._failed(error) from None

    def render(self, question: str, opening: str) -> Prompt:
        """The prompt; raises UsageError if the template fails, or does not contain the question as it is."""
        if self._template is None:
            text = question + opening
            return Prompt(text, self.tokenizer.encode_prompt(text), 0, opening)
        begun = opening.strip() if self._mode is ChatMode.PREFILL else ""
        asked = question if begun else question + opening
        try:
            text, head = self._template.render(asked, begun), self._head(prefilled=bool(begun))
        except ValueError as error:
            raise self._failed(error) from None
        shown = asked.strip()
        start = len(head) + len(text[len(head) :]) - len(text[len(head) :].lstrip())
        end = start + len(shown)
        if not text.startswith(head) or text[start:end] != shown or not text[end:].endswith(begun):
            raise UsageError(f"{self._model}: its chat template changes what it is given; use --chat off")
        # The template writes its own special tokens, BOS among them; in a question or an answer they are text.
        token_ids = self.tokenizer.encode_rendered(text, ((start, end), (len(text) - len(begun), len(text))))
        return Prompt(text, token_ids, start - len(asked) + len(asked.lstrip()), begun)

    def _head(self, *, prefilled: bool) -> str:
        """What the template writes before the question; raises ValueError if it fails."""
        assert self._template is not None
        if prefilled not in self._heads:
            text = self._template.render(_QUESTION, _OPENING if prefilled else "")
            self._heads[prefilled] = text.partition(_QUESTION)[0]
        return self._heads[prefilled]

    def repeat_tokens(self, opening: str) -> int:
        """New tokens that an answer may spend, beyond its own, on repeating the opening in a turn of its own."""
        return len(self.tokenizer.encode(opening)) if self._mode is ChatMode.USER else 0

    def answer(self, text: str, opening: str) -> str:
        """The answer in `text`: in a turn of its own a model may repeat the opening, which is then left out."""
        words, answer = opening.split(), text.lstrip()
        if self._mode is not ChatMode.USER or not words:
            return text
        repeated = re.match(r"\s+".join(map(re.escape, words)), answer, re.IGNORECASE)
        return text if repeated is None else answer[repeated.end() :]

    def _failed(self, error: ValueError) -> UsageError:
        return UsageError(f"{self._model}: its chat template failed: {error}; use --chat off")


def unused_template(tokenizer: Tokenizer, mode: ChatMode) -> str | None:
    """A line that says that prompts do not use the tokenizer's chat template; None if they do, or if it has none."""
    if mode is not ChatMode.OFF or tokenizer.chat_template is None:
        return None
    return "the tokenizer has a chat template, and --chat off does not use it; see --chat prefill and --chat user"


def _template_of(tokenizer: Tokenizer, mode: ChatMode, model: str) -> ChatTemplate:
    if tokenizer.chat_template is None:
        raise UsageError(
            f"--chat {mode}: the tokenizer of {model} has no chat template; use --chat off, or add its "
            "chat_template.jinja"
        )
    return tokenizer.chat_template
