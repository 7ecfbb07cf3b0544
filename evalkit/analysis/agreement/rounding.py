"""How much two engines may differ by rounding alone: bounds from the rounding error of the model's own code."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rounding:
    """Rounding error of the model's own code in its dtype against fp32, at successive positions of a text, in nats."""

    token_gaps: tuple[float, ...]
    """Absolute error of each token's log-probability; empty in fp32, which is the yardstick itself."""
    margin_gaps: tuple[float, ...]
    """Absolute error of the difference between the two most probable tokens' log-probabilities."""
    least: float
    """Error that is always allowed: a smaller one of a few operators is no measure of the errors of others."""
    allowed: float
    """How many times its own error may separate an engine from exact results."""
    dtype: str

    @property
    def margin_bound(self) -> float:
        """The largest margin between two tokens at which rounding can decide between them."""
        return self._bound(max(self.margin_gaps, default=0.0))

    def token_bound(self, tokens: int) -> float:
        """The largest root mean square of the differences at `tokens` positions that rounding explains."""
        return self._bound(_worst_window(self.token_gaps, tokens))

    @property
    def statement(self) -> str:
        """The origin of the bounds, in one line."""
        if not self.token_gaps:
            return f"{self.dtype} on both sides: {self.least:.1e} nats allowed"
        rms = root_mean_square(self.token_gaps)
        return (
            f"transformers' own code in {self.dtype} is {rms:.1e} nats off its fp32 results (root mean square of "
            f"{len(self.token_gaps):,} tokens); allowed is {self.allowed:g} times its error in the worst window of as "
            "many tokens, twice because both engines round"
        )

    def _bound(self, own: float) -> float:
        return 2 * self.allowed * max(own, self.least) if self.token_gaps else self.least


def root_mean_square(values: Sequence[float]) -> float:
    """Of at least one value; NaN if one is."""
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


def _worst_window(values: Sequence[float], tokens: int) -> float:
    """The largest root mean square over `tokens` successive values, or over all if there are no more."""
    count = min(tokens, len(values))
    if count == 0:
        return 0.0
    squares = [value * value for value in values]
    total = worst = math.fsum(squares[:count])
    for place in range(count, len(squares)):
        total += squares[place] - squares[place - count]
        worst = max(worst, total)
    return math.sqrt(worst / count)
