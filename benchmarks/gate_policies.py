"""False alarms of whole policies, and the accuracy of `evalkit gate --explain`, by simulated runs.

python benchmarks/gate_policies.py                # 1,000 pairs of runs for each family, 400 for each detectable drop
python benchmarks/gate_policies.py --pairs 200    # quicker

Exits 1 if a family of `max_drop: 0` fails without a true drop more often than error_rate: 5% allows for this many pairs
of runs, or if a detectable drop fails in less than 70 % or more than 93 % of them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from gate_power import Draw, Pair, drops, ruler, tasks
from scipy import stats

from evalkit.analysis.policy import ERROR_RATE
from evalkit.statistics.bounded_mean import gaffke_bound
from evalkit.statistics.family import OneSidedTest, first_level, holm_decisions
from evalkit.statistics.paired import PairedDifferences, pool, right_or_wrong
from evalkit.statistics.power import Spread, above, detectable_drop, pairs_needed

LEVEL = 0.025
"""One-sided, of a test at 95 % confidence."""
SHARED = 14
"""Tests of a policy with a rule for each of RULER's tasks and one for their mean."""
WITHIN = (70.0, 93.0)
"""Accepted percentage of runs that fail with a detectable drop, nominally 80."""
DETECTED_SHARE = 0.4
"""Pairs of runs for a detectable drop, of those for a family."""


@dataclass(frozen=True)
class Family:
    """The tests of a policy on pairs of runs, with the number of the first tests that have a true drop."""

    name: str
    draw: Draw
    mean: bool
    """Whether the policy tests the mean over the tasks too."""
    with_drop: int = 0


def several(*draws: Draw) -> Draw:
    """The tasks of several lengths, one after the other."""
    return lambda rng: [pair for draw in draws for pair in draw(rng)]


FAMILIES = [
    Family("each of 13 tasks, 100 right or wrong, accuracy 0.5", tasks(0.5, 0.5), mean=False),
    Family("each of 65 tasks, 100 right or wrong, accuracy 0.7", several(*[tasks(0.7, 0.7)] * 5), mean=False),
    Family("RULER-like, 13 × 100, each task and the mean", ruler(100), mean=True),
    Family("RULER-like, 13 × 20, each task and the mean", ruler(20), mean=True),
    Family(
        "each of 13 tasks, 500 right or wrong, accuracy 0.5; three more lose 20 points",
        several(tasks(0.5, 0.3, n=500, count=3), tasks(0.5, 0.5, n=500)),
        mean=False,
        with_drop=3,
    ),
]


def lower_bound(of_drop: PairedDifferences) -> Callable[[float], float]:
    if right_or_wrong(of_drop):
        worse, better = int(np.sum(of_drop.differences > 0)), int(np.sum(of_drop.differences < 0))
        return lambda level: counted(len(of_drop.differences), worse, better, level)
    return lambda level: gaffke_bound(of_drop.differences, of_drop.weights, level)


@cache
def counted(n: int, worse: int, better: int, level: float) -> float:
    """For right and wrong answers of equal weight the bound is a function of these numbers."""
    interval = pool([np.repeat([1.0, -1.0, 0.0], [worse, better, n - worse - better])], bounded=True).interval(
        1 - 2 * level
    )
    return -1.0 if interval is None else interval[0]


def tested(pairs: Sequence[Pair], *, mean: bool) -> list[OneSidedTest]:
    """`max_drop: 0` for each task, and for their mean."""
    rows = [drops([pair]) for pair in pairs] + ([drops(pairs)] if mean else [])
    return [OneSidedTest(lower_bound(row), 0.0, LEVEL) for row in rows]


def false_failures(family: Family, count: int, seed: int) -> tuple[float, float]:
    """Percent of pairs of runs in which a test without a true drop fails: each test alone, and with a shared rate."""
    rng = np.random.default_rng(seed)
    alone = together = 0
    for _ in range(count):
        tests = tested(family.draw(rng), mean=family.mean)
        decisions = holm_decisions(tests, ERROR_RATE)
        alone += any(test.lower_bound(LEVEL) > 1e-9 for test in tests[family.with_drop :])
        together += any(decision.rejected for decision in decisions[family.with_drop :])
    return 100 * alone / count, 100 * together / count


@dataclass(frozen=True)
class Planned:
    """Runs whose detectable drop is printed before they are simulated."""

    name: str
    at: Callable[[float], Draw]
    """Pairs of runs with this true drop of the mean, 0-1."""


PLANNED = [
    Planned("RULER-like, 13 × 20", lambda drop: ruler(20, drop)),
    Planned("RULER-like, 13 × 100", lambda drop: ruler(100, drop)),
    Planned("RULER-like, 13 × 500", lambda drop: ruler(500, drop)),
    Planned("one task, 100 right or wrong, accuracy 0.9", lambda drop: tasks(0.9, 0.9 - drop, count=1)),
    Planned("one task, 500 right or wrong, accuracy 0.9", lambda drop: tasks(0.9, 0.9 - drop, n=500, count=1)),
    Planned("one task, 100 right or wrong, accuracy 0.5", lambda drop: tasks(0.5, 0.5 - drop, count=1)),
    Planned("one task like cwe: 100 of 10, accuracy 0.9", lambda drop: tasks(0.9, 0.9 - drop, count=1, asked=10)),
]


