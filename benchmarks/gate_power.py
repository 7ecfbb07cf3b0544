"""Error rates and power of a gate, by simulated pairs of runs, for docs/statistics.md.

python benchmarks/gate_power.py                                  # 1,000 pairs of runs for each scenario
python benchmarks/gate_power.py --picture docs/gate_power.png    # the chart of the documentation
python benchmarks/gate_power.py --keep seen.json                 # can be interrupted: finished rows are kept

Exits 1 if `max_drop: 0` at 95 % fails more often without a true drop than 2.5 % allows for this many pairs of runs.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from evalkit.statistics.intervals import Interval
from evalkit.statistics.paired import PairedDifferences, detectable_difference, pool, right_or_wrong

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]
"""Scores of one task's samples: BASE, NEW."""
Draw = Callable[[np.random.Generator], list[Pair]]

RESAMPLES = 1000
ALLOWED = 0.025
# RULER's thirteen tasks: accuracies of a 7B model at a length near its limit, and the number of answers per sample.
# With one answer a score is 0 or 1; multivalue, multiquery, vt, cwe and fwe count the answers found.
RULER = (
    *((rate, 1) for rate in (1.0, 0.99, 0.98, 0.97, 0.9, 0.85, 0.5, 0.4)),
    *((0.95, 4), (0.97, 4), (0.9, 5), (0.3, 10), (0.6, 3)),
)


@dataclass(frozen=True)
class Scenario:
    """Pairs of runs drawn from two models whose true drop is known."""

    name: str
    draw: Draw
    drop: float = 0.0
    """BASE - NEW, of the mean over tasks, 0-1."""
    bounded: bool = True
    """False for losses, whose "drop" is a rise."""


def alike(rng: np.random.Generator, rates: tuple[float, float], n: int, shared: float, asked: int) -> Pair:
    """One task: two models with these accuracies, whose successes share `shared` of their latent variance."""
    question = rng.standard_normal(n)
    sides = []
    for rate in rates:
        latent = math.sqrt(shared) * question + math.sqrt(1 - shared) * rng.standard_normal(n)
        if asked == 1:
            sides.append((latent < special.ndtri(rate)).astype(np.float64))
        else:
            # Each answer is found with a chance that varies by question; its mean over questions is the rate.
            chance = special.ndtr((special.ndtri(rate) - 0.8 * latent) / 0.6)
            sides.append(rng.binomial(asked, chance) / asked)
    return sides[0], sides[1]


def tasks(base: float, new: float, *, n: int = 100, count: int = 13, shared: float = 0.8, asked: int = 1) -> Draw:
    return lambda rng: [alike(rng, (base, new), n, shared, asked) for _ in range(count)]


def ruler(n: int, drop: float = 0.0, shared: float = 0.8) -> Draw:
    """Thirteen different tasks; a drop is distributed in proportion to what each can lose."""
    scale = 1 - drop / float(np.mean([rate for rate, _ in RULER]))
    return lambda rng: [alike(rng, (rate, rate * scale), n, shared, asked) for rate, asked in RULER]


def opposite(rng: np.random.Generator) -> list[Pair]:
    """Six tasks lose ten points, six gain ten: the mean does not change."""
    changes = [-0.1] * 6 + [0.1] * 6 + [0.0]
    return [alike(rng, (0.8, 0.8 + change), 100, 0.8, 1) for change in changes]


def skewed(n: int, count: int, gain: float, loss: float, rate: float) -> Draw:
    """NEW gains `gain` at `rate` and loses `loss` often enough to leave the mean unchanged."""

    def draw(rng: np.random.Generator) -> list[Pair]:
        pairs = []
        for _ in range(count):
            chance = rng.random(n)
            change = np.where(chance < rate, gain, np.where(chance < rate * (1 + gain / loss), -loss, 0.0))
            base = np.where(change > 0, 0.0, 1.0)
            pairs.append((base, base + change))
        return pairs

    return draw


def losses(n: int, noise: Callable[[np.random.Generator, int], Array], rise: float = 0.0) -> Draw:
    """Bits per byte of windows of text; NEW's differ from BASE's by `noise`, whose mean is zero."""
    return lambda rng: [(np.zeros(n), -(noise(rng, n) + rise))]


def normal(rng: np.random.Generator, n: int) -> Array:
    return rng.standard_normal(n)


def heavy_tails(rng: np.random.Generator, n: int) -> Array:
    return rng.standard_t(3, n)


def one_sided(rng: np.random.Generator, n: int) -> Array:
    return 1.0 - rng.standard_exponential(n)


