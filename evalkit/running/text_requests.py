"""Requests made from texts as lm-eval makes them: contexts with continuations, rolling texts, open answers.

Suites and the lm-eval bridge share this module, so that both send a model the same requests.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import Request, Thinking
from evalkit.running.protocols import Tokenizer

LEAST_SHARED_TOKENS = 32
"""A shorter prefix is not worth caching."""
PROBES = 16
"""Prompts that are compared to find the prefix shared by a task's prompts."""
SHORT_TEXTS = 64
"""Limit on the texts whose tokens are kept."""

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """The prefix shared by a task's prompts."""

    id: str
    token_ids: TokenIds
    text: str
    """The text that the prompts share, which is longer than these tokens."""
    characters: int
    """Length of the beginning of `text` that these tokens spell, special ones before it left out."""

    def begins(self, token_ids: TokenIds) -> bool:
        """Whether a prompt begins with these tokens; checked for each, as tokenizers may join text across any seam."""
        return token_ids[: len(self.token_ids)] == self.token_ids


class TextRequests:
    """Makes requests for one tokenizer and a model with `max_tokens` of context (None: no limit)."""

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int | None) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._quick, self._checked = True, 0
        self._divides, self._divided = True, 0
        self._divided_after: set[str] = set()
        """The ids of prefixes after which a text was divided."""
        self._short: dict[str, TokenIds] = {}
        """Tokens of some short texts, which many prompts end with."""

    def prompt(self, text: str, prefix: SharedPrefix | None = None) -> TokenIds:
        """Tokens of a text with the special ones before it, which are not doubled if the text spells them out.

        After a prefix the rest is tokenized alone, unless checks on PROBES texts, and on the first after each prefix,
        find that this gives other tokens.
        """
        if prefix is None or not self._divides or not text.startswith(prefix.text):
            return tuple(self._tokenizer.encode_prompt(text))
        divided = prefix.token_ids + tuple(self._tokenizer.encode(text[prefix.characters :]))
        if self._divided < PROBES or prefix.id not in self._divided_after:
            self._divided += 1
            self._divided_after.add(prefix.id)
            whole = tuple(self._tokenizer.encode_prompt(text))
            self._divides = whole == divided
            return whole
        return divided

    def pairs(
        self, context: str, continuations: Sequence[str], prefix: SharedPrefix | None = None
    ) -> list[tuple[TokenIds, TokenIds]]:
        """Tokens of a context, and for each continuation those that context and continuation together have after them.

        Spaces at the end of the context belong to the continuation; an empty context is the text-start token. Raises
        SampleDoesNotFitError if no token is left for a continuation. The context is tokenized once, and continuations
        after its last line alone, unless checks on PROBES contexts find that this gives other tokens.
        """
        if context == "":
            pairs = [self._after_nothing(text) for text in continuations]
        else:
            kept = context.rstrip()
            prompt = self.prompt(kept, prefix)
            quick = self._after_last_line(kept, context[len(kept) :], prompt, continuations) if self._quick else None
            after = quick if self._agrees(context, prompt, continuations, quick) else None
            if after is None:
                after = [self.prompt(context + text)[len(prompt) :] for text in continuations]
            pairs = [(prompt, tokens) for tokens in after]
        for (before, tokens), text in zip(pairs, continuations, strict=True):
            if not before or not tokens:
                raise SampleDoesNotFitError(
                    f"{(context + text)[-40:]!r}: the tokenizer leaves no token to score after the context"
                )
        return pairs

    def shared_prefix(self, name: str, contexts: Iterable[str]) -> SharedPrefix | None:
        """The prefix shared by the first PROBES different contexts of a task, found in their text; takes no others.

        None if it is shorter than LEAST_SHARED_TOKENS or there are not two contexts.
        """
        probed: dict[str, None] = {}
        for context in contexts:
            probed[context.rstrip()] = None
            if len(probed) == PROBES:
                break
        shared = _common_start(list(probed)) if len(probed) > 1 else ""
        token_ids, offsets = self._tokenizer.encode_with_offsets(shared)
        # Following text can change the tokens of the last word and of the spaces around it.
        *before, _ = shared.rsplit(maxsplit=1) or ("",)
        end = len("".join(before))
        whole = bisect_right(offsets, end, key=itemgetter(1))
        characters = offsets[whole - 1][1] if whole else 0
        prefix = SharedPrefix(name, tuple(self._tokenizer.add_special_tokens(token_ids[:whole])), shared, characters)
        return prefix if len(prefix.token_ids) >= LEAST_SHARED_TOKENS else None

    def continuations(
        self, name: str, pairs: Sequence[tuple[str, str]], prefix: SharedPrefix | None = None
    ) -> tuple[Request, ...]:
        """One request per run of pairs with the same context, so that continuations keep the order of `pairs`."""
        tokens = [
            pair
            for context, group in groupby(pairs, itemgetter(0))
            for pair in self.pairs(context, [continuation for _, continuation in group], prefix)
        ]
        grouped = [(context, tuple(after for _, after in group)) for context, group in groupby(tokens, itemgetter(0))]
        requests = []
        for index, (context, continuations) in enumerate(grouped):
            self._check(len(context) + max(map(len, continuations)) - 1)
            shared = prefix if prefix is not None and prefix.begins(context) else None
            requests.append(
                Request(
                    id=name if len(grouped) == 1 else f"{name}#{index}",
                    token_ids=context,
                    generation_tokens=0,
                    prefix_id=shared.id if shared else None,
                    prefix_tokens=len(shared.token_ids) if shared else 0,
                    continuations=continuations,
                )
            )
        return tuple(requests)

    def rolling(self, name: str, text: str) -> tuple[Request, ...]:
        """Requests that score the whole text after the text-start token, in as few windows as the length allows.

        Each token is scored once; every window but the first is full. Raises SampleDoesNotFitError for a text without
        a token.
        """
        windows = list(self._windows(self._start() + self.prompt(text)))
        if not windows:
            raise SampleDoesNotFitError("the text has no token")
        return tuple(
            Request(name if len(windows) == 1 else f"{name}#{index}", token_ids, 0, scored_from=scored_from)
            for index, (token_ids, scored_from) in enumerate(windows)
        )

    def generation(
        self,
        name: str,
        context: str,
        budget: int,
        prefix: SharedPrefix | None = None,
        *,
        stop: Sequence[str] = (),
        thinking: Thinking | None = None,
    ) -> Request:
        """A request for an answer of at most `budget` tokens after a context, which is never truncated."""
        prompt = self.prompt(context, prefix) or self._start()
        self._check(len(prompt) + budget + (0 if thinking is None else thinking.most_tokens))
        shared = prefix if prefix is not None and prefix.begins(prompt) else None
        return Request(
            id=name,
            token_ids=prompt,
            generation_tokens=budget,
            stop=tuple(stop),
            thinking=thinking,
            prefix_id=shared.id if shared else None,
            prefix_tokens=len(shared.token_ids) if shared else 0,
        )

    def _after_last_line(
        self, kept: str, spaces: str, prompt: TokenIds, continuations: Sequence[str]
    ) -> list[TokenIds] | None:
        """Tokens of continuations, tokenized after the context's last line alone; None if that is not possible.

        `prompt` are the tokens of `kept`, the context without `spaces` at its end. Tokenizers that split a text into
        words before they look for tokens treat the text before a line separately.
        """
        line = kept[kept.rfind("\n") + 1 :]
        if len(continuations) < 2 or len(line) == len(kept):
            return None
        tail = self._encode_short(line)
        if prompt[-len(tail) :] != tail:
            return None
        after = [self._encode_short(line + spaces + text)[len(tail) :] for text in continuations]
        return after if all(after) else None

    def _encode_short(self, text: str) -> TokenIds:
        if text not in self._short:
            if len(self._short) == SHORT_TEXTS:
                self._short.clear()
            self._short[text] = tuple(self._tokenizer.encode(text))
        return self._short[text]

    def _agrees(
        self, context: str, prompt: TokenIds, continuations: Sequence[str], quick: Sequence[TokenIds] | None
    ) -> bool:
        """Whether the tokens after the last line are those after the whole context.

        All continuations of the first context are checked, and one of each of the next PROBES - 1.
        """
        if quick is not None and self._checked < PROBES:
            checked = [self._checked % len(continuations)] if self._checked else range(len(continuations))
            self._quick = all(self.prompt(context + continuations[i])[len(prompt) :] == quick[i] for i in checked)
            self._checked += 1
        return self._quick

    def _after_nothing(self, continuation: str) -> tuple[TokenIds, TokenIds]:
        tokens, start = tuple(self._tokenizer.encode(continuation)), self._start()
        return (tokens[:1], tokens[1:]) if tokens[:1] == start else (start, tokens)

    def _start(self) -> TokenIds:
        start = self._tokenizer.text_start
        if start is None:
            raise SampleDoesNotFitError("the tokenizer has neither BOS nor EOS for an empty context")
        return (start,)

    def _windows(self, token_ids: TokenIds) -> Iterator[tuple[TokenIds, int]]:
        """Windows of the tokens, each with the index of its first scored token; the first of all is never scored."""
        length = len(token_ids) - 1 if self._max_tokens is None else self._max_tokens
        done = 1
        while done < len(token_ids):
            end = min(done + length, len(token_ids))
            begin = max(0, end - length - 1)
            yield token_ids[begin:end], done - begin
            done = end

    def _check(self, tokens: int) -> None:
        if self._max_tokens is not None and tokens > self._max_tokens:
            raise SampleDoesNotFitError(
                f"it takes {tokens:,} tokens, the model was trained to {self._max_tokens:,}, "
                "and prompts are never truncated"
            )


def _common_start(texts: Sequence[str]) -> str:
    """What all texts begin with; by halves, because a character at a time takes a millisecond for 3,000 of them."""
    first, last = min(texts), max(texts)
    lengths = range(min(len(first), len(last)) + 1)
    length = bisect_left(lengths, True, key=lambda length: first[:length] != last[:length])
    return first[: length - 1]


def cut_at(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string; empty ones are ignored."""
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text
