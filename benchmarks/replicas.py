"""What replicas cost and survive, with scripted models and with the reference model, on Ray and in threads.

python benchmarks/replicas.py rate      # 64 replicas in threads, answers of 50 ms: share of the ideal rate
python benchmarks/replicas.py store     # 100,000 samples through pool, session and store: samples per second, memory
python benchmarks/replicas.py speedup   # reference:hybrid on one and two Ray replicas of one thread each
python benchmarks/replicas.py kills     # 100 killed processes of 4 Ray replicas: answers, and what was asked again

`benchmarks/sigkill.py --replicas 2` kills the driver. Prints what was measured, with the load of the machine; exits 1
if an answer differs or a bound is missed.
"""

import argparse
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.records import Environment, SampleKey, SampleRecord, SuitePlan
from evalkit.running.answering import OneModel
from evalkit.running.model_options import ModelOptions
from evalkit.running.replicas.fleet import ReplicaFacts
from evalkit.running.replicas.pool import ReplicaPool
from evalkit.running.replicas.simulated import SimulatedFleet
from evalkit.running.runner import RunSettings, manifest_of, run
from evalkit.running.store import RunStore
from evalkit.suite_spec import Reader, find_suite
from model_adapters.opening import open_model
from model_adapters.replicas.ray_cluster import ray_cluster
from model_adapters.replicas.thread_fleet import ThreadFleet
from model_adapters.replicas.worker import Job

QUESTIONS = {"tasks": "parity", "updates": "4", "shots": 1}
REFERENCE = {"ctx": "1024", "tasks": "niah_single_1,niah_single_2,niah_multikey_1", "samples": 8}
LEAST_SHARE, LEAST_STORED, MOST_WALL = 0.9, 2_000, 0.6


class Sink:
    """Keeps records; `on_end` is called with each."""

    def __init__(self, on_end: Callable[[SampleRecord], object] = id) -> None:
        self.records: dict[str, SampleRecord] = {}
        self._on_end = on_end

    def sent(self, key: SampleKey) -> None:
        pass

    def ended(self, record: SampleRecord) -> None:
        self.records[record.id] = replace(record, replica=0, prefill_seconds=None, decode_seconds=None)
        self._on_end(record)


class Observer:
    """Watches a run, and does nothing."""

    def started(self, *_: object) -> None: ...
    def prompt_sent(self, *_: object) -> None: ...
    def sample_ended(self, *_: object) -> None: ...


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["rate", "store", "speedup", "kills"])
    parser.add_argument("--samples", type=int, help="number of samples")
    parser.add_argument("--rounds", type=int, default=3, help="of the speed-up, of which the quickest counts")
    parser.add_argument("--kills", type=int, default=100, help="of replicas")
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores")
    measure = {"rate": rate, "store": store, "speedup": speedup, "kills": kills}[options.what]
    ok = measure(options)
    print(f"load after: {os.getloadavg()[0]:.1f}")
    return 0 if ok else 1


def rate(options: argparse.Namespace) -> bool:
    samples, wait = options.samples or 12_800, 0.05
    with script({"match": "*", "text": "even", "wait_seconds": wait}) as model:
        settings = find_suite("track").read({**QUESTIONS, "samples": samples})
        pool = ReplicaPool(ThreadFleet(Job("track", settings, ModelOptions(model))), 64)
        pool.wait(64)
        keys, sink = suite_of("track", settings, model)[1].keys, Sink()
        started, cpu = time.perf_counter(), time.process_time()
        pool.answer(keys, sink)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    share = samples * wait / 64 / seconds
    print(
        f"{samples:,} samples on 64 replicas in threads: {samples / seconds:,.0f}/s, {share:.1%} of the ideal rate, "
        f"{cpu / samples * 1e3:.2f} ms of processor time per sample for all replicas and the driver"
    )
    return share >= LEAST_SHARE


def store(options: argparse.Namespace) -> bool:
    samples = options.samples or 100_000
    settings = find_suite("ruler").read({"ctx": "4096", "tasks": "niah_single_2", "samples": 1})
    with script({"match": "*", "text": "1234567"}) as model, tempfile.TemporaryDirectory() as folder:
        suite, plan, opened = suite_of("ruler", settings, model)
        sink = Sink()
        OneModel(suite, opened.make_adapter()).answer(plan.keys, sink)
        (typical,) = sink.records.values()
        keys = tuple(replace(plan.keys[0], index=index) for index in range(samples))
        plan = replace(plan, keys=keys)
        engine = opened.make_adapter().describe()
        manifest = manifest_of(suite, plan, opened.identity).answered_by(engine, "0")
        facts = ReplicaFacts("host", "cpu", Environment(), opened.identity, manifest, engine)
        fleet = SimulatedFleet(
            lambda key: replace(pickle.loads(pickle.dumps(typical)), id=key.id, index=key.index),
            facts,
            seconds=lambda _: 0.001,
            slots=8,
        )
        pool = ReplicaPool(fleet, 64, clock=fleet.clock)
        pool.first()
        measured = Memory()
        with RunStore.open(Path(folder) / "run", manifest, resume=False) as stored:
            cpu = time.process_time()
            run(suite, pool, stored, RunSettings(0, {}, {}, (), time.perf_counter()), measured, plan)
        seconds = measured.ended_at - measured.started_at
        size = (Path(folder) / "run" / "samples.jsonl").stat().st_size
    print(
        f"{samples:,} samples of {size / samples:,.0f} bytes: {samples / seconds:,.0f}/s through the driver, "
        f"{(measured.cpu_at - cpu) / samples * 1e3:.2f} ms of processor time each, the simulated fleet's included"
    )
    for count, bytes_ in measured.resident:
        print(f"  after {count:>7,}: {bytes_ / 2**20:,.0f} MiB resident")
    return samples / seconds >= LEAST_STORED


