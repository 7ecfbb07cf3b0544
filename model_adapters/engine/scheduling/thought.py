"""The thought before an answer: bounded in tokens, and closed by tokens that replace what the model would write."""

from collections import deque
from dataclasses import dataclass, field

from evalkit.records import Thinking, ThoughtEnd
from evalkit.running.protocols import Tokenizer
from model_adapters.engine.scheduling.stop_strings import reaches_stop


@dataclass(slots=True)
class ThoughtProgress:
    """What is known of the thought of one sequence from its new tokens so far."""

    thinking: Thinking
    is_open: bool
    end: ThoughtEnd = "absent"
    inserted: deque[int] = field(default_factory=deque)
    """Tokens that take the place of the model's next ones."""
    answer_start: int | None = None
    """Index of the answer's first new token; None while it is not known."""

    @staticmethod
    def of(thinking: Thinking | None) -> "ThoughtProgress | None":
        """The progress before the first token; None if the request governs no thought."""
        if thinking is None:
            return None
        progress = ThoughtProgress(thinking, thinking.opened, "unclosed" if thinking.opened else "absent")
        if thinking.opened and thinking.budget_tokens == 0:
            progress._close("forced", thinking.close_ids, 0)
        return progress

    def take(self, token_ids: list[int], picked: int, stop_ids: frozenset[int], tokenizer: Tokenizer) -> bool:
        """Append the next token before the answer: an inserted one, or the one that the model picked.

        Returns whether generation ends inside the thought.
        """
        if self.inserted:
            token_ids.append(self.inserted.popleft())
            if not self.inserted:
                self.answer_start = len(token_ids)
            return False
        token_ids.append(picked)
        thinking, count = self.thinking, len(token_ids)
        # One search for all of them: most tokens complete none.
        is_marked = reaches_stop((*thinking.stop, thinking.close), token_ids, tokenizer)
        if picked in stop_ids or (is_marked and reaches_stop(thinking.stop, token_ids, tokenizer)):
            self.answer_start = None if self.is_open else 0
            return self.is_open
        if not self.is_open:
            self._find_opening(tokenizer.spell(token_ids).lstrip(), count)
        if self.is_open and is_marked:
            self._close("closed", thinking.answer_ids, count)
        elif self.is_open and count >= thinking.budget_tokens:
            self._close("forced", thinking.close_ids, count)
        return False

    def _find_opening(self, text: str, count: int) -> None:
        """Whether the model has opened a thought, or can no longer do so."""
        tag = self.thinking.open
        if text.startswith(tag):
            self.is_open, self.end = True, "unclosed"
        # The last character may lack some of its bytes.
        elif count >= self.thinking.open_tokens or not tag.startswith(text.rstrip("\ufffd")):
            self.answer_start = 0

    def _close(self, end: ThoughtEnd, inserted: tuple[int, ...], count: int) -> None:
        self.end = end
        self.inserted.extend(inserted)
        self.answer_start = None if inserted else count
