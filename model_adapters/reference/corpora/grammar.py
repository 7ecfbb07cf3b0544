"""Templates with `{symbol}` references, compiled for fast expansion.

The alternatives of a rule are drawn like cards from a shuffled deck, without repeats until the deck is used up, so a
page does not repeat itself while alternatives remain.
"""

import re
from collections.abc import Callable, Mapping, Sequence

Piece = str | int
Template = tuple[Piece, ...]
Choice = str | Template

_REFERENCE = re.compile(r"\{(\w+)\}")


class Grammar:
    """Numbers the symbols and compiles templates; upper-case names are filled from the context of a paragraph."""

    def __init__(self, context_names: Sequence[str]) -> None:
        self._context = {name: ~index for index, name in enumerate(context_names)}
        self._numbers: dict[str, int] = {}

    def number(self, symbol: str) -> int:
        """The rule number of a symbol, assigned in order of first use."""
        return self._numbers.setdefault(symbol, len(self._numbers))

    def compile(self, text: str) -> Choice:
        """Compile one template; plain text stays a string."""
        parts = _REFERENCE.split(text)
        if len(parts) == 1:
            return text
        pieces = (self._reference(part) if index % 2 else part for index, part in enumerate(parts))
        return tuple(piece for piece in pieces if piece != "")

    def _reference(self, name: str) -> int:
        return self._context[name] if name in self._context else self.number(name)

    def compile_lines(self, text: str) -> tuple[Choice, ...]:
        """Compile the templates of a block, one alternative per line."""
        return tuple(self.compile(line.strip()) for line in text.strip().splitlines())

    def table(self, rules: Mapping[str, Sequence[Choice]]) -> list[Sequence[Choice]]:
        """The alternatives by rule number; raises ValueError for an undefined symbol."""
        missing = sorted(self._numbers.keys() - rules.keys())
        if missing:
            raise ValueError(f"no rule for {', '.join(missing)}")
        return [rules[symbol] for symbol in self._numbers]


class Expander:
    """Expands the templates of one page, and keeps track of the alternatives drawn."""

    def __init__(self, table: Sequence[Sequence[Choice]], random: Callable[[], float]) -> None:
        self._table = table
        self._random = random
        self._decks: list[list[Choice] | None] = [None] * len(table)
        self._drawn = [0] * len(table)
        self.context: Sequence[str] = ()

    def draw(self, rule: int) -> Choice:
        """Draw the next alternative of a rule, without repeats until all have been drawn."""
        deck = self._decks[rule]
        if deck is None:
            deck = self._decks[rule] = list(self._table[rule])
        at = self._drawn[rule]
        if at == len(deck):
            at = 0
        other = at + int(self._random() * (len(deck) - at))
        deck[at], deck[other] = deck[other], deck[at]
        self._drawn[rule] = at + 1
        return deck[at]

    def expand(self, choice: Choice) -> str:
        """Expand one template to text."""
        if isinstance(choice, str):
            return choice
        out: list[str] = []
        self._append(choice, out)
        return "".join(out)

    def _append(self, template: Template, out: list[str]) -> None:
        for piece in template:
            if isinstance(piece, str):
                out.append(piece)
            elif piece < 0:
                out.append(self.context[~piece])
            else:
                choice = self.draw(piece)
                if isinstance(choice, str):
                    out.append(choice)
                else:
                    self._append(choice, out)
