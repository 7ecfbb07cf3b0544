"""vt: name every variable that a chain of assignments gives one value."""

import string
from collections.abc import Callable, Sequence

from suites.ruler.draws import Draws
from suites.ruler.fitting import Layout
from suites.ruler.haystacks import NOISE, NoiseHaystack
from suites.ruler.needles import plant

TEMPLATE = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
    "Question: Find all variables that are assigned the value {query} in the text above."
)
PREFIX = (
    " Answer: According to the chain(s) of variable assignment in the text above, "
    "{count} variables are assigned the value {query}, they are: "
)
HOPS = 4
EXAMPLE_LINES = 5
"""Noise lines of the worked example: few, whatever the context, so that it is the same under every tokenizer."""
_LETTERS, _EXAMPLE_LETTERS = 5, 3
_SMALLEST_VALUE, _VALUES = 10_000, 89_999


class Chain:
    """One value handed on from variable to variable, and where its lines stand."""

    def __init__(self, draws: Draws, letters: int, taken: set[str]) -> None:
        """`taken` holds names and values of the sample's other chains; it grows by this one's."""
        self.value = _distinct(taken, lambda: str(_SMALLEST_VALUE + draws.below(_VALUES)))
        self.names = tuple(
            _distinct(taken, lambda: draws.letters(string.ascii_uppercase, letters)) for _ in range(HOPS + 1)
        )
        self.depths = tuple(sorted(draws.fraction() for _ in self.names))

    @property
    def lines(self) -> list[str]:
        """A copy line ends with a space, as the original writes it."""
        copies = [f"VAR {name} = VAR {source} " for source, name in zip(self.names, self.names[1:], strict=False)]
        return [f"VAR {self.names[0]} = {self.value}", *copies]

    @property
    def prefix(self) -> str:
        return PREFIX.format(count=len(self.names), query=self.value)

    def question(self, noise: Sequence[str]) -> tuple[str, list[int]]:
        """The prompt over these noise lines without its answer prefix, and the numbers of the chain's lines."""
        context, places = plant(list(noise), "\n", list(zip(self.lines, self.depths, strict=True)))
        return TEMPLATE.format(context=context, query=self.value), places


class VariableDraft:
    """vt's sample before its size, a number of noise lines, is known."""

    smallest = NoiseHaystack.smallest

    def __init__(self, draws: Draws, haystack: NoiseHaystack) -> None:
        taken: set[str] = set()
        self._chain = Chain(draws, _LETTERS, taken)
        self._example = Chain(draws, _EXAMPLE_LETTERS, taken)
        self._haystack = haystack
        self.prefix = self._chain.prefix
        self.targets = self._chain.names

    def largest(self, tokens: int) -> int:
        return self._haystack.largest(tokens)

    def layout(self, size: int) -> Layout:
        example, _ = self._example.question([NOISE] * EXAMPLE_LINES)
        question, places = self._chain.question(self._haystack.lay(size).units)
        answered = f"{example}{self._example.prefix} {' '.join(self._example.names)}\n\n"
        return Layout(answered + question, self._chain.depths, tuple(places), self._example.names)


def _distinct(taken: set[str], draw: Callable[[], str]) -> str:
    while (item := draw()) in taken:
        pass
    taken.add(item)
    return item
