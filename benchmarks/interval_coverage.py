"""Coverage and width of the 95 % intervals of scores: the tables in docs/statistics.md.

python benchmarks/interval_coverage.py --processes 16         # 4,000 draws for each cell near 94 %, else 1,000
python benchmarks/interval_coverage.py --draws 1000 --processes 2
python benchmarks/interval_coverage.py --kinds row --draws 1000

Each width is followed by that of the best method with proven coverage, if there is one. Exits 1 if a cell covers the
truth in less than 94 % of the draws.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evalkit.statistics.effective_length import effective_length
from evalkit.statistics.intervals import Interval
from evalkit.statistics.paired import pool
from evalkit.statistics.scores import MeanLoss, MeanScore
from evalkit.statistics.unpaired import difference_interval

Array = npt.NDArray[np.float64]
Rng = np.random.Generator

SAMPLES = (1, 5, 20, 100, 500)
RATES = (0.5, 0.9, 0.98, 1.0)
LEAST = 94.0
_TAIL = 0.025
_DIFFICULTY = 4.0
"""Sum of the parameters of the beta distribution of a question's own rate: questions differ, as those of RULER do."""
_PROVEN_DRAWS = 100
_FIRST_DRAWS = 1000
_CLEAR = 0.965
"""Coverage after the first draws, more than three standard errors above 94 %, that needs no more of them."""
_ROUNDING = 1e-9
# Number of answers per sample of RULER's 13 tasks.
RULER_ANSWERS = (1, 1, 1, 1, 1, 1, 4, 4, 5, 10, 3, 1, 1)
# How far each of the 13 tasks falls short, relative to the mean shortfall: easy needles, hard cwe and qa.
RULER_SHORTFALL = (0.0, 0.0, 0.1, 0.2, 0.2, 0.6, 0.4, 0.4, 0.3, 3.2, 2.0, 2.6, 3.0)
EFFECTIVE_CTXS = (4096, 8192, 16384)


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    kind: str
    n: int
    rate: float
    coverage: float
    """Percent."""
    width: float
    """Points; of the effective length, doublings."""
    proven: float | None
    """Width of the best method whose coverage is proven."""


def task(rng: Rng, n: int, rate: float, answers: int) -> Array:
    """Scores of one task: right or wrong, or the share of `answers` found, with questions of unequal difficulty."""
    if answers == 1 or rate in (0.0, 1.0):
        return rng.binomial(1, rate, n).astype(np.float64)
    own = rng.beta(rate * _DIFFICULTY, (1 - rate) * _DIFFICULTY, n)
    return rng.binomial(answers, own) / answers


def ruler_rates(rate: float) -> list[float]:
    """Rates of the 13 tasks with this mean: as far apart as RULER_SHORTFALL says, closer where rates end at 0."""
    shortfall = np.array(RULER_SHORTFALL) / np.mean(RULER_SHORTFALL)
    spread = 1.0 if rate == 1 else min(1.0, (1 / (1 - rate) - 1) / (float(shortfall.max()) - 1))
    return [min(1.0, max(0.0, 1 - (1 - rate) * (spread * float(each) + 1 - spread))) for each in shortfall]


def ruler(rng: Rng, n: int, rate: float) -> list[Array]:
    return [task(rng, n, each, answers) for each, answers in zip(ruler_rates(rate), RULER_ANSWERS, strict=True)]


def subjects(rng: Rng, n: int, rate: float) -> tuple[list[Array], Array]:
    """Right or wrong answers of 13 subjects of unequal size around `n`, and the subjects' true rates."""
    sizes = np.maximum(1, np.round(n * np.linspace(0.5, 1.5, 13))).astype(int)
    rates = np.array(ruler_rates(rate))
    return [rng.binomial(1, each, size).astype(np.float64) for each, size in zip(rates, sizes, strict=True)], rates


# --- the draws: the interval, the truth, and the proven interval if there is one

