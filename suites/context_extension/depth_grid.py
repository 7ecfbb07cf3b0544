"""The grid of depth by length: samples of RULER's needle tasks, spread evenly over the needle's depth."""

from collections.abc import Sequence

from evalkit.records import Figure, SampleKey, SampleRecord
from evalkit.statistics.rows import depth_bin, score_figure
from suites.draws import Draws
from suites.ruler.needles import draw_needles
from suites.ruler.tasks import NEEDLE_TASKS


def has_one_needle(task: str) -> bool:
    """Whether the answer has a single place, and so a depth."""
    needle_task = NEEDLE_TASKS.get(task)
    return needle_task is not None and needle_task.queries * needle_task.values == 1


def needle_depth(key: SampleKey) -> float:
    """Depth of the requested needle of a key, known without building its prompt."""
    draws = Draws(key.seed, key.task, key.ctx, key.index, "content")
    return draw_needles(NEEDLE_TASKS[key.task], draws, set())[0].depth


def spread_keys(task: str, ctx: int, seed: int, *, samples: int, bins: int) -> list[SampleKey]:
    """The first keys by index such that no depth bin gets more than its share.

    They are RULER's own keys, so they pair with a RULER run of the same seed. Tasks without a single depth take the
    first keys.
    """
    if not has_one_needle(task):
        return [SampleKey(task, ctx, index, seed) for index in range(samples)]
    room = [samples // bins + (place < samples % bins) for place in range(bins)]
    keys: list[SampleKey] = []
    index = 0
    while len(keys) < samples:
        key = SampleKey(task, ctx, index, seed)
        place = depth_bin(needle_depth(key), bins)
        if room[place]:
            room[place] -= 1
            keys.append(key)
        index += 1
    return keys


def grid_figures(records: Sequence[SampleRecord], bins: int) -> list[Figure]:
    """Mean score, 0-100, over the tasks with one needle, by length and depth."""
    cells: dict[tuple[int, int], list[float]] = {}
    for record in records:
        if has_one_needle(record.task) and record.score is not None:
            cells.setdefault((record.ctx, depth_bin(record.depths[0], bins)), []).append(record.score)
    return [
        score_figure("grid", [values], ctx=ctx, depth=(place / bins, (place + 1) / bins))
        for (ctx, place), values in sorted(cells.items())
    ]
