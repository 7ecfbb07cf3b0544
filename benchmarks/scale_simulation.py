"""RULER on many GPUs, simulated: what a run takes on 10, 100 and 1,000 replicas of which some are killed, and what it
takes of the driver.

    python -m benchmarks.scale_simulation
    python -m benchmarks.scale_simulation --replicas 1000 --samples 100 --hours-between-kills 1

The scheduling is the one of `--replicas`, on a virtual clock; the driver, its store and the record of the run are real,
so its processor time is measured. Times per sample and of a start are measured ones (docs/performance.md: the hybrid's
7B shape on one GPU), linear between the lengths that were measured. Replicas are killed at random, exponentially
distributed, and start again.
"""

import argparse
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from evalkit import __version__
from evalkit.records import (
    Asked,
    Completion,
    Environment,
    Request,
    RunRecord,
    Sample,
    SampleKey,
    SampleRecord,
    Score,
    SuitePlan,
    SuiteSummary,
)
from evalkit.running.answering import OneModel
from evalkit.running.replicas.fleet import ReplicaFacts
from evalkit.running.replicas.pool import ReplicaPool
from evalkit.running.replicas.simulated import SimulatedFleet
from evalkit.running.runner import RunSettings, manifest_of, run
from evalkit.running.store import RunStore
from evalkit.statistics.rows import cells_of, result_row
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter
from suites.ruler.tasks import TASKS

