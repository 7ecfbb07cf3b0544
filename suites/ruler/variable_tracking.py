"""vt: find all variables to which a chain of assignments gives one value."""

import string
from collections.abc import Callable

from suites.draws import Draws
from suites.ruler.fitting import Layout
from suites.ruler.haystacks import NOISE, NoiseHaystack
from suites.ruler.measure import Measure

TEMPLATE = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
    "Question: Find all variables that are assigned the value {query} in the text above."
)
PREFIX = (
    " Answer: According to the chain(s) of variable assignment in the text above, "
    "{count} variables are assigned the value {query}, they are: "
)
HOPS = 4
EXAMPLE_TOKENS = 500
"""Limit of the worked example at every context length: its prompt and answer prefix, without its answer."""
LEAST_LINES = HOPS + 1
"""Minimum number of noise lines, one per line of a chain; the worked example has them even beyond its limit."""
_LETTERS, _EXAMPLE_LETTERS = 5, 3
_SMALLEST_VALUE, _VALUES = 10_000, 89_999


class Chain:
    """A value that is assigned from variable to variable."""

    def __init__(self, draws: Draws, letters: int, taken: set[str]) -> None:
        """`taken` are names and values of the sample's other chains; those of this chain are added."""
        self.value = _distinct(taken, lambda: str(_SMALLEST_VALUE + draws.below(_VALUES)))
        self.names = tuple(
            _distinct(taken, lambda: draws.letters(string.ascii_uppercase, letters)) for _ in range(HOPS + 1)
        )
        self._fractions = tuple(draws.fraction() for _ in self.names)

    @property
    def depths(self) -> tuple[float, ...]:
        """Positions of its lines, in order."""
        return tuple(sorted(self._fractions))

    @property
    def prefix(self) -> str:
        return PREFIX.format(count=len(self.names), query=self.value)

    def question(self, noise: int) -> tuple[str, list[int]]:
        """The prompt with that many noise lines, without its answer prefix, and the numbers of the chain's lines.

        Each line of the chain is before a different noise line, drawn without replacement as in the original.
        """
        free = list(range(noise))
        places = sorted(free.pop(int(fraction * len(free))) for fraction in self._fractions)
        numbers = [place + before for before, place in enumerate(places)]
        lines = [NOISE] * noise
        for number, line in zip(numbers, self._lines(), strict=True):
            lines.insert(number, line)
        return TEMPLATE.format(context="\n".join(lines), query=self.value), numbers

    def _lines(self) -> list[str]:
        """A copy line ends with a space, as the original writes it."""
        copies = [f"VAR {name} = VAR {source} " for source, name in zip(self.names, self.names[1:], strict=False)]
        return [f"VAR {self.names[0]} = {self.value}", *copies]


class VariableDraft:
    """A vt sample whose size, the number of noise lines, is still open; its worked example has its own size."""

    smallest = LEAST_LINES

    def __init__(self, draws: Draws, measure: Measure) -> None:
        taken: set[str] = set()
        self._chain = Chain(draws, _LETTERS, taken)
        self._example = Chain(draws, _EXAMPLE_LETTERS, taken)
        self._haystack = NoiseHaystack(measure)
        self._answered = _worked_example(self._example, self._haystack, measure)
        self.prefix = self._chain.prefix
        self.targets = self._chain.names

    def largest(self, tokens: int) -> int:
        return self.smallest + self._haystack.lines(tokens)

    def layout(self, size: int) -> Layout:
        question, numbers = self._chain.question(size)
        return Layout(f"{self._answered}\n\n{question}", self._chain.depths, tuple(numbers), self._example.names)


def _worked_example(chain: Chain, haystack: NoiseHaystack, measure: Measure) -> str:
    """A whole prompt with its answer, of as many noise lines as EXAMPLE_TOKENS hold."""

    def prompt(noise: int) -> str:
        return chain.question(noise)[0] + chain.prefix

    noise = LEAST_LINES
    noise += haystack.lines(max(0, EXAMPLE_TOKENS - measure.count(prompt(noise))))
    # The whole is counted too, because it can have other tokens than its lines.
    while noise > LEAST_LINES and measure.count(prompt(noise)) > EXAMPLE_TOKENS:
        noise -= 1
    while measure.count(prompt(noise + 1)) <= EXAMPLE_TOKENS:
        noise += 1
    return f"{prompt(noise)} {' '.join(chain.names)}"


def _distinct(taken: set[str], draw: Callable[[], str]) -> str:
    while (item := draw()) in taken:
        pass
    taken.add(item)
    return item