EQUAL = [
    Scenario("13 × 100 right or wrong, accuracy 0.5", tasks(0.5, 0.5)),
    Scenario("13 × 100 right or wrong, accuracy 0.9", tasks(0.9, 0.9)),
    Scenario("13 × 100 right or wrong, accuracy 0.99", tasks(0.99, 0.99)),
    Scenario("13 × 100 right or wrong, accuracy 0.998 (5 changes)", tasks(0.998, 0.998, shared=0.5)),
    Scenario("13 × 100 right or wrong, accuracy 0.02", tasks(0.02, 0.02)),
    Scenario("13 × 100 fractions of 4, accuracy 0.7", tasks(0.7, 0.7, asked=4)),
    Scenario("13 × 100 fractions of 4, accuracy 0.99", tasks(0.99, 0.99, asked=4)),
    Scenario("RULER-like, 13 × 5", ruler(5)),
    Scenario("RULER-like, 13 × 20", ruler(20)),
    Scenario("RULER-like, 13 × 100", ruler(100)),
    Scenario("RULER-like, 13 × 100, unrelated models", ruler(100, shared=0.0)),
    Scenario("RULER-like, 13 × 100, nearly one model", ruler(100, shared=0.99)),
    Scenario("RULER-like, 13 × 500", ruler(500)),
    Scenario("six tasks +10, six -10", opposite),
    Scenario("one task, 10 right or wrong, accuracy 0.5", tasks(0.5, 0.5, n=10, count=1)),
    Scenario("one task, 20 right or wrong, accuracy 0.5", tasks(0.5, 0.5, n=20, count=1)),
    Scenario("one task, 100 right or wrong, accuracy 0.5", tasks(0.5, 0.5, count=1)),
    Scenario("one task, 100 right or wrong, accuracy 0.9", tasks(0.9, 0.9, count=1)),
    Scenario("one task, 100 right or wrong, accuracy 0.99", tasks(0.99, 0.99, count=1)),
    Scenario("one task, 500 right or wrong, accuracy 0.9", tasks(0.9, 0.9, n=500, count=1)),
    Scenario("one task like fwe: 100 of 3, accuracy 0.9", tasks(0.9, 0.9, count=1, asked=3)),
    Scenario("one task like cwe: 100 of 10, accuracy 0.9", tasks(0.9, 0.9, count=1, asked=10)),
    Scenario("one task like cwe: 20 of 10, accuracy 0.9", tasks(0.9, 0.9, n=20, count=1, asked=10)),
    Scenario("one task like cwe: 10 of 10, accuracy 0.9", tasks(0.9, 0.9, n=10, count=1, asked=10)),
    Scenario("one task like cwe: 500 of 10, accuracy 0.9", tasks(0.9, 0.9, n=500, count=1, asked=10)),
]
# Similar models do not differ like this: small losses are common and compensated by rare whole gains, all of which a
# sample may miss.
SKEWED = [
    Scenario(f"{'one task' if count == 1 else '13'} × {n}, {whole} whole gains expected, losses of {loss:g}", draw)
    for count, n, whole, loss in (
        *((1, 20, whole, 0.25) for whole in (1, 3)),
        *((1, 100, whole, loss) for whole in (1, 2, 4, 10) for loss in (0.25, 0.1) if whole * 11 <= 100 or loss > 0.1),
        *((13, 100, whole, 0.1) for whole in (1, 3, 10, 30)),
    )
    for draw in [skewed(n, count, 1.0, loss, whole / n / count)]
]
UNEQUAL = [
    Scenario("13 × 100 right or wrong, 0.98 → 0.95", tasks(0.98, 0.95), 0.03),
    Scenario("13 × 100 right or wrong, 0.95 → 0.10", tasks(0.95, 0.10), 0.85),
    Scenario("13 × 100 fractions of 4, 0.95 → 0.93", tasks(0.95, 0.93, asked=4), 0.02),
    Scenario("RULER-like, 13 × 100, a drop of 2", ruler(100, 0.02), 0.02),
    Scenario("one task, 100 right or wrong, 0.99 → 0.97", tasks(0.99, 0.97, count=1), 0.02),
    Scenario("one task, 100 right or wrong, 0.9 → 0.8", tasks(0.9, 0.8, count=1), 0.1),
    Scenario("one task like cwe: 100 of 10, 0.95 → 0.90", tasks(0.95, 0.90, count=1, asked=10), 0.05),
]
LOSSES = [
    Scenario(f"{n} windows, {name}", losses(n, noise), bounded=False)
    for name, noise in (
        ("normal differences", normal),
        ("heavy tails (t with 3 degrees of freedom)", heavy_tails),
        ("one-sided (exponential)", one_sided),
    )
    for n in (3, 10, 40, 200)
]
CURVES: dict[str, Callable[[float], Draw]] = {
    "RULER-like, 13 × 20": lambda drop: ruler(20, drop),
    "RULER-like, 13 × 100": lambda drop: ruler(100, drop),
    "RULER-like, 13 × 500": lambda drop: ruler(500, drop),
    "one task, 100 right or wrong, accuracy 0.9": lambda drop: tasks(0.9, 0.9 - drop, count=1),
    "one task, 500 right or wrong, accuracy 0.9": lambda drop: tasks(0.9, 0.9 - drop, n=500, count=1),
    "one task like cwe: 100 of 10, accuracy 0.9": lambda drop: tasks(0.9, 0.9 - drop, count=1, asked=10),
}
DROPS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)
"""True drops of the curves, in points."""
LIMITS = (0.0, 1.0)
"""Of `max_drop`."""


