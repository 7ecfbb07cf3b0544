"""Conventions of chat: how a question and the opening of its answer become a prompt, and what is read of a response."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import Request, Thinking, ThinkingUse
from evalkit.running.model_options import RAW, ChatMode, ChatOptions
from evalkit.running.protocols import ChatTemplate, Tokenizer
from evalkit.running.thinking import Place, Tags, find_tags, switches

_QUESTION, _OPENING, _ANSWER = "What is the pass key?", "The pass key is", "The pass key is 12345."
_CHANGED, _FAILED = "its chat template changes what it is given", "its chat template failed"
_SPARE_TOKENS = 4
"""White space that a model may write before it opens a thought."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as it is sent."""

    text: str
    token_ids: list[int]
    question_start: int
    """Index in `text` of the question's first character."""
    opening: str
    """The end of `text` that opens the answer; empty if the answer has no opening, or it is elsewhere: part of the
    question, or written after a thought."""
    thinking: Thinking | None = None
    """The thought that may come before the answer."""


class Chat:
    """Renders prompts in one convention for one tokenizer.

    off: raw text, the opening of the answer directly after the question.
    prefill: the question is the user's turn; its answer is the assistant's turn, begun with the opening, whose outer
    spaces are removed. A question without an opening is rendered as in `user`.
    user: question and opening, joined as in raw text, are the user's turn, and the assistant's turn is empty.

    A model that thinks does so before the opening of `prefill`, which is written once the thought is closed. With
    thinking off, a thought that the template opens is closed again, and one that the model opens is closed at once.
    """

    def __init__(self, tokenizer: Tokenizer, options: ChatOptions = RAW, *, model: str = "the model") -> None:
        """Raises UsageError, naming `model`, if its tokenizer has no template or one that cannot be used."""
        options.check()
        self.tokenizer = tokenizer
        self._options, self._mode, self._model = options, options.mode, model
        self._template = None if self._mode is ChatMode.OFF else _template_of(tokenizer, self._mode, model)
        self._heads: dict[bool, str] = {}
        self.stop: tuple[str, ...] = ()
        """Stop strings of an answer: the end of the assistant's turn, if the template marks one."""
        self._tags: Tags | None = None
        self._switches: dict[str, Any] = {}
        self._place: Place = "outside"
        if self._template is not None:
            try:
                self._prepare(self._template)
            except (SampleDoesNotFitError, ValueError) as error:
                raise self._refused(error) from None

    def _prepare(self, template: ChatTemplate) -> None:
        """Find out how the template marks turns and thoughts."""
        self._switches = switches(template, self._options.thinking)
        template = self._template = template.with_variables(self._switches)
        text, _, end = self._rendered(_QUESTION)
        self._tags = find_tags(template, self._options.tags, text[end:])
        if self._tags is not None:
            self._place = self._tags.place(text[end:])
        self._check_thinking()
        self.render(_QUESTION, _OPENING)
        closed = template.render(_QUESTION, _ANSWER, closed=True)
        marked = self._first_special(closed.rpartition(_ANSWER)[2])
        self.stop = (marked,) if marked else ()

    def _check_thinking(self) -> None:
        budget = self._options.thinking
        if budget and self._tags is None:
            raise UsageError(
                f"--thinking {budget}: the chat template of {self._model} has no tags of thought, or several kinds; "
                "name them with --think-tags OPEN CLOSE, or use --thinking off"
            )
        if budget and self._place == "closed":
            raise UsageError(
                f"--thinking {budget}: the chat template of {self._model} closes the thought before the model writes; "
                "use --thinking off"
            )

    @property
    def template_sha256(self) -> str | None:
        """`sha256:<hex>` of the template; None for raw text."""
        return None if self._template is None else self._template.sha256

    @property
    def thinking(self) -> ThinkingUse | None:
        """How thinking is set; None for raw text, and for a template without switch and tags of thought."""
        tags = self._tags
        if tags is None:
            return ThinkingUse(0, self._switches) if self._switches else None
        return ThinkingUse(self._options.thinking, self._switches, tags.open, tags.close, tags.closing)

    def dialect(self, name: str, *, single_turn: bool = False) -> str:
        """The suite's dialect `name` with the convention: `nvidia+chat-prefill`, `nvidia+chat-user+think-1024`.

        `single_turn` says that worked examples are not turns of their own.
        """
        if self._template is None:
            return name
        thinking = f"+think-{self._options.thinking}" if self._options.thinking else ""
        return f"{name}+chat-{self._mode}{'-single-turn' if single_turn else ''}{thinking}"

    def conversation(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of messages with a role and a content, as lm-eval's `hf` model renders it.

        The start of the assistant's turn follows, or the last message is left open. If thinking is off, a thought that
        the template opens is closed again. System messages are left out if the template refuses them. Raises UsageError
        if the template fails. In raw text there is no conversation.
        """
        assert self._template is not None
        try:
            text = self._template.conversation(messages, continued=not add_generation_prompt)
        except ValueError as error:
            others = [message for message in messages if message["role"] != "system"]
            if len(others) < len(messages):
                return self.conversation(others, add_generation_prompt)
            raise self._refused(error) from None
        is_open = add_generation_prompt and self._place == "open" and not self._options.thinking
        return text + self._tags.closing if is_open and self._tags is not None else text

    def render(self, question: str, opening: str) -> Prompt:
        """The prompt; raises SampleDoesNotFitError if the template fails on it, or changes the question."""
        if self._template is None:
            text = question + opening
            return Prompt(text, self.tokenizer.encode_prompt(text), 0, opening)
        begun = opening.strip() if self._mode is ChatMode.PREFILL else ""
        asked, tags = question if begun else question + opening, self._tags
        if tags is None or (begun and not self._options.thinking and self._place == "outside"):
            text, start, end = self._rendered(asked, begun)
            if not text[end:].endswith(begun):
                raise SampleDoesNotFitError(_CHANGED)
        else:
            text, start, end = self._rendered(asked)
            if self._options.thinking:
                text += tags.opening if begun and self._place == "outside" else ""
                begun = ""
            else:
                text += (tags.closing if self._place == "open" else "") + begun
        # The template writes its own special tokens, BOS among them; in a question or an answer they are text.
        token_ids = self.tokenizer.encode_rendered(text, ((start, end), (len(text) - len(begun), len(text))))
        return Prompt(text, token_ids, start - len(asked) + len(asked.lstrip()), begun, self.thought(opening))

    def _head(self, *, prefilled: bool) -> str:
        """What the template writes before the question; raises ValueError if it fails."""
        assert self._template is not None
        if prefilled not in self._heads:
            text = self._template.render(_QUESTION, _OPENING if prefilled else "")
            self._heads[prefilled] = text.partition(_QUESTION)[0]
        return self._heads[prefilled]

    def budget(self, answer_tokens: int, opening: str) -> int:
        """Maximum number of new tokens for an answer of `answer_tokens`.

        It includes the thought before it, and what the answer may spend on repeating the opening in a turn of its own.
        """
        repeated = len(self.tokenizer.encode(opening)) if self._mode is ChatMode.USER else 0
        thinking = self.thought(opening)
        return answer_tokens + repeated + (0 if thinking is None else thinking.most_tokens)

    def request(self, name: str, prompt: Prompt, budget: int) -> Request:
        """A request for at most `budget` new tokens, as `budget` counts them."""
        before = 0 if prompt.thinking is None else prompt.thinking.most_tokens
        return Request(name, tuple(prompt.token_ids), budget - before, stop=self.stop, thinking=prompt.thinking)

    def answer(self, text: str, opening: str) -> str:
        """The answer in `text`: in a turn of its own a model may repeat the opening, which is then left out."""
        words, answer = opening.split(), text.lstrip()
        if self._mode is not ChatMode.USER or not words:
            return text
        repeated = re.match(r"\s+".join(map(re.escape, words)), answer, re.IGNORECASE)
        return text if repeated is None else answer[repeated.end() :]

    def thought(self, opening: str) -> Thinking | None:
        """The thought before an answer that begins with `opening`; None if the prompt leaves no room for one."""
        tags, budget = self._tags, self._options.thinking
        begun = opening.strip() if self._mode is ChatMode.PREFILL else ""
        if tags is None or (not budget and (begun or self._place != "outside")):
            return None
        opened = self._place == "open" or bool(begun)
        return Thinking(
            budget_tokens=budget,
            open=tags.open,
            close=tags.close,
            close_ids=self._inserted(tags.closing, begun),
            answer_ids=self._inserted(tags.after, begun) if begun else (),
            opened=opened,
            open_tokens=0 if opened else len(self.tokenizer.encode(tags.open)) + _SPARE_TOKENS,
            stop=tuple(text for text in self.stop if text not in tags.closing),
        )

    def _inserted(self, tag: str, begun: str) -> tuple[int, ...]:
        """Tokens of a tag and of the opening of an answer, which spells no special tokens."""
        text = tag + begun
        return tuple(self.tokenizer.encode_rendered(text, ((len(tag), len(text)),)))

    def _rendered(self, asked: str, begun: str = "") -> tuple[str, int, int]:
        """The template's text, and where in it the question without outer spaces begins and ends."""
        assert self._template is not None
        try:
            text, head = self._template.render(asked, begun), self._head(prefilled=bool(begun))
        except ValueError as error:
            raise SampleDoesNotFitError(f"{_FAILED}: {error}") from None
        shown = asked.strip()
        start = len(head) + len(text[len(head) :]) - len(text[len(head) :].lstrip())
        end = start + len(shown)
        if not text.startswith(head) or text[start:end] != shown:
            raise SampleDoesNotFitError(_CHANGED)
        return text, start, end

    def _first_special(self, text: str) -> str:
        """`text` up to its first special token, without outer spaces: what follows may begin another turn."""
        for token_id in self.tokenizer.encode(text):
            spelled = self.tokenizer.spell([token_id])
            if spelled in text and self.tokenizer.decode([token_id]) == "" != spelled:
                return text[: text.index(spelled) + len(spelled)].strip()
        return text.strip()

    def _refused(self, error: SampleDoesNotFitError | ValueError) -> UsageError:
        reason = str(error) if isinstance(error, SampleDoesNotFitError) else f"{_FAILED}: {error}"
        return UsageError(f"{self._model}: {reason}; use --chat off")


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
