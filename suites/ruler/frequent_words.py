"""fwe: find the three most frequent coded words."""

import math
import string

from suites.draws import Draws
from suites.ruler.fitting import Layout
from suites.ruler.measure import Measure

TEMPLATE = (
    "Read the following coded text and track the frequency of each coded word. "
    "Find the three most frequently appeared coded words. {context}\n"
    "Question: Do not provide any explanation. Please ignore the dots '....'. "
    "What are the three most frequently appeared words in the above coded text?"
)
PREFIX = " Answer: According to the coded text above, the three most frequently appeared words are:"
DOTS = "..."
ASKED = 3
_LETTERS = 6
_TOKENS_A_WORD = 50
"""Context tokens per word of the vocabulary."""
_ZETA_2 = math.pi**2 / 6
"""ζ(α) for the paper's α = 2.0, which normalizes its Zipf distribution."""


class FrequentWordsDraft:
    """A fwe sample whose size, the number of words that decides all frequencies, is still open."""

    smallest = 53
    """From this size on the last requested word is always more frequent than the next."""
    prefix = PREFIX

    def __init__(self, ctx: int, draws: Draws, order: Draws, measure: Measure) -> None:
        """`draws` gives the vocabulary; `order` shuffles the text."""
        vocabulary = {DOTS: None}
        while len(vocabulary) < max(ctx // _TOKENS_A_WORD, ASKED + 2):
            vocabulary[draws.letters(string.ascii_lowercase, _LETTERS)] = None
        self._vocabulary = list(vocabulary)
        self._keys = order
        self._order_keys: list[float] = []
        self._measure = measure
        self.targets = tuple(self._vocabulary[1 : 1 + ASKED])

    def counts(self, size: int) -> list[int]:
        """Frequency of each word, by rank."""
        return [int(size / (rank * rank) / _ZETA_2) for rank in range(1, len(self._vocabulary) + 1)]

    def largest(self, tokens: int) -> int:
        costs = self._measure.unit_tokens([DOTS, *self._vocabulary], " ", before=DOTS)[1:]
        least = self._total(self.smallest, costs)
        low, high = self.smallest, self.smallest + 2 * max(tokens, 1)
        while low < high:
            middle = (low + high + 1) // 2
            if self._total(middle, costs) - least <= tokens:
                low = middle
            else:
                high = middle - 1
        return low

    def layout(self, size: int) -> Layout:
        items = [word for word, count in zip(self._vocabulary, self.counts(size), strict=True) for _ in range(count)]
        self._order_keys += [self._keys.fraction() for _ in range(len(items) - len(self._order_keys))]
        # Sort keys instead of a shuffle, so that the sample does not depend on the sizes tried before.
        order = sorted(range(len(items)), key=self._order_keys.__getitem__)
        return Layout(TEMPLATE.format(context=" ".join(items[index] for index in order)))

    def _total(self, size: int, costs: list[int]) -> int:
        return sum(cost * count for cost, count in zip(costs, self.counts(size), strict=True))
