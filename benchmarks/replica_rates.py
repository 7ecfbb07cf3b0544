"""Run an evalkit command in this process, and measure its replicas as its driver sees them.

python benchmarks/replica_rates.py --json one.json -- ruler --ctx 4096 --model ./my-model --replicas 1
python benchmarks/replica_rates.py --against one.json -- ruler --ctx 4096 --model ./my-model --replicas 2
python benchmarks/replica_rates.py --against one.json --kill-at 12 -- ruler --ctx 4096 --model ./my-model --replicas 2

A replica's window at a context length lasts from its first prompt of that length to its last answer, so that start-up
is outside. Its rate is its answers per minute of the window. Efficiency at a length is the mean rate of the replicas
over the rate in --against; that of the run, with the time in which a replica waits for the last answers of others, is
the time that N times the rate in --against would take, over the time from the first prompt to the last answer.

`--most 65536=48` leaves out samples of a length beyond that number. `--kill-at 12` kills the process of the replica
that joined last, 12 s after the first prompt. Without --replicas the model in this process is measured, as replica 0.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evalkit.cli.shared import suite_run
from evalkit.records import RunRecord, SampleKey, SampleRecord, SuitePlan
from evalkit.running.replicas.fleet import Event, Gone, Joined, Report
from evalkit.running.runner import RunObserver
from evalkit.running.runner import run as carry_out
from model_adapters.replicas import ray_fleet


@dataclass(slots=True)
class Log:
    """What happened when, in seconds since the start."""

    began: float = field(default_factory=time.perf_counter)
    began_at: float = field(default_factory=time.time)
    """The start, as seconds of the epoch."""
    joined: dict[int, float] = field(default_factory=dict)
    lost: dict[int, float] = field(default_factory=dict)
    sent: list[tuple[float, int, str]] = field(default_factory=list)
    """Time, replica and sample id of each prompt."""
    ended: list[tuple[float, int, str, int]] = field(default_factory=list)
    """Time, replica, sample id and context length of each answer."""
    cpu: list[tuple[float, float]] = field(default_factory=list)
    """Time, and processor seconds of this process so far."""
    killed: tuple[float, int] | None = None
    replicas: int = 1
    """Replicas of the run, those that took the place of others not counted."""

    def now(self) -> float:
        return time.perf_counter() - self.began

    def send(self, replica: int, sample_id: str) -> None:
        self.sent.append((self.now(), replica, sample_id))
        self._count()

    def end(self, replica: int, record: SampleRecord) -> None:
        self.ended.append((self.now(), replica, record.id, record.ctx))
        self._count()

    def take(self, event: Event) -> None:
        """Add what a replica reports."""
        match event:
            case Joined(number):
                self.joined[number] = self.now()
            case Gone(number):
                self.lost[number] = self.now()
            case Report(number, started, records):
                for sample_id in started:
                    self.send(number, sample_id)
                for record in records:
                    self.end(number, record)

    def cpu_between(self, start: float, end: float) -> float:
        """Processor seconds of this process between two times, from the nearest notes."""
        inside = [cpu for at, cpu in self.cpu if start <= at <= end]
        return inside[-1] - inside[0] if inside else 0.0

    def _count(self) -> None:
        if not self.cpu or self.now() - self.cpu[-1][0] >= 0.05:
            self.cpu.append((self.now(), time.process_time()))


LOG = Log()


class WatchedFleet(ray_fleet.RayFleet):
    """A RayFleet whose events are logged, and one of whose replicas is killed."""

    kill_at: float | None = None
    """Seconds after the first prompt."""

    def receive(self, seconds: float) -> list[Event]:
        LOG.replicas = self._job.replicas
        events = super().receive(seconds)
        for event in events:
            LOG.take(event)
        is_due = self.kill_at is not None and LOG.sent and LOG.now() - LOG.sent[0][0] >= self.kill_at
        if is_due and LOG.killed is None:
            victim = max(LOG.joined, key=LOG.joined.__getitem__)
            LOG.killed = LOG.now(), victim
            os.kill(self.process(victim), signal.SIGKILL)
        return events


@dataclass(frozen=True, slots=True)
class WatchedObserver:
    """Logs the samples of the model in this process."""

    inner: RunObserver

    def started(self, plan: SuitePlan, pending: Sequence[SampleKey]) -> None:
        self.inner.started(plan, pending)

    def prompt_sent(self, key: SampleKey) -> None:
        LOG.send(0, key.id)
        self.inner.prompt_sent(key)

    def sample_ended(self, record: SampleRecord) -> None:
        LOG.end(0, record)
        self.inner.sample_ended(record)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--against", type=Path, help="measurements of one replica")
    parser.add_argument("--most", action="append", default=[], metavar="CTX=N", help="samples of a length")
    parser.add_argument(
        "--kill-at", type=float, metavar="SECONDS", help="kill a replica so long after the first prompt"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the arguments of evalkit")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    most = {int(ctx): int(count) for ctx, _, count in (each.partition("=") for each in options.most)}
    watch(most, options.kill_at)
    # A time limit ends the command like a user, so that what was measured is still printed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = run(command)
    found = measurements()
    if options.json is not None:
        options.json.write_text(json.dumps(found | {"log": log_of(LOG)}))
    show(found, None if options.against is None else json.loads(options.against.read_text()))
    return code


def run(command: list[str]) -> int:
    """Run evalkit with these arguments; returns its exit code."""
    from evalkit.cli import main as evalkit

    sys.argv = ["evalkit", *command]
    try:
        evalkit()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def watch(most: dict[int, int], kill_at: float | None) -> None:
    """Have the commands of this process log what their replicas do."""
    prepare = suite_run._prepare

    def prepared(*arguments: Any) -> Any:
        whole = prepare(*arguments)
        return replace(whole, plan=limited(whole.plan, most))

    def watched(
        suite: Any, answerer: Any, store: Any, settings: Any, observer: RunObserver, plan: SuitePlan
    ) -> RunRecord:
        inner = observer if answerer.replicas() else WatchedObserver(observer)
        return carry_out(suite, answerer, store, settings, inner, plan)

    WatchedFleet.kill_at = kill_at
    suite_run.run, suite_run._prepare = watched, prepared  # type: ignore[attr-defined, assignment]
    ray_fleet.RayFleet = WatchedFleet  # type: ignore[misc]


def limited(plan: SuitePlan, most: dict[int, int]) -> SuitePlan:
    """The plan with at most so many samples of each length, the first of all tasks."""
    keys, left = [], dict(most)
    for key in sorted(plan.keys, key=lambda key: key.index):
        if left.get(key.ctx, 1) > 0:
            keys.append(key.id)
            left[key.ctx] = left.get(key.ctx, len(plan.keys)) - 1
    kept = set(keys)
    return replace(plan, keys=tuple(key for key in plan.keys if key.id in kept))


def measurements() -> dict[str, Any]:
    """What the log says, by context length in the order of the run."""
    ctx_of = {sample_id: ctx for _, _, sample_id, ctx in LOG.ended}
    lengths = sorted(set(ctx_of.values()), reverse=True)
    found = [at_length(ctx, ctx_of) for ctx in lengths]
    first = min((at for at, _, _ in LOG.sent), default=0.0)
    return {
        "began_at": LOG.began_at,
        "replicas": LOG.replicas,
        "joined": LOG.joined,
        "lost": LOG.lost,
        "killed": LOG.killed,
        "first_prompt": first,
        "answers": len(LOG.ended),
        "asked_again": len(LOG.sent) - len({sample_id for _, _, sample_id in LOG.sent}),
        "seconds_from_first_prompt": max((at for at, *_ in LOG.ended), default=first) - first,
        "lengths": found,
    }


def at_length(ctx: int, ctx_of: dict[str, int]) -> dict[str, Any]:
    """The windows and rates of all replicas at one context length."""
    replicas = []
    for number in sorted({number for _, number, _, of in LOG.ended if of == ctx}):
        sent = min(at for at, of, sample_id in LOG.sent if of == number and ctx_of.get(sample_id) == ctx)
        ends = [at for at, of, _, length in LOG.ended if of == number and length == ctx]
        # A prompt may be sent while the last ones of the length before are still being answered.
        before = {sample_id for at, of, sample_id in LOG.sent if of == number and at < sent}
        others = [at for at, of, sample_id, _ in LOG.ended if of == number and sample_id in before and at < min(ends)]
        start = max([sent, *others])
        seconds = max(ends) - start
        replicas.append(
            {"replica": number, "samples": len(ends), "start": start, "seconds": seconds,
             "per_minute": 60 * len(ends) / seconds}
        )  # fmt: skip
    start, end = min(one["start"] for one in replicas), max(one["start"] + one["seconds"] for one in replicas)
    return {
        "ctx": ctx,
        "replicas": replicas,
        "samples": sum(one["samples"] for one in replicas),
        "seconds": end - start,
        "per_minute": sum(one["per_minute"] for one in replicas),
        "driver_cpu_share": LOG.cpu_between(start, end) / (end - start),
    }


def log_of(log: Log) -> dict[str, Any]:
    return {"sent": log.sent, "ended": log.ended, "cpu": log.cpu}


def show(found: dict[str, Any], one: dict[str, Any] | None) -> None:
    """Print the measurements, and the efficiency against those of one replica."""
    joined = ", ".join(f"{number} after {at:.1f} s" for number, at in found["joined"].items())
    print(f"replicas joined: {joined or 'none'}; first prompt after {found['first_prompt']:.1f} s of this process")
    if found["killed"]:
        at, number = found["killed"]
        print(f"replica {number} killed {at - found['first_prompt']:.1f} s after the first prompt")
    seconds = found["seconds_from_first_prompt"]
    print(
        f"{found['answers']} answers within {seconds:.1f} s of the first prompt, "
        f"{found['asked_again']} prompts sent twice"
    )
    alone = {} if one is None else {length["ctx"]: length["per_minute"] for length in one["lengths"]}
    for length in found["lengths"]:
        print(
            f"{length['ctx']:>7,} tokens: {length['samples']} samples, {length['per_minute']:.1f} per minute; driver "
            f"{length['driver_cpu_share']:.1%} of a processor"
        )
        for each in length["replicas"]:
            rate = f"{each['samples']} in {each['seconds']:.1f} s, {each['per_minute']:.1f} per minute"
            print(f"        replica {each['replica']}: {rate}")
        if length["ctx"] in alone:
            mean = length["per_minute"] / len(length["replicas"])
            print(f"        efficiency: {mean:.1f} per replica, {mean / alone[length['ctx']]:.1%} of one alone")
    if alone:
        ideal = sum(60 * length["samples"] / alone[length["ctx"]] for length in found["lengths"]) / found["replicas"]
        print(
            f"the run: {ideal:.1f} s at the rates of {found['replicas']} replicas that never wait, {seconds:.1f} s in "
            f"fact: efficiency {ideal / seconds:.1%}, {seconds - ideal:.1f} s lost"
        )


if __name__ == "__main__":
    sys.exit(main())
