"""How often a gate is wrong, and what it can see: simulated pairs of runs, for docs/statistics.md.

python benchmarks/gate_power.py                 # 1,000 pairs of runs for each scenario
python benchmarks/gate_power.py --pairs 4000    # the tables of the documentation
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from evalkit.paired_stats import PairedDifferences, detectable_difference, pool
from evalkit.stats import Interval

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]
"""Scores of one task's samples: BASE, NEW."""

RESAMPLES = 1000
REFERENCES = 4
"""A sample with fractions finds so many references, or some of them."""
# Accuracies and forms such as a 7B model has at a length that it half holds.
RIGHT_OR_WRONG = (1.0, 0.99, 0.98, 0.97, 0.9, 0.85, 0.5, 0.4)
IN_FRACTIONS = (0.95, 0.97, 0.9, 0.3, 0.6)


@dataclass(frozen=True)
class Scenario:
    """Pairs of runs drawn from two models whose true drop is known."""

    name: str
    draw: Callable[[np.random.Generator], list[Pair]]
    drop: float = 0.0
    """BASE - NEW, of the mean over tasks, 0-1."""


def alike(rng: np.random.Generator, rates: tuple[float, float], n: int, shared: float, references: int) -> Pair:
    """One task: two models with these accuracies, whose successes share `shared` of their latent variance."""
    question = rng.standard_normal(n)
    sides = []
    for rate in rates:
        latent = math.sqrt(shared) * question + math.sqrt(1 - shared) * rng.standard_normal(n)
        if references == 1:
            sides.append((latent < special.ndtri(rate)).astype(np.float64))
        else:
            # Each reference is found with a chance that varies by question; its mean over questions is the rate.
            chance = special.ndtr((special.ndtri(rate) - 0.8 * latent) / 0.6)
            sides.append(rng.binomial(references, chance) / references)
    return sides[0], sides[1]


def tasks(
    base: float, new: float, *, n: int = 100, count: int = 13, shared: float = 0.8, references: int = 1
) -> Callable[[np.random.Generator], list[Pair]]:
    return lambda rng: [alike(rng, (base, new), n, shared, references) for _ in range(count)]


def ruler(n: int, drop: float = 0.0) -> Callable[[np.random.Generator], list[Pair]]:
    """Thirteen unlike tasks; a drop is spread over them in proportion to what they can lose."""
    scale = 1 - drop / float(np.mean(RIGHT_OR_WRONG + IN_FRACTIONS))
    return lambda rng: [
        alike(rng, (rate, rate * scale), n, 0.8, references)
        for rates, references in ((RIGHT_OR_WRONG, 1), (IN_FRACTIONS, REFERENCES))
        for rate in rates
    ]


def opposite(rng: np.random.Generator) -> list[Pair]:
    """Six tasks lose ten points, six gain ten: the mean does not change."""
    changes = [-0.1] * 6 + [0.1] * 6 + [0.0]
    return [alike(rng, (0.8, 0.8 + change), 100, 0.8, 1) for change in changes]


def skewed(n: int, count: int, rate: float) -> Callable[[np.random.Generator], list[Pair]]:
    """NEW gains a quarter often and loses all rarely, with no change on average: no two such models are alike."""

    def draw(rng: np.random.Generator) -> list[Pair]:
        pairs = []
        for _ in range(count):
            chance = rng.random(n)
            base = np.where(chance < rate, 1.0, 0.75)
            new = np.where(chance < rate, 0.0, np.where(chance < 5 * rate, 1.0, 0.75))
            pairs.append((base, new))
        return pairs

    return draw


EQUAL = [
    Scenario("13 × 100 right or wrong, accuracy 0.5", tasks(0.5, 0.5)),
    Scenario("13 × 100 right or wrong, accuracy 0.9", tasks(0.9, 0.9)),
    Scenario("13 × 100 right or wrong, accuracy 0.99", tasks(0.99, 0.99)),
    Scenario("13 × 100 right or wrong, accuracy 0.998 (5 changes)", tasks(0.998, 0.998, shared=0.5)),
    Scenario("13 × 100 right or wrong, accuracy 0.02", tasks(0.02, 0.02)),
    Scenario("13 × 100 fractions, accuracy 0.7", tasks(0.7, 0.7, references=REFERENCES)),
    Scenario("13 × 100 fractions, accuracy 0.99", tasks(0.99, 0.99, references=REFERENCES)),
    Scenario("RULER-like, 13 × 20", ruler(20)),
    Scenario("RULER-like, 13 × 100", ruler(100)),
    Scenario("RULER-like, 13 × 500", ruler(500)),
    Scenario("six tasks +10, six -10", opposite),
    Scenario("one task, 100 right or wrong, accuracy 0.9", tasks(0.9, 0.9, count=1)),
    Scenario("one task, 100 right or wrong, accuracy 0.99", tasks(0.99, 0.99, count=1)),
    Scenario("one task, 100 fractions, accuracy 0.9", tasks(0.9, 0.9, count=1, references=REFERENCES)),
    Scenario("one task, 20 fractions, accuracy 0.9", tasks(0.9, 0.9, n=20, count=1, references=REFERENCES)),
    Scenario("rare whole losses, many small gains, 13 × 100", skewed(100, 13, 0.01)),
    Scenario("rare whole losses, many small gains, one task of 100", skewed(100, 1, 0.02)),
]
UNEQUAL = [
    Scenario("13 × 100 right or wrong, 0.98 → 0.95", tasks(0.98, 0.95), 0.03),
    Scenario("13 × 100 right or wrong, 0.95 → 0.10", tasks(0.95, 0.10), 0.85),
    Scenario("13 × 100 fractions, 0.95 → 0.93", tasks(0.95, 0.93, references=REFERENCES), 0.02),
    Scenario("one task, 100 right or wrong, 0.99 → 0.97", tasks(0.99, 0.97, count=1), 0.02),
    Scenario("one task, 100 right or wrong, 0.9 → 0.8", tasks(0.9, 0.8, count=1), 0.1),
    Scenario("one task, 100 fractions, 0.95 → 0.90", tasks(0.95, 0.90, count=1, references=REFERENCES), 0.05),
]