class Memory(Observer):
    """Notes the resident memory of the process while samples end, and the time of the last."""

    def __init__(self) -> None:
        self.resident: list[tuple[int, int]] = []
        self.ended = 0
        self.started_at = self.ended_at = self.cpu_at = 0.0

    def started(self, *_: object) -> None:
        self.started_at = time.perf_counter()

    def sample_ended(self, *_: object) -> None:
        self.ended += 1
        self.ended_at, self.cpu_at = time.perf_counter(), time.process_time()
        if self.ended % 20_000 == 0 or self.ended == 1_000:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.resident.append((self.ended, pages * resource.getpagesize()))


def speedup(options: argparse.Namespace) -> bool:
    from model_adapters.replicas.ray_fleet import RayFleet

    settings = find_suite("ruler").read({**REFERENCE, **({"samples": options.samples} if options.samples else {})})
    model = ModelOptions("reference:hybrid", device="cpu", skip_preflight=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    suite, plan, opened = suite_of("ruler", settings, model.model)
    alone = Sink()
    OneModel(suite, opened.make_adapter()).answer(plan.keys, alone)
    with ray_cluster(None, least_cpus=3):
        fleets = {count: RayFleet(Job("ruler", settings, model, replicas=count), cpus=1.0) for count in (1, 2)}
        pools = {count: ReplicaPool(fleet, count) for count, fleet in fleets.items()}
        for count, pool in pools.items():
            pool.wait(count)
        processes = {count: [fleets[count].process(number) for number in pools[count].working] for count in pools}
        started = {process: cpu_seconds(process) for of in processes.values() for process in of}
        rounds = [{count: timed(pool, plan) for count, pool in pools.items()} for _ in range(options.rounds)]
        worked = {
            count: [(cpu_seconds(process) - started[process]) / options.rounds for process in processes[count]]
            for count in pools
        }
        for fleet in fleets.values():
            fleet.close()
    equal = all(sink.records == alone.records for walls in rounds for _, sink in walls.values())
    # The quickest of each, because other programs only add to it.
    one, two = (min(walls[count][0] for walls in rounds) for count in (1, 2))
    print("seconds of one and two replicas:", "; ".join(f"{w[1][0]:.1f}, {w[2][0]:.1f}" for w in rounds))
    print("processor seconds per round:", {count: [round(each, 1) for each in of] for count, of in worked.items()})
    print(f"wall of two / wall of one: {two / one:.2f}; answers equal those of one process: {equal}")
    return equal and two / one <= MOST_WALL


def cpu_seconds(process: int) -> float:
    """Processor seconds of a process so far, its start included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(pool: ReplicaPool, plan: SuitePlan) -> tuple[float, Sink]:
    """Seconds to answer the plan, and the records."""
    sink, started = Sink(), time.perf_counter()
    pool.answer(plan.keys, sink)
    return time.perf_counter() - started, sink


def kills(options: argparse.Namespace) -> bool:
    from model_adapters.replicas.ray_fleet import RayFleet

    samples, drawn = options.samples or 1_500, random.Random(0)
    with script({"match": "*", "text": "even", "wait_seconds": 0.05}, log="asked") as model:
        asked = Path(model.removeprefix("scripted:")).parent / "asked"
        settings = find_suite("track").read({**QUESTIONS, "samples": samples})
        _, plan, _ = suite_of("track", settings, model)
        killed: dict[int, int] = {}
        """How many samples had ended when a replica was killed, by its number."""

        def kill(record: SampleRecord) -> None:
            is_due = len(sink.records) >= max(killed.values(), default=0) + 10 and len(killed) < options.kills
            if record.replica and is_due and (alive := [one for one in pool.working if one not in killed]):
                victim = drawn.choice(alive)
                killed[victim] = len(sink.records)
                os.kill(fleet.process(victim), signal.SIGKILL)

        with ray_cluster(None, least_cpus=4):
            fleet = RayFleet(Job("track", settings, ModelOptions(model, device="cpu"), replicas=4), cpus=1.0)
            pool, sink = ReplicaPool(fleet, 4), Sink(kill)
            pool.first()
            pool.answer(plan.keys, sink)
            fleet.close()
        repeated = Counter(asked.read_text().split()).total() - samples
        errors = sum(record.error is not None for record in sink.records.values())
        lost = sum(use.lost is not None for use in pool.replicas())
        same = all(record.prediction == "even" for record in sink.records.values())
        print(f"{samples:,} samples on 4 Ray replicas, {lost} of them killed: {errors} errors, {repeated} asked again")
    return same and not errors and repeated <= 2 * lost  # one in flight, and one answer on its way


def suite_of(name: str, settings: Any, model: str) -> tuple[Any, SuitePlan, Any]:
    """The suite on the model's tokenizer, its plan, and the opened model."""
    opened = open_model(ModelOptions(model, device="cpu", skip_preflight=True))
    suite = find_suite(name).build(settings, Reader(opened.tokenizer))
    return suite, suite.plan(), opened


@contextmanager
def script(*rules: dict[str, Any], **model: Any) -> Iterator[str]:
    """The --model of a scripted model in a temporary folder."""
    import json

    folder = Path(tempfile.mkdtemp(prefix="evalkit-replicas-"))
    try:
        lines = [*([{"model": model}] if model else []), *rules]
        (folder / "script").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        yield f"scripted:{folder / 'script'}"
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
