"""Tokens of a rendered chat prompt, in which only the template's own special tokens are special."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import tokenizers

from evalkit.errors import SampleDoesNotFitError

Span = tuple[int, int]

_MARK = "\U0010fffd"
"""A character for private use, which texts do not contain; a text that does gets a longer mark."""


class RenderedText:
    """Encodes texts whose parts come from a template and from a user, with a `tokenizers` backend without prefix.

    A user's text may spell special tokens, such as `<|im_end|>`, which would end its turn. They are encoded as the text
    that they are, as transformers does with `split_special_tokens=True`, and those of the template as special tokens.
    A text without such spellings has the tokens that the backend gives it.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        # Some tokenizers have runs of spaces as added tokens, which are part of their usual vocabulary.
        added = backend.get_added_tokens_decoder().items()
        self._added = {token.content: (ident, token) for ident, token in added if token.content.strip()}
        self._special = frozenset(ident for ident, token in self._added.values() if token.special)
        self._backends: dict[tuple[str, frozenset[int]], Any] = {}

    def encode(self, text: str, plain: Sequence[Span]) -> list[int]:
        """Token ids of `text`, of which the ascending spans `plain` spell no special token.

        Raises SampleDoesNotFitError if the vocabulary has no other tokens for the spelling of one.
        """
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        written = list(self._written(text, plain))
        expected = [self._added[match[0]][0] for match in written]
        control = self._special | frozenset(expected)
        if [ident for ident in ids if ident in control] == expected:
            return ids
        mark = _MARK
        while mark in text:
            mark += _MARK
        starts = [0, *(match.end() for match in written)]
        ends = [*(match.start() for match in written), len(text)]
        parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        names = [_name(ident, mark) for ident in expected]
        marked = parts[0] + "".join(name + part for name, part in zip(names, parts[1:], strict=True))
        backend = self._backend_of(mark, control)
        names_read = {backend.token_to_id(_name(ident, mark)): ident for ident in control}
        found = backend.encode(marked, add_special_tokens=False).ids
        spelled = next((ident for ident in found if ident in control), None)
        if spelled is not None:
            name = self._backend.id_to_token(spelled)
            raise SampleDoesNotFitError(f"its text spells {name}, for which this tokenizer has no other tokens")
        return [names_read.get(ident, ident) for ident in found]

    def _written(self, text: str, plain: Sequence[Span]) -> Iterator[re.Match[str]]:
        """The added tokens that the template spells, in order."""
        start = 0
        for end, after in (*plain, (len(text), len(text))):
            yield from self._spellings.finditer(text, start, end)
            start = after

    @cached_property
    def _spellings(self) -> re.Pattern[str]:
        longest_first = sorted(self._added, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def _backend_of(self, mark: str, control: frozenset[int]) -> Any:
        """A backend that reads the tokens `control` by their names alone, and their spellings as text."""
        if (mark, control) not in self._backends:
            definition = json.loads(self._backend.to_str())
            for token in definition["added_tokens"]:
                token["special"] = token["id"] in control
            backend = tokenizers.Tokenizer.from_str(json.dumps(definition))
            backend.encode_special_tokens = True
            backend.add_tokens(
                [
                    tokenizers.AddedToken(
                        _name(ident, mark),
                        lstrip=token.lstrip,
                        rstrip=token.rstrip,
                        normalized=token.normalized,
                        special=False,
                    )
                    for ident, token in self._added.values()
                    if ident in control
                ]
            )
            self._backends[mark, control] = backend
        return self._backends[mark, control]


def _name(ident: int, mark: str) -> str:
    return f"{mark}{ident}{mark}"