def drops(pairs: Sequence[Pair], *, bounded: bool = True) -> PairedDifferences:
    return pool([base - new for base, new in pairs], bounded=bounded)


def melded(pairs: Sequence[Pair], _rng: np.random.Generator) -> Interval:
    return drops(pairs).interval() or (0.0, 0.0)


def student(pairs: Sequence[Pair], _rng: np.random.Generator) -> Interval:
    return drops(pairs, bounded=False).interval() or (0.0, 0.0)


def percentile(pairs: Sequence[Pair], rng: np.random.Generator) -> Interval:
    means, _ = resampled(pairs, rng)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_t(pairs: Sequence[Pair], rng: np.random.Generator) -> Interval:
    means, errors = resampled(pairs, rng)
    seen = drops(pairs)
    error = math.sqrt(sum((base - new).var(ddof=1) / len(base) for base, new in pairs)) / len(pairs)
    t = np.divide(means - seen.mean, errors, out=np.zeros_like(means), where=errors > 0)
    low, high = np.quantile(t, [0.025, 0.975])
    return float(seen.mean - high * error), float(seen.mean - low * error)


def resampled(pairs: Sequence[Pair], rng: np.random.Generator) -> tuple[Array, Array]:
    """Means over tasks of pairs drawn again within each task, and their standard errors."""
    means, variances = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for base, new in pairs:
        values, counts = np.unique(base - new, return_counts=True)
        n = len(base)
        drawn = rng.multinomial(n, counts / n, size=RESAMPLES)
        mean = drawn @ values / n
        means += mean / len(pairs)
        variances += (drawn @ values**2 / n - mean**2) / (n - 1) / len(pairs) ** 2
    return means, np.sqrt(np.maximum(variances, 0))


METHODS: dict[str, Callable[[Sequence[Pair], np.random.Generator], Interval]] = {
    "melded (evalkit)": melded,
    "Student, by task": student,
    "percentile bootstrap": percentile,
    "bootstrap-t": bootstrap_t,
}
# Resampling 13 tasks a thousand times is slow, and it is not what is chosen: these see a part of the pairs.
SLOW = {"percentile bootstrap", "bootstrap-t"}
SLOW_SHARE = 4


def misses(scenario: Scenario, count: int, seed: int) -> dict[str, tuple[float, float, float]]:
    """For each method: percent of intervals wholly above the true drop, wholly below it, and the mean width."""
    rng = np.random.default_rng(seed)
    found = {name: np.zeros(3) for name in METHODS}
    seen = dict.fromkeys(METHODS, 0)
    for number in range(count):
        pairs = scenario.draw(rng)
        for name, method in METHODS.items():
            if name in SLOW and number % SLOW_SHARE:
                continue
            low, high = method(pairs, rng)
            found[name] += (low > scenario.drop + 1e-12, high < scenario.drop - 1e-12, high - low)
            seen[name] += 1
    return {name: tuple(100 * total / seen[name]) for name, total in found.items()}  # type: ignore[misc]  # three


def print_misses(title: str, scenarios: Sequence[Scenario], count: int) -> None:
    print(
        f"\n{title}: drop claimed / rise claimed, percent; mean width, points ({count:,} pairs of runs each, "
        f"bootstraps {-(-count // SLOW_SHARE):,})\n"
    )
    print("| scenario | " + " | ".join(METHODS) + " |")
    print("| --- |" + " ---: |" * len(METHODS))
    for seed, scenario in enumerate(scenarios):
        cells = [
            f"{above:.1f} / {below:.1f}; {width:.1f}" for above, below, width in misses(scenario, count, seed).values()
        ]
        print(f"| {scenario.name} | " + " | ".join(cells) + " |", flush=True)


def print_power(count: int) -> None:
    print(f"\nPower: how often `max_drop: 0` at 95 % fails a true drop, percent ({count:,} pairs of runs each)\n")
    points = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
    print("| RULER-like, samples a task | " + " | ".join(f"{point:g}" for point in points) + " | said to be seen |")
    print("| --- |" + " ---: |" * (len(points) + 1))
    for n in (20, 100, 500):
        shares, said = [], []
        for point in points:
            rng = np.random.default_rng(n)
            draw = ruler(n, point / 100)
            failed = 0
            for _ in range(count):
                pairs = drops(draw(rng))
                failed += (pairs.interval() or (0.0, 0.0))[0] > 0
                said.append(100 * (detectable_difference(pairs) or 0))
            shares.append(100 * failed / count)
        print(
            f"| 13 × {n} | " + " | ".join(f"{share:.1f}" for share in shares) + f" | {np.mean(said):.1f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="simulated pairs of runs for each scenario")
    arguments = parser.parse_args()
    started = time.perf_counter()
    print_misses("No true drop", EQUAL, arguments.pairs)
    print_misses("A true drop", UNEQUAL, arguments.pairs)
    print_power(arguments.pairs)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