def drops(pairs: Sequence[Pair], *, bounded: bool = True) -> PairedDifferences:
    return pool([base - new for base, new in pairs], bounded=bounded)


def chosen(pairs: Sequence[Pair], _rng: np.random.Generator) -> Interval:
    return interval_of(drops(pairs))


def interval_of(seen: PairedDifferences) -> Interval:
    if seen.bounded and right_or_wrong(seen):
        return counted(len(seen.differences), int(np.sum(seen.differences > 0)), int(np.sum(seen.differences < 0)))
    return seen.interval() or (-math.inf, math.inf)


@cache
def counted(n: int, up: int, down: int) -> Interval:
    """For right and wrong answers of equal weight the interval is a function of these numbers."""
    return pool([np.repeat([1.0, -1.0, 0.0], [up, down, n - up - down])], bounded=True).interval() or (0.0, 0.0)


def student(pairs: Sequence[Pair], _rng: np.random.Generator) -> Interval:
    return drops(pairs, bounded=False).interval() or (-math.inf, math.inf)


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


Method = Callable[[Sequence[Pair], np.random.Generator], Interval]
METHODS: dict[str, Method] = {
    "evalkit": chosen,
    "Student, by task": student,
    "percentile bootstrap": percentile,
    "bootstrap-t": bootstrap_t,
}
METHODS_OF_LOSSES: dict[str, Method] = {name: METHODS[name] for name in ("Student, by task", "percentile bootstrap")}
# Resampling 13 tasks a thousand times is slow, and these methods are only for comparison, so they use a part of the
# pairs.
SLOW = {"percentile bootstrap", "bootstrap-t"}
SLOW_SHARE = 10
CURVE_SHARE = 4
"""Divisor of `--pairs` for each of the many points of a curve."""

Row = list[list[float]]
"""For each method or true drop: percentages, and a width in points."""


@dataclass
class Kept:
    """Finished rows, kept in a file if one is named."""

    file: Path | None
    rows: dict[str, Row] = field(default_factory=dict)

    @staticmethod
    def open(file: Path | None) -> "Kept":
        return Kept(file, json.loads(file.read_text()) if file is not None and file.exists() else {})

    def row(self, name: str, pairs: int, make: Callable[[], Row]) -> Row:
        key = f"{name} ({pairs} pairs)"
        if key not in self.rows:
            self.rows[key] = make()
            if self.file is not None:
                self.file.write_text(json.dumps(self.rows, indent=1, ensure_ascii=False))
        return self.rows[key]


def misses(scenario: Scenario, methods: dict[str, Method], count: int, seed: int) -> Row:
    """For each method: percent of intervals wholly above the true drop, wholly below it, and the mean width."""
    rng = np.random.default_rng(seed)
    found = {name: np.zeros(3) for name in methods}
    seen = dict.fromkeys(methods, 0)
    for number in range(count):
        pairs = scenario.draw(rng)
        for name, method in methods.items():
            if name in SLOW and number % SLOW_SHARE:
                continue
            low, high = method(pairs, rng)
            found[name] += (low > scenario.drop + 1e-12, high < scenario.drop - 1e-12, high - low)
            seen[name] += 1
    return [[float(value) for value in 100 * total / seen[name]] for name, total in found.items()]


def outcomes(draw: Draw, count: int, seed: int) -> list[float]:
    """Percent of pairs of runs that `max_drop` fails and leaves undecided, per limit; and the detectable difference."""
    rng = np.random.default_rng(seed)
    found, said = np.zeros(2 * len(LIMITS)), 0.0
    for _ in range(count):
        seen = drops(draw(rng))
        low, high = (100 * bound for bound in interval_of(seen))
        for place, limit in enumerate(LIMITS):
            found[2 * place : 2 * place + 2] += (low > limit + 1e-9, low <= limit + 1e-9 < high)
        said += 100 * (detectable_difference(seen) or 100.0)
    return [*(float(value) for value in 100 * found / count), said / count]