MEASURED_SECONDS = {512: 0.0482, 4_096: 0.1574, 65_536: 2.511}
"""Seconds per RULER-like sample of a context length on one GPU."""
START_SECONDS = 30.9
"""Seconds from the start of a replica to the answer of its first prompt: 29.9 to load 14.9 GB, and 1.0."""
LENGTHS = (2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
NETWORK_SECONDS = 0.002
LINE_BYTES = 1_812
"""Mean length of a line of samples.jsonl in a run of RULER's 13 tasks at 4,096 and 16,384 tokens."""
NEVER = math.inf


def seconds_of(ctx: int) -> float:
    """Seconds per sample at a context length, linear between those measured."""
    lengths = sorted(MEASURED_SECONDS)
    low = max((length for length in lengths if length <= ctx), default=lengths[0])
    high = min((length for length in lengths if length >= ctx), default=lengths[-1])
    if low == high:
        return MEASURED_SECONDS[low]
    share = (ctx - low) / (high - low)
    return MEASURED_SECONDS[low] + share * (MEASURED_SECONDS[high] - MEASURED_SECONDS[low])


class SimulatedRuler:
    """Keys of RULER with short prompts, whose records are as long as those of real ones."""

    name, version, dialect = "simulated", "1", "plain"
    _PROMPT = "The quick brown fox jumps over the lazy dog. " * 20

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def plan(self) -> SuitePlan:
        keys = (SampleKey(task, ctx, n, 42) for ctx in LENGTHS for task in TASKS for n in range(self._samples))
        return SuitePlan(tuple(keys), (), ())

    def ask(self, key: SampleKey) -> Asked:
        sample = Sample(key, f"{self._PROMPT}{key.id}", "", ("fox", "dog"), 128, key.ctx - 128, "all", depths=(0.5,))
        return Asked(sample, (Request(key.id, (1,), 128),))

    def judge(self, asked: Asked, completion: Completion) -> Score:
        right = asked.sample.targets[0] in completion.text
        return Score(float(right), None if right else "other")

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        return SuiteSummary(tuple(result_row(task, ctx, here) for (task, ctx), here in cells_of(records).items()))


def _reply(request: Request) -> str:
    """A wrong answer for one sample in three, as long as makes a line of the real length."""
    return ("a fox " if crc32(request.id.encode()) % 3 else "a cat ") + "and so on " * 44


class _Quiet:
    """An observer that shows nothing."""

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        pass

    def prompt_sent(self, key: SampleKey) -> None:
        pass

    def sample_ended(self, record: SampleRecord) -> None:
        pass


class _Kept:
    """A sink that keeps the one record."""

    record: SampleRecord

    def sent(self, key: SampleKey) -> None:
        pass

    def ended(self, record: SampleRecord) -> None:
        self.record = record


@dataclass(frozen=True)
class Outcome:
    """One simulated run."""

    virtual_seconds: float
    ideal_seconds: float
    """Of all samples without a start, on replicas that are never idle."""
    samples: int
    asked_twice: int
    kills: int
    errors: int
    driver_seconds: float
    """Processor time of the driver and its store, without that of the answers."""
    bytes: int
    scores: tuple[float | None, ...]


def simulate(replicas: int, samples: int, hours_between_kills: float, seed: int) -> Outcome:
    """Run the whole of it, store included, in a temporary folder."""
    suite, draws = SimulatedRuler(samples), random.Random(seed)
    adapter = ScriptedAdapter(_reply)
    answering = 0.0

    def respond(key: SampleKey) -> SampleRecord:
        nonlocal answering
        began, sink = time.process_time(), _Kept()
        OneModel(suite, adapter).answer([key], sink)
        answering += time.process_time() - began
        return sink.record

    plan = suite.plan()
    engine = adapter.describe()
    manifest = manifest_of(suite, plan, SCRIPTED_IDENTITY).answered_by(engine, __version__)
    facts = ReplicaFacts("node", "simulated × 1", Environment(), SCRIPTED_IDENTITY, manifest, engine)
    fleet = SimulatedFleet(
        respond,
        facts,
        seconds=lambda key: seconds_of(key.ctx),
        lifetime=lambda: NEVER if hours_between_kills == NEVER else draws.expovariate(1 / (3600 * hours_between_kills)),
        start_seconds=START_SECONDS,
        latency=NETWORK_SECONDS,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        record, size = _stored(Path(folder) / "run", suite, ReplicaPool(fleet, replicas, clock=fleet.clock), plan)
    asked = Counter(fleet.asked)
    return Outcome(
        virtual_seconds=fleet.clock(),
        ideal_seconds=sum(seconds_of(key.ctx) for key in plan.keys) / replicas,
        samples=len(plan.keys),
        asked_twice=sum(count - 1 for count in asked.values()),
        kills=fleet.kills,
        errors=record.counts.errors,
        driver_seconds=time.process_time() - began - answering,
        bytes=size,
        scores=tuple(row.value for row in record.results),
    )


def _stored(folder: Path, suite: SimulatedRuler, pool: ReplicaPool, plan: SuitePlan) -> tuple[RunRecord, int]:
    """The record of the run, and the bytes of its samples."""
    facts = pool.first()
    pool.expect(facts.manifest)
    settings = RunSettings(42, {}, {}, (), time.perf_counter())
    with RunStore.open(folder, facts.manifest, resume=False) as store:
        record = run(suite, pool, store, settings, _Quiet(), plan)
        store.finish(record)
    return record, (folder / "samples.jsonl").stat().st_size


def _row(replicas: int, hours: float, outcome: Outcome, without_kills: Outcome) -> str:
    ideal, seconds = outcome.ideal_seconds, outcome.virtual_seconds - START_SECONDS
    same = "yes" if outcome.scores == without_kills.scores else "NO"
    cells = (
        f"{replicas:,}",
        "never" if hours == NEVER else f"{hours:g} h",
        f"{ideal:,.0f}",
        f"{seconds:,.0f}",
        f"{100 * ideal / seconds:.0f} %",
        f"{outcome.kills:,}",
        f"{outcome.asked_twice:,}",
        f"{outcome.errors:,}",
        same,
        f"{outcome.samples / outcome.driver_seconds:,.0f}",
        f"{outcome.samples / outcome.virtual_seconds:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--samples", type=int, default=500, help="per task and length")
    parser.add_argument("--hours-between-kills", type=float, nargs="*", default=[10.0, 1.0, 0.1], help="per replica")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    print("| replicas | killed after | ideal: s | simulated: s | share | kills | asked again | errors | same scores | "
          "driver: rows/s of CPU | rows/s |")  # fmt: skip
    print(f"|{' ---: |' * 11}")
    for replicas in arguments.replicas:
        undisturbed = simulate(replicas, arguments.samples, NEVER, arguments.seed)
        print(_row(replicas, NEVER, undisturbed, undisturbed), flush=True)
        for hours in arguments.hours_between_kills:
            killed = simulate(replicas, arguments.samples, hours, arguments.seed)
            print(_row(replicas, hours, killed, undisturbed), flush=True)
    print(f"\nbytes per line: {undisturbed.bytes / undisturbed.samples:,.0f} (real: {LINE_BYTES:,})")


if __name__ == "__main__":
    main()