Drawn = tuple[Interval, float]
Kind = Callable[[Rng, int, float], Drawn]


def row_of(answers: int) -> Kind:
    def draw(rng: Rng, n: int, rate: float) -> Drawn:
        return MeanScore.of([task(rng, n, rate, answers)]).interval(), rate

    return draw


def equal_tasks(rng: Rng, n: int, rate: float) -> Drawn:
    return MeanScore.of([task(rng, n, rate, 1) for _ in range(13)]).interval(), rate


def ruler_mean(rng: Rng, n: int, rate: float) -> Drawn:
    return MeanScore.of(ruler(rng, n, rate)).interval(), rate


def micro(rng: Rng, n: int, rate: float) -> Drawn:
    drawn, rates = subjects(rng, n, rate)
    sizes = np.array([len(group) for group in drawn])
    return MeanScore.of([np.concatenate(drawn)]).interval(), float(rates @ sizes / sizes.sum())


def macro(rng: Rng, n: int, rate: float) -> Drawn:
    drawn, rates = subjects(rng, n, rate)
    return MeanScore.of(drawn).interval(), float(rates.mean())


def unpaired_row(rng: Rng, n: int, rate: float) -> Drawn:
    base, new = (MeanScore.of([task(rng, n, each, 1)]) for each in (rate, 0.9 * rate))
    return difference_interval(base, new), -0.1 * rate


def unpaired_ruler(rng: Rng, n: int, rate: float) -> Drawn:
    base, new = (MeanScore.of(ruler(rng, n, each)) for each in (rate, 0.9 * rate))
    return difference_interval(base, new), -0.1 * rate


def paired_ruler(rng: Rng, n: int, rate: float) -> Drawn:
    """The better model loses one answer of ten that it had."""
    base = ruler(rng, n, rate)
    kept = [rng.binomial(1, 0.9, n) for _ in base]
    differences = pool([group * keep - group for group, keep in zip(base, kept, strict=True)], bounded=True)
    return differences.interval() or (-1.0, 1.0), -0.1 * rate


def length(rng: Rng, n: int, rate: float) -> Drawn:
    """Doublings of the effective length past 2,048: rates fall by 6 points with each of three lengths."""
    rates = [rate, rate - 0.06, rate - 0.12]
    margins = {ctx: _margin(ruler(rng, n, each)) for ctx, each in zip(EFFECTIVE_CTXS, rates, strict=True)}
    found = effective_length(margins)
    assert found is not None
    truth = next((place for place, each in enumerate(rates) if each < 0.856), len(rates))
    return (_doublings(found.low), _doublings(found.high)), truth / 100


def _margin(groups: list[Array]) -> MeanScore:
    score = MeanScore.of(groups)
    return MeanScore(score.strata, score.shares, offset=-0.856)


def _doublings(tokens: int) -> float:
    """In hundredths, since widths are shown times 100."""
    return (math.log2(tokens / 2048) if tokens else 0.0) / 100


def loss_of(spread: float) -> Kind:
    def draw(rng: Rng, n: int, _rate: float) -> Drawn:
        """Bits per byte of windows whose logarithms vary by `spread`."""
        values = rng.lognormal(-(spread**2) / 2, spread, n)
        return MeanLoss.of(values, rng.lognormal(0, 0.1, n)).interval() or (0.0, 1e9), 1.0

    return draw


KINDS: dict[str, Kind] = {
    "row, right or wrong": row_of(1),
    "row, fractions of 3 (fwe)": row_of(3),
    "row, fractions of 4 (multivalue, multiquery)": row_of(4),
    "row, fractions of 10 (cwe)": row_of(10),
    "mean of 13 tasks, right or wrong, equal rates": equal_tasks,
    "mean of RULER's 13 tasks": ruler_mean,
    "micro mean of 13 subjects of unequal size": micro,
    "macro mean of 13 subjects of unequal size": macro,
    "unpaired difference of a row, right or wrong": unpaired_row,
    "unpaired difference of RULER's 13 tasks": unpaired_ruler,
    "paired difference of RULER's 13 tasks": paired_ruler,
    "effective length, RULER's 13 tasks at three lengths": length,
}
LOSSES: dict[str, Kind] = {
    "loss, windows that vary by 15 %": loss_of(0.15),
    "loss, windows that vary by 30 %": loss_of(0.3),
}


