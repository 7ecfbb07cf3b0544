"""Requests made from texts the way lm-eval cuts them: contexts with continuations, rolling texts, open answers.

Suites and the lm-eval bridge make theirs here, so that both ask the very same of a model.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import Request
from evalkit.running.protocols import Tokenizer

LEAST_SHARED_TOKENS = 32
"""A shorter prefix is not worth a snapshot."""
PROBES = 16
"""Prompts that are looked at to find what all of a task begin with."""

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Tokens that the prompts of a task begin with."""

    id: str
    token_ids: TokenIds

    @staticmethod
    def of(name: str, prompts: Sequence[TokenIds]) -> "SharedPrefix | None":
        """What all of `prompts` begin with; None where that is too little, or there are not two of them."""
        if len(prompts) < 2:
            return None
        first, last = min(prompts), max(prompts)  # in lexical order: what these two share, all share
        length = next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
        return SharedPrefix(name, first[:length]) if length >= LEAST_SHARED_TOKENS else None

    def begins(self, token_ids: TokenIds) -> bool:
        """Whether a prompt begins with these tokens: tokenizers join over any seam, so it is never assumed."""
        return token_ids[: len(self.token_ids)] == self.token_ids


class TextRequests:
    """Makes requests for one tokenizer, and for a model that can read `max_tokens` (None: any number)."""

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int | None) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._quick, self._checked = True, 0

    def prompt(self, text: str) -> TokenIds:
        """Tokens of a text with the special ones before it, which are not doubled where the text spells them out."""
        return tuple(self._tokenizer.encode_prompt(text))

    def pair(self, context: str, continuation: str) -> tuple[TokenIds, TokenIds]:
        """Tokens of a context, and those that the whole has after as many.

        Spaces at the end of the context belong to the continuation; an empty context is the text-start token. Raises
        SampleDoesNotFitError where nothing is left for the continuation.
        """
        if context == "":
            pair = self._after_nothing(continuation)
        else:
            kept = context.rstrip()
            context, continuation = kept, context[len(kept) :] + continuation
            prompt = self.prompt(context)
            pair = prompt, self.prompt(context + continuation)[len(prompt) :]
        if not pair[0] or not pair[1]:
            raise SampleDoesNotFitError(
                f"{(context + continuation)[-40:]!r}: the tokenizer leaves nothing to score after the context"
            )
        return pair

    def shared_prefix(self, name: str, contexts: Iterable[str]) -> SharedPrefix | None:
        """What all contexts of a task begin with, told from the first PROBES different ones; takes no more of them."""
        prompts: dict[str, TokenIds] = {}
        for context in contexts:
            if context not in prompts:
                prompts[context] = self.prompt(context.rstrip())
            if len(prompts) == PROBES:
                break
        return SharedPrefix.of(name, list(prompts.values()))

    def continuations(
        self, name: str, pairs: Sequence[tuple[str, str]], prefix: SharedPrefix | None = None
    ) -> tuple[Request, ...]:
        """One request for each run of pairs with one context, so that continuations stay in the order of `pairs`."""
        tokens = [tokens for context, group in groupby(pairs, _context) for tokens in self._pairs(context, list(group))]
        grouped = [
            (context, tuple(pair[1] for pair in group)) for context, group in groupby(tokens, lambda pair: pair[0])
        ]
        requests = []
        for index, (context, continuations) in enumerate(grouped):
            self._check(len(context) + max(map(len, continuations)) - 1)
            shared = prefix is not None and prefix.begins(context)
            requests.append(
                Request(
                    id=name if len(grouped) == 1 else f"{name}#{index}",
                    token_ids=context,
                    generation_tokens=0,
                    prefix_id=prefix.id if prefix is not None and shared else None,
                    prefix_tokens=len(prefix.token_ids) if prefix is not None and shared else 0,
                    continuations=continuations,
                )
            )
        return tuple(requests)

    def rolling(self, name: str, text: str) -> tuple[Request, ...]:
        """The whole text scored after the text-start token, in as few windows as the model's length allows.

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

    def generation(self, name: str, context: str, budget: int, prefix: SharedPrefix | None = None) -> Request:
        """A request for at most `budget` new tokens after a context, which is never cut."""
        prompt = self.prompt(context) or self._start()
        self._check(len(prompt) + budget)
        shared = prefix is not None and prefix.begins(prompt)
        return Request(
            id=name,
            token_ids=prompt,
            generation_tokens=budget,
            prefix_id=prefix.id if prefix is not None and shared else None,
            prefix_tokens=len(prefix.token_ids) if prefix is not None and shared else 0,
        )

    def _pairs(self, context: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[TokenIds, TokenIds]]:
        """`pair` of each, quickly where that is the same: held against it until it has been so for PROBES contexts."""
        quick = self._from_last_line(context, [continuation for _, continuation in pairs]) if self._quick else None
        if quick is not None and self._checked >= PROBES:
            return quick
        slow = [self.pair(*pair) for pair in pairs]
        if quick is not None:
            self._quick, self._checked = quick == slow, self._checked + 1
        return slow

    def _from_last_line(self, context: str, continuations: Sequence[str]) -> list[tuple[TokenIds, TokenIds]] | None:
        """Pairs where only the context's last line is read again with each continuation; None where it may not be.

        Tokenizers that split a text into words before they look for tokens read what comes before a line without it.
        """
        kept = context.rstrip()
        line = kept[kept.rfind("\n") + 1 :]
        if len(continuations) < 2 or len(line) == len(kept):
            return None
        prompt, tail = self.prompt(kept), tuple(self._tokenizer.encode(line))
        if prompt[-len(tail) :] != tail:
            return None
        spaces = context[len(kept) :]
        after = [tuple(self._tokenizer.encode(line + spaces + text))[len(tail) :] for text in continuations]
        return [(prompt, tokens) for tokens in after] if all(after) else None

    def _after_nothing(self, continuation: str) -> tuple[TokenIds, TokenIds]:
        tokens, start = tuple(self._tokenizer.encode(continuation)), self._start()
        return (tokens[:1], tokens[1:]) if tokens[:1] == start else (start, tokens)

    def _start(self) -> TokenIds:
        start = self._tokenizer.text_start
        if start is None:
            raise SampleDoesNotFitError("the tokenizer has neither BOS nor EOS to stand for an empty context")
        return (start,)

    def _windows(self, token_ids: TokenIds) -> Iterator[tuple[TokenIds, int]]:
        """Windows of the tokens with the index of the first scored one; the first token of all is never scored."""
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
                f"it takes {tokens:,} tokens and the model was trained to {self._max_tokens:,}; nothing is cut off"
            )


def _context(pair: tuple[str, str]) -> str:
    return pair[0]


def cut_at(text: str, stops: Sequence[str]) -> str:
    """The text before the first of any of the stop strings; empty ones stop nothing."""
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text