def print_misses(title: str, scenarios: Sequence[Scenario], kept: Kept, count: int) -> list[tuple[str, float]]:
    """Prints a table; returns the chosen method's rate of claimed drops by scenario."""
    methods = METHODS if scenarios[0].bounded else METHODS_OF_LOSSES
    print(
        f"\n{title}: drop claimed / rise claimed, percent; mean width, points ({count:,} pairs of runs each, "
        f"bootstraps {-(-count // SLOW_SHARE):,})\n"
    )
    print("| scenario | " + " | ".join(methods) + " |")
    print("| --- |" + " ---: |" * len(methods))
    rates = []
    for seed, scenario in enumerate(scenarios):
        row = kept.row(scenario.name, count, lambda: misses(scenario, methods, count, seed))  # noqa: B023  # called now
        cells = [f"{above:.1f} / {below:.1f}; {width:.1f}" for above, below, width in row]
        print(f"| {scenario.name} | " + " | ".join(cells) + " |", flush=True)
        rates.append((scenario.name, row[0][0]))
    return rates


def print_power(kept: Kept, count: int) -> dict[str, Row]:
    """Prints a table of every limit; returns for each curve and true drop what `outcomes` gives."""
    curves = {
        name: kept.row(
            f"power: {name}",
            count,
            lambda: [outcomes(at(drop / 100), count, number) for drop in DROPS],  # noqa: B023  # called now
        )
        for number, (name, at) in enumerate(CURVES.items())
    }
    for place, limit in enumerate(LIMITS):
        print(
            f"\nPower: how often `max_drop: {limit:g}` at 95 % fails a true drop of that many points / is undecided, "
            f"percent; the rest passes ({count:,} pairs of runs each)\n"
        )
        print("| runs | " + " | ".join(f"{point:g}" for point in DROPS) + " | detectable |")
        print("| --- |" + " ---: |" * (len(DROPS) + 1))
        for name, row in curves.items():
            cells = [f"{values[2 * place]:.0f} / {values[2 * place + 1]:.0f}" for values in row]
            print(f"| {name} | " + " | ".join(cells) + f" | {row[0][-1]:.1f} |", flush=True)
    return curves


def draw_power(curves: dict[str, Row], file: Path) -> None:
    """Chart of the curves: solid for failures, dashed for undecided."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for place, (panel, limit) in enumerate(zip(figure.subplots(1, len(LIMITS)), LIMITS, strict=True)):
        for number, (name, row) in enumerate(curves.items()):
            failed, untold = ([values[2 * place + part] for values in row] for part in (0, 1))
            panel.plot(DROPS, failed, color=f"C{number}", label=name)
            panel.plot(DROPS, untold, color=f"C{number}", linestyle="--", linewidth=0.8)
        for level in (100 * ALLOWED, 80):
            panel.axhline(level, color="0.7", linewidth=0.6, zorder=0)
        panel.axvline(limit, color="0.7", linewidth=0.6, zorder=0)
        panel.set_title(f"max_drop: {limit:g} at 95 %")
        panel.set_xlabel("true drop, points")
        panel.set_ylabel("fails (solid), undecided (dashed), percent of runs")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=3)
    figure.savefig(file, dpi=100, metadata={"Software": None})


def too_often(rates: Sequence[tuple[str, float]], count: int) -> list[str]:
    """Scenarios that fail more often than chance explains at 2.5 %, at one in a thousand over all of them."""
    most = float(stats.binom.ppf(1 - 0.001 / len(rates), count, ALLOWED))
    return [f"{name}: {rate:.1f} %" for name, rate in rates if rate / 100 * count > most + 1e-6]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="simulated pairs of runs for each scenario")
    parser.add_argument("--keep", type=Path, help="JSON file of finished rows: an interrupted call continues there")
    parser.add_argument("--picture", type=Path, help="PNG of the power curves")
    arguments = parser.parse_args()
    kept, pairs = Kept.open(arguments.keep), arguments.pairs
    started = time.perf_counter()
    rates = print_misses("No true drop", EQUAL, kept, pairs)
    rates += print_misses("No true drop, but differences of two kinds", SKEWED, kept, pairs)
    print_misses("A true drop", UNEQUAL, kept, pairs)
    print_misses("Losses, no true rise", LOSSES, kept, pairs)
    curves = print_power(kept, -(-pairs // CURVE_SHARE))
    if arguments.picture is not None:
        draw_power(curves, arguments.picture)
    print(f"\n{time.perf_counter() - started:.0f} s")
    beyond = too_often(rates, pairs)
    print("\n".join(["", "More than 2.5 % fail without a true drop:", *beyond]) if beyond else "")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