# --- the best methods that are proven to cover


def blaker(right: int, n: int, confidence: float = 0.95) -> Interval:
    """Blaker's exact interval of a proportion, inside Clopper and Pearson's (Blaker 2000), to 1/400 of their width."""

    def accepted(rate: float) -> bool:
        below, above = float(stats.binom.cdf(right, n, rate)), float(stats.binom.sf(right - 1, n, rate))
        smaller = min(below, above)
        outcomes = np.arange(n + 1)
        tails = stats.binom.sf(outcomes - 1, n, rate) if below < above else stats.binom.cdf(outcomes, n, rate)
        other = tails[tails <= smaller * (1 + 1e-12)]
        return smaller + (float(other.max()) if len(other) else 0.0) > 1 - confidence

    exact = stats.binomtest(right, n).proportion_ci(confidence, method="exact")
    ends = []
    for outer in (float(exact.low), float(exact.high)):
        grid = np.linspace(outer, right / n, 401)
        first = next((place for place, rate in enumerate(grid) if accepted(rate)), 400)
        ends.append(float(grid[max(0, first - 1)]))
    return ends[0], ends[1]


def betting(values: Array, alpha: float = 0.05) -> Interval:
    """The hedged capital interval of a bounded mean (Waudby-Smith and Ramdas 2024), for a fixed number of values."""
    n, grid = len(values), np.linspace(0, 1, 1001)[1:-1]
    up, down = np.zeros(len(grid)), np.zeros(len(grid))
    total, squares = 0.5, 0.25
    for seen, value in enumerate(values, start=1):
        bet = math.sqrt(2 * math.log(2 / alpha) / (n * squares / seen))
        up += np.log1p(np.minimum(bet, 0.5 / grid) * (value - grid))
        down += np.log1p(-np.minimum(bet, 0.5 / (1 - grid)) * (value - grid))
        total += value
        squares += (value - total / (seen + 1)) ** 2
    kept = grid[np.maximum(up, down) + math.log(0.5) < math.log(1 / alpha)]
    return (float(kept.min()) - 0.001, float(kept.max()) + 0.001) if len(kept) else (0.0, 1.0)


def proven_width(kind: str, n: int, rate: float, rng: Rng) -> float | None:
    """Mean width of the best proven method; None if none is better than the whole scale, or none is known."""
    if kind == "row, right or wrong":
        chances = stats.binom.pmf(np.arange(n + 1), n, rate)
        likely = [right for right in range(n + 1) if chances[right] > 1e-4]
        return float(sum(chances[right] * np.diff(blaker(right, n))[0] for right in likely) / chances[likely].sum())
    if kind in ("mean of 13 tasks, right or wrong, equal rates", "micro mean of 13 subjects of unequal size"):
        # Sums of unequal binomials vary less than the binomial of their mean rate (Hoeffding 1956).
        total = 13 * n
        rights = rng.binomial(total, rate, _PROVEN_DRAWS)
        exact = [stats.binomtest(int(right), total).proportion_ci(0.95, method="exact") for right in rights]
        return float(np.mean([each.high - each.low for each in exact]))
    if kind.startswith("row, fractions"):
        answers = int(kind.split()[3])
        return float(np.mean([np.diff(betting(task(rng, n, rate, answers)))[0] for _ in range(_PROVEN_DRAWS)]))
    if kind == "mean of RULER's 13 tasks":
        means = [np.mean(ruler(rng, n, rate), axis=0) for _ in range(_PROVEN_DRAWS)]
        return float(np.mean([np.diff(betting(each))[0] for each in means]))
    return None