def spread_of(draw: Draw, seed: int, draws: int = 20) -> Spread:
    """The spread of two runs without a true drop, from many times their samples."""
    rng = np.random.default_rng(seed)
    runs = [draw(rng) for _ in range(draws)]
    joined = [
        (np.concatenate([run[task][0] for run in runs]), np.concatenate([run[task][1] for run in runs]))
        for task in range(len(runs[0]))
    ]
    return Spread.of(drops(joined)).scaled(sum(len(base) for base, _ in runs[0]))


def detected(planned: Planned, level: float, limit: float, count: int, seed: int) -> tuple[float, float]:
    """The detectable drop in points that `--explain` prints, and the percent of simulated runs in which it fails."""
    spread = spread_of(planned.at(0.0), seed)
    drop = detectable_drop(lambda value: above(spread, value, limit, level), 1.0)
    if drop is None:
        return float("nan"), float("nan")
    rng, draw = np.random.default_rng(seed), planned.at(drop)
    fails = sum(lower_bound(drops(draw(rng)))(level) > limit + 1e-9 for _ in range(count))
    return 100 * drop, 100 * fails / count


def needed(planned: Callable[[int], Draw], limit: float, count: int, seed: int) -> tuple[int, float]:
    """Samples per task that `--explain` reports as needed, and the percentage of runs without a drop that show it."""
    spread = spread_of(planned(100), seed)
    per_task = len(planned(1)(np.random.default_rng(seed)))
    samples = -(-(pairs_needed(spread, limit, LEVEL) or 0) // per_task)
    rng, draw = np.random.default_rng(seed), planned(samples)
    shown = sum(lower_bound(drops(draw(rng)).swapped())(LEVEL) >= -limit - 1e-9 for _ in range(count))
    return samples, 100 * shown / count


def print_families(count: int) -> list[str]:
    """Prints a table; returns the families that fail more often than chance explains at one in a thousand."""
    print(f"No true drop: percent of {count:,} pairs of runs in which some `max_drop: 0` fails\n")
    print("| policy | each at 95 % alone | error_rate: 5% |")
    print("| --- | ---: | ---: |")
    most = float(stats.binom.ppf(1 - 0.001 / len(FAMILIES), count, ERROR_RATE))
    beyond = []
    for seed, family in enumerate(FAMILIES):
        alone, together = false_failures(family, count, seed)
        print(f"| {family.name} | {alone:.1f} | {together:.1f} |", flush=True)
        if together / 100 * count > most + 1e-6:
            beyond.append(f"{family.name}: {together:.1f} % fail")
    return beyond


def print_detected(count: int) -> list[str]:
    """Prints a table; returns the drops that fail too rarely or too often."""
    print(f"\nDetectable drops in points / percent of {count:,} pairs of runs with that drop that fail\n")
    print("| runs | max_drop: 0 | max_drop: 0, one of 14 tests | max_drop: 1 |")
    print("| --- | ---: | ---: | ---: |")
    beyond = []
    for seed, planned in enumerate(PLANNED):
        cells = []
        for level, limit in ((LEVEL, 0.0), (first_level(LEVEL, ERROR_RATE, SHARED), 0.0), (LEVEL, 0.01)):
            drop, fails = detected(planned, level, limit, count, seed)
            cells.append(f"{drop:.1f} / {fails:.0f}")
            if not WITHIN[0] <= fails <= WITHIN[1]:
                beyond.append(f"{planned.name}: a drop of {drop:.1f} fails in {fails:.0f} %")
        print(f"| {planned.name} | {' | '.join(cells)} |", flush=True)
    return beyond


def print_needed(count: int) -> list[str]:
    """Prints a table; returns the numbers of samples that show too rarely or too often that there is no drop."""
    print(f"\nSamples needed per task / percent of {count:,} pairs of runs without a drop that show it\n")
    print("| runs | max_drop: 1 | max_drop: 2 | max_drop: 5 |")
    print("| --- | ---: | ---: | ---: |")
    beyond = []
    designs: dict[str, Callable[[int], Draw]] = {
        "RULER-like, 13 tasks": ruler,
        "one task, right or wrong, accuracy 0.9": lambda n: tasks(0.9, 0.9, n=n, count=1),
    }
    for seed, (name, design) in enumerate(designs.items()):
        cells = []
        for limit in (0.01, 0.02, 0.05):
            samples, shown = needed(design, limit, count, seed)
            cells.append(f"{samples:,} / {shown:.0f}")
            if not WITHIN[0] <= shown <= WITHIN[1]:
                beyond.append(f"{name}: {samples:,} samples show that there is no drop of {limit:g} in {shown:.0f} %")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return beyond


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="simulated pairs of runs for each family")
    pairs = parser.parse_args().pairs
    started = time.perf_counter()
    beyond = print_families(pairs)
    detections = max(1, round(DETECTED_SHARE * pairs))
    beyond += print_detected(detections) + print_needed(detections)
    print(f"\n{time.perf_counter() - started:.0f} s")
    print("\n".join(["", "Outside the stated range:", *beyond]) if beyond else "")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
