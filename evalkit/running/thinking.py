"""Thinking models: what a chat template says about thoughts, and how a response is read.

A response is `thought, closing tag, answer`. The opening tag is written by the template or by the model.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalkit.errors import UsageError
from evalkit.records import Thinking, ThoughtEnd
from evalkit.running.protocols import ChatTemplate, Tokenizer
from evalkit.running.text_requests import cut_at

Place = Literal["open", "closed", "outside"]
"""Where a prompt ends: inside a thought, after one, or before the model has decided on one."""

_THOUGHT, _ANSWER = "Let me think about it.", "It is 12345."
_PAIRS = {
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel>thought": "<channel|>",
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}
"""Tags whose closing one is not the opening one with a slash."""
_NAMES = r"[\w:.-]*(?:think|thought|reason)[\w:.-]*"
_TAGS = re.compile(rf"<(/?)({_NAMES})>|\[(/?)([A-Z_]*THINK[A-Z_]*)\]|◁(/?)({_NAMES})▷")
_SWITCHES = ("enable_thinking", "thinking", "enable_reasoning", "reasoning", "is_thinking", "think")
"""Variables of templates that are true or false."""
_LEVELS: Mapping[str, tuple[str, ...]] = {
    "reasoning_effort": ("none", "minimal", "low"),
    "thinking_mode": ("off", "disabled", "no_think"),
}
"""Variables of templates that name a level, with values that switch thinking off, the most thorough one first."""
_BUDGETS = ("thinking_budget", "reasoning_budget")
"""Variables of templates that hold a number of tokens."""


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a thought, and the text between them and what they separate."""

    open: str
    close: str
    before: str = ""
    """After the opening tag."""
    after: str = ""
    """Between the closing tag and the answer."""
    end: str = ""
    """Before the closing tag."""

    @property
    def opening(self) -> str:
        """What begins a thought."""
        return self.open + self.before

    @property
    def closing(self) -> str:
        """What ends a thought, before the answer."""
        return self.end + self.close + self.after

    def place(self, text: str) -> Place:
        """Where a prompt ends whose text after the question is `text`."""
        opened, closed = text.rfind(self.open), text.rfind(self.close)
        return "outside" if opened == closed == -1 else "open" if opened > closed else "closed"


def find_tags(template: ChatTemplate, given: tuple[str, str] | None, tail: str) -> Tags | None:
    """The tags of thought in a template, or those that the user gave, with the white space that belongs around them.

    Of several kinds, the one that the end of a prompt, `tail`, has. None if there is none, or several otherwise; raises
    UsageError for tags that cannot be.
    """
    if given is None:
        source = template.source
        found = {open: close for open, close in _PAIRS.items() if open in source}
        found |= dict(map(_pair, _TAGS.finditer(source)))
        begun = {open: close for open, close in found.items() if open in tail or close in tail}
        (given,) = (begun or found).items() if len(begun or found) == 1 else (None,)
        if given is None:
            return None
    open, close = (tag.strip() for tag in given)
    if not open or not close or open == close:
        raise UsageError(f"--think-tags {open!r} {close!r}: give two different tags, such as '<think>' '</think>'")
    return _spaced(template, open, close)


def _pair(match: re.Match[str]) -> tuple[str, str]:
    """The opening and closing tag to which a tag belongs."""
    name = match[2] or match[4] or match[6]
    left, right = match[0][0], match[0][-1]
    return f"{left}{name}{right}", f"{left}/{name}{right}"


def _spaced(template: ChatTemplate, open: str, close: str) -> Tags:
    """The tags as the template writes a stored thought and its answer, or with the spaces that are usual."""
    lines = close.startswith("</")
    if close == "<channel|>":
        return Tags(open, close, "\n", "", "\n")
    usual = Tags(open, close, "\n", "\n\n", "\n") if lines else Tags(open, close)
    try:
        stored = template.render("Q", f"{usual.opening}{_THOUGHT}{usual.closing}{_ANSWER}", closed=True)
    except ValueError:
        return usual
    found = re.search(
        rf"{re.escape(open)}(\s*){re.escape(_THOUGHT)}(\s*){re.escape(close)}(\s*){re.escape(_ANSWER)}", stored
    )
    return usual if found is None else Tags(open, close, found[1], found[3], found[2])


def switches(template: ChatTemplate, budget_tokens: int) -> dict[str, Any]:
    """Variables of a template that govern thinking, set for a budget; 0 switches it off.

    A level is left at the template's default while the model thinks.
    """
    variables = template.variables
    values: dict[str, Any] = {name: budget_tokens > 0 for name in _SWITCHES if name in variables}
    values |= {name: budget_tokens for name in _BUDGETS if name in variables}
    if budget_tokens == 0:
        for name, levels in _LEVELS.items():
            known = [level for level in levels if re.search(rf"['\"]{level}['\"]", template.source)]
            if name in variables and known:
                values[name] = known[0]
    return values


@dataclass(frozen=True, slots=True)
class Response:
    """What a model wrote, in its parts."""

    thought: str
    """Without tags and outer white space."""
    answer: str
    """What follows the thought; empty if it was not closed."""
    end: ThoughtEnd
    """Never `forced`: what was inserted is no part of it."""


def read_response(text: str, thinking: Thinking) -> Response:
    """The parts of what a model wrote after its prompt, tags and special tokens spelled out."""
    begun = text.lstrip()
    if not thinking.opened and not begun.startswith(thinking.open):
        return Response("", text, "absent")
    before, tag, after = text.partition(thinking.close)
    if not tag:
        before = cut_at(before, thinking.stop)
    thought = before.strip().removeprefix(thinking.open).strip()
    return Response(thought, after, "closed") if tag else Response(thought, "", "unclosed")


def read_tokens(
    thought: Sequence[int], answer: Sequence[int], end: ThoughtEnd, thinking: Thinking, tokenizer: Tokenizer
) -> tuple[str, str]:
    """Texts of a thought, whose tokens include what was inserted, and of the answer after it."""
    inserted = {"forced": thinking.close_ids, "closed": thinking.answer_ids}.get(end, ())
    # Tags may be special tokens, which only `spell` shows.
    response = read_response(tokenizer.spell(thought[: len(thought) - len(inserted)]), thinking)
    # A tag that is no token of its own may end inside one, whose other characters begin the answer.
    begun = response.answer if end == "closed" and not inserted else ""
    return response.thought, answer_text(begun + tokenizer.decode(answer), end, thinking)


def answer_text(text: str, end: ThoughtEnd, thinking: Thinking) -> str:
    """An answer without the white space between a thought and it; one that continues a prefix keeps its own."""
    return text if end == "absent" or thinking.answer_ids else text.lstrip()


def kept_tokens(written: Sequence[int], thinking: Thinking, tokenizer: Tokenizer) -> int:
    """How many tokens of a thought are kept that is closed by force: its budget, or the opening tag if that is longer.

    `written` is all that the model wrote, which begins with the opening tag unless the prompt opens the thought.
    """
    if thinking.opened:
        return thinking.budget_tokens
    opening = (
        count
        for count in range(1, len(written) + 1)
        if tokenizer.spell(written[:count]).lstrip().startswith(thinking.open)
    )
    return max(thinking.budget_tokens, next(opening, len(written)))
