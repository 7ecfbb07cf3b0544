"""A replica: it loads the model, makes its own prompts, and answers and scores the samples that it is sent."""

import platform
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit import __version__
from evalkit.records import EngineDescription, Environment, SampleKey, SampleRecord
from evalkit.records.sessions import hardware_of
from evalkit.running.answering import answer, prepared_ahead
from evalkit.running.environment import describe_environment
from evalkit.running.model_options import ModelOptions
from evalkit.running.replicas.fleet import Joined, ReplicaFacts, Report
from evalkit.running.runner import manifest_of
from evalkit.suite_spec import Reader, find_suite, readable_tokens

GPU_SLOTS, CPU_SLOTS = 32, 4
"""Sequences decoded together, as long as the engine has not planned how many."""
LINGER_SECONDS = 0.01
"""Time for which news are collected: an answer and the next prompt are one message. Replicas have work meanwhile."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every replica of a run is started with."""

    suite: str
    settings: Any
    """Settings of the suite."""
    options: ModelOptions
    gpus: float = 0.0
    """GPUs of each replica; 0 on a CPU."""
    replicas: int = 1
    """Number of replicas in all."""


class Feed:
    """The samples that a replica was sent, as an iterator that ends when there are none for now.

    The adapter therefore never waits with answers that it has begun; after the end, the iterator goes on if more came.
    """

    def __init__(self) -> None:
        self._keys: deque[SampleKey] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, keys: Sequence[SampleKey]) -> None:
        """Add samples."""
        with self._changed:
            self._keys.extend(keys)
            self._changed.notify_all()

    def close(self) -> None:
        """Drop the samples that are not begun, and end the wait for others."""
        with self._changed:
            self._keys.clear()
            self._closed = True
            self._changed.notify_all()

    def wait(self) -> bool:
        """Wait for a sample; False once the feed is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._keys or self._closed)
            return not self._closed

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> SampleKey:
        with self._changed:
            if not self._keys:
                raise StopIteration
            return self._keys.popleft()


class ReplicaWorker:
    """One replica, on any transport; its model works in a thread of its own."""

    def __init__(self, job: Job, number: int, notify: Callable[[int], object] = int) -> None:
        """Load the model; `notify` is called with the number whenever there is news. Raises as `open_model`."""
        from model_adapters.opening import memory_forecast, open_model

        self.number = number
        self._notify = notify
        contexts = job.settings.contexts()
        limit_memory(job.gpus)
        memory_forecast(job.options, max(contexts, default=0))
        opened = open_model(job.options, contexts)
        reader = Reader(opened.tokenizer, readable_tokens(opened.identity), job.options.chat_options)
        self._suite = find_suite(job.suite).build(job.settings, reader)
        plan = self._suite.plan()
        self._adapter = opened.make_adapter()
        self._prepared_ahead = prepared_ahead(plan.keys)
        self._engine, self._memory = self._adapter.describe(), self._adapter.memory()
        environment = describe_environment(self._engine.device or "")
        facts = ReplicaFacts(
            host=platform.node(),
            hardware=_hardware(environment, self._engine, job),
            environment=environment,
            identity=opened.identity,
            manifest=manifest_of(self._suite, plan, opened.identity).answered_by(self._engine, __version__),
            engine=self._engine,
            tokens_seen=opened.tokens_seen,
            warnings=opened.warnings,
            preflight=opened.preflight,
            log_probabilities=opened.log_probabilities,
        )
        self.joined = Joined(number, facts, self._ahead())
        self._feed = Feed()
        self._started: list[str] = []
        self._records: list[SampleRecord] = []
        self._broken: str | None = None
        self._news = threading.Condition()
        threading.Thread(target=self._work, name=f"replica-{number}", daemon=True).start()

    def give(self, keys: Sequence[SampleKey]) -> None:
        """Samples to answer."""
        self._feed.put(keys)

    def news(self, seconds: float) -> Report:
        """What has happened since the last call; waits at most `seconds` for something to happen."""
        with self._news:
            came = self._news.wait_for(lambda: self._started or self._records or self._broken, seconds)
        if came and seconds:
            time.sleep(LINGER_SECONDS)
        with self._news:
            report = Report(
                self.number,
                tuple(self._started),
                tuple(self._records),
                self._engine,
                self._memory,
                self._ahead(),
                self._broken,
            )
            self._started, self._records = [], []
        return report

    def close(self) -> None:
        """End after the samples that are begun."""
        self._feed.close()

    def sent(self, key: SampleKey) -> None:
        with self._news:
            self._started.append(key.id)
            # An engine plans how many sequences it decodes together at its first request, long before its first answer.
            self._engine = self._adapter.describe()
            self._news.notify_all()
        self._notify(self.number)

    def ended(self, record: SampleRecord) -> None:
        with self._news:
            self._records.append(record)
            self._engine, self._memory = self._adapter.describe(), self._adapter.memory()
            self._news.notify_all()
        self._notify(self.number)

    def _work(self) -> None:
        try:
            while self._feed.wait():
                answer(self._suite, self._adapter, self._feed, self, ahead=self._prepared_ahead)
        except BaseException:  # noqa: BLE001  # the run that gave the samples raises it
            with self._news:
                self._broken = traceback.format_exc()
                self._news.notify_all()
            self._notify(self.number)

    def _ahead(self) -> int:
        unplanned = GPU_SLOTS if self._engine.device_type == "cuda" else CPU_SLOTS
        return (self._engine.batch_sequences or unplanned) + self._prepared_ahead


def limit_memory(gpus: float) -> None:
    """Keep a replica on a part of a GPU to that part of its memory, so that it leaves the others theirs."""
    if not 0 < gpus < 1:
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)


def _hardware(environment: Environment, engine: EngineDescription, job: Job) -> str:
    if environment.gpu is not None and engine.device_type == "cuda":
        return f"{environment.gpu.name} × {job.gpus:g}"
    alone = hardware_of(environment, engine)
    return f"{alone} for {job.replicas} replicas" if alone and job.replicas > 1 else alone