def exact_row(n: int, rate: float) -> tuple[float, float]:
    """Coverage and mean width of a row of right and wrong answers, by summing over all outcomes."""
    chances = stats.binom.pmf(np.arange(n + 1), n, rate)
    ends = np.array([MeanScore.of([[1.0] * right + [0.0] * (n - right)]).interval() for right in range(n + 1)])
    covered = (ends[:, 0] <= rate + _ROUNDING) & (rate - _ROUNDING <= ends[:, 1])
    return float(chances @ covered), float(chances @ (ends[:, 1] - ends[:, 0]))


def drawn_row(draw: Kind, rng: Rng, n: int, rate: float, draws: int) -> tuple[float, float]:
    """Coverage and mean width over `draws`, or over the first 1,000 if their coverage is far above the level."""
    covered, total, seen = 0, 0.0, 0
    while seen < draws and not (seen == _FIRST_DRAWS and covered >= _CLEAR * seen):
        (low, high), truth = draw(rng, n, rate)
        covered += low - _ROUNDING <= truth <= high + _ROUNDING
        total += high - low
        seen += 1
    return covered / seen, total / seen


def measure(kind: str, n: int, rate: float, draws: int) -> Cell:
    rng = np.random.default_rng([n, int(1000 * rate), *kind.encode()])
    proven = proven_width(kind, n, rate, rng)
    if kind == "row, right or wrong":
        coverage, width = exact_row(n, rate)
    else:
        coverage, width = drawn_row({**KINDS, **LOSSES}[kind], rng, n, rate, draws)
    return Cell(kind, n, rate, 100 * coverage, 100 * width, None if proven is None else 100 * proven)


def show(cells: Sequence[Cell], kinds: Sequence[str]) -> None:
    for kind in kinds:
        of_kind = {(cell.n, cell.rate): cell for cell in cells if cell.kind == kind}
        rates = sorted({rate for _, rate in of_kind})
        heads = [f"p = {rate:g}" for rate in rates] if kind in KINDS else ["any"]
        print(f"\n**{kind}**\n\n| n | {' | '.join(heads)} |\n| ---: |{' ---: |' * len(rates)}")
        for n in sorted({n for n, _ in of_kind}):
            print(f"| {n} | {' | '.join(shown(of_kind[n, rate]) for rate in rates)} |", flush=True)


def shown(cell: Cell) -> str:
    proven = "" if cell.proven is None else f" ({cell.proven:.1f})"
    return f"{cell.coverage:.1f}; {cell.width:.1f}{proven}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="draws for each cell; exact for right and wrong rows")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=[], help="only kinds whose name begins with one of these")
    arguments = parser.parse_args()
    wanted = [kind for kind in (*KINDS, *LOSSES) if kind.startswith(tuple(arguments.kinds) or "")]
    jobs = [(kind, n, rate) for kind in wanted if kind in KINDS for n in SAMPLES for rate in RATES]
    # One window has no interval, because losses are unbounded.
    jobs += [(kind, n, 1.0) for kind in wanted if kind in LOSSES for n in SAMPLES if n > 1]
    jobs.sort(key=lambda job: -job[1])
    with ProcessPoolExecutor(arguments.processes) as pool_of_processes:
        futures = [pool_of_processes.submit(measure, *job, arguments.draws) for job in jobs]
        cells = []
        for done, future in enumerate(futures, start=1):
            cells.append(future.result())
            print(f"{done} of {len(jobs)} cells: {cells[-1]}", file=sys.stderr, flush=True)
    print("Coverage in percent; mean width in points, and in brackets that of the best proven method")
    show(cells, wanted)
    below = [cell for cell in cells if cell.coverage < LEAST]
    for cell in below:
        print(f"\nbelow {LEAST:g} %: {cell.kind}, n = {cell.n}, p = {cell.rate:g}: {cell.coverage:.1f}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
