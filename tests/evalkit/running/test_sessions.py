"""A run that several processes worked on lists them all, and its times and memory are of all of them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from evalkit.analysis.costs import compare_costs, describe_hardware
from evalkit.analysis.finished_run import load_run
from evalkit.analysis.pairing import pair_runs
from evalkit.errors import IncompatibleRunError
from evalkit.records import (
    EngineDescription,
    Environment,
    Gpu,
    MemoryUse,
    ReplicaUse,
    Request,
    RunRecord,
    SuiteSummary,
)
from evalkit.running.answering import OneModel
from evalkit.running.assembly import assemble
from evalkit.running.run_files import read_start
from evalkit.running.runner import run
from evalkit.running.store import MANIFEST, RUN, SAMPLES, SESSIONS, STARTED, RunStore, read_run
from model_adapters.scripted import Reply, ScriptedAdapter, ScriptedReply
from tests.evalkit.runs import Observer, manifest_of, run_in, settings
from tests.evalkit.tiny_suite import TinySuite, right_answer


class Machine(ScriptedAdapter):
    """A model on a named GPU, with a peak of memory."""

    def __init__(self, peak_bytes: int, replies: Callable[[Request], Reply] = right_answer) -> None:
        super().__init__(replies, prefill_seconds=0.5, decode_seconds=0.25)
        self.peak_bytes = peak_bytes

    def memory(self) -> MemoryUse:
        return MemoryUse(peak_bytes=self.peak_bytes, kv_bytes=self.peak_bytes // 2, method="scripted")

    def describe(self) -> EngineDescription:
        return EngineDescription(engine="scripted", device="cuda:0")


Run = Callable[..., RunRecord]


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `samples` of the tiny suite on a GPU, resuming an earlier run."""

    def run_samples(
        gpu: str,
        samples: int,
        adapter: ScriptedAdapter,
        *,
        folder: Path = tmp_path / "run",
        torch: str = "2.11.0",
        started_at: float | None = None,
        **changes: Any,
    ) -> RunRecord:
        environment = Environment(evalkit="0.1.0", libraries={"torch": torch, "datasets": None}, gpu=Gpu(gpu))
        monkeypatch.setattr("evalkit.running.answering.describe_environment", lambda device: environment)
        suite = TinySuite(samples=samples)
        asked = replace(settings(), started_at=perf_counter() if started_at is None else started_at, **changes)
        with RunStore.open(folder, manifest_of(suite, engine=adapter.describe()), resume=True) as store:
            record = run(suite, OneModel(suite, adapter), store, asked, Observer())
            store.finish(record)
        return record

    return run_samples


def test_times_and_memory_are_of_all_sessions(run_on: Run) -> None:
    first = run_on("H100", 3, Machine(900), started_at=perf_counter() - 100)
    record = run_on("H100", 5, Machine(400), started_at=perf_counter() - 20)
    assert [(s.number, s.samples, s.ended, s.hardware) for s in record.sessions] == [
        (1, 3, True, "H100 × 1"),
        (2, 2, True, "H100 × 1"),
    ]
    assert record.memory == MemoryUse(peak_bytes=900, kv_bytes=450, method="scripted")
    walls = [session.wall_seconds or 0 for session in record.sessions]
    assert [wall >= least for wall, least in zip(walls, (100, 20), strict=True)] == [True, True]
    assert record.timing.wall_seconds == pytest.approx(sum(walls))
    assert record.timing.first_prompt_seconds == first.timing.first_prompt_seconds
    assert record.timing.prefill_seconds == 5 * 0.5
    assert record.warnings == ()


def test_a_killed_process_is_listed_with_what_it_took(run_on: Run, tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if "/2/" in request.id:  # the state when the process is killed in its third sample
            shutil.copytree(tmp_path / "run", tmp_path / "killed")
        return right_answer(request)

    run_on("H100", 4, Machine(900, reply), started_at=perf_counter() - 100)
    record = run_on("H100", 4, Machine(400), folder=tmp_path / "killed")
    assert [(session.samples, session.ended) for session in record.sessions] == [(2, False), (2, True)]
    assert record.memory.peak_bytes == 900
    assert (record.timing.wall_seconds or 0) >= 100
    assert record.sessions[0].started_at is not None


def test_an_interrupted_process_is_listed_as_stopped(run_on: Run, tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if "/1/" in request.id:
            raise KeyboardInterrupt
        return right_answer(request)

    with pytest.raises(KeyboardInterrupt):
        run_on("H100", 3, Machine(900, reply))
    record = run_on("H100", 3, Machine(400))
    assert [(session.samples, session.ended) for session in record.sessions] == [(1, False), (2, True)]


def test_times_of_different_hardware_are_not_averaged_in_silence(run_on: Run, tmp_path: Path) -> None:
    run_on("H100", 3, Machine(900))
    record = run_on("A100", 5, Machine(400), torch="2.12.0")
    assert record.warnings == (
        "samples were answered on different hardware (H100 × 1; A100 × 1): times are a mixture",
        "samples were answered with different versions: torch 2.11.0 and 2.12.0",
    )
    assert describe_hardware(record) == "H100 × 1 and A100 × 1"
    mixed = load_run(tmp_path / "run")
    costs, reason = compare_costs(pair_runs(mixed, mixed))
    assert costs == ()
    assert reason is not None
    assert "BASE ran on H100 × 1 and A100 × 1, and times of different hardware are not averaged" in reason


def test_hardware_whose_samples_were_all_repeated_is_not_in_the_times(run_on: Run) -> None:
    run_on("A100", 2, Machine(900, lambda request: ScriptedReply(error="out of memory")))
    record = run_on("H100", 2, Machine(400))
    assert [(session.hardware, session.samples) for session in record.sessions] == [("A100 × 1", 0), ("H100 × 1", 2)]
    assert record.warnings == ()
    assert describe_hardware(record) == "H100 × 1"
    assert record.memory.peak_bytes == 900


def test_another_kind_of_device_is_refused(run_on: Run, tmp_path: Path) -> None:
    run_on("H100", 3, Machine(900))
    with pytest.raises(IncompatibleRunError, match="device: cuda -> cpu"):
        run_in(tmp_path / "run", TinySuite(samples=5), resume=True)


def test_with_nothing_to_ask_the_record_is_of_this_command(run_on: Run) -> None:
    first = run_on("H100", 3, Machine(900), config={"margin": 0.05}, config_passed={})
    adapter = Machine(400)
    again = run_on("A100", 3, adapter, config={"margin": 0.1}, config_passed={"margin": 0.1}, warnings=("odd",))
    assert not adapter.requests
    assert again.config == {**first.config, "margin": 0.1}
    assert (again.config_passed, again.warnings) == ({"margin": 0.1}, ("odd",))
    assert (again.sessions, again.timing, again.memory) == (first.sessions, first.timing, first.memory)


def as_earlier_version(folder: Path) -> None:
    """The files of a version that recorded neither sessions nor the engine."""
    (folder / SESSIONS).unlink()
    (folder / STARTED).unlink()
    if (folder / RUN).exists():
        record = json.loads((folder / RUN).read_text())
        for name in ("sessions", "question_settings", "planned", "unfinished"):
            del record[name]
        record |= {"schema": "evalkit.run/1", "derived": {}, "effective_length": None, "figures": []}
        record |= {"schema": "evalkit.run/1", "effective_length": None, "derived": {}}
        record["config"]["engine"] = record.pop("engine")
        (folder / RUN).write_text(json.dumps(record))
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in (
        "schema",
        "engine",
        "evalkit",
        "device",
        "gdn_kernel",
        "batch_invariant",
        "quantization",
        "position_scheme",
    ):
        del manifest[name]
    flat = {f"{role}:{name}": sha for role, names in manifest["corpora"].items() for name, sha in names.items()}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "corpora": flat}))
    samples = [json.loads(line) for line in (folder / SAMPLES).read_text().splitlines()]
    (folder / SAMPLES).write_text("".join(json.dumps({**sample, "session": 0}) + "\n" for sample in samples))


def test_a_run_of_an_earlier_version_is_continued_with_one_note(run_on: Run, tmp_path: Path) -> None:
    first = run_on("H100", 3, Machine(900))
    as_earlier_version(tmp_path / "run")
    record = run_on("H100", 5, Machine(400))
    (note,) = record.warnings
    assert "did not record position scheme, quantization, evalkit, engine, device: not compared" in note
    assert [(session.number, session.samples) for session in record.sessions] == [(0, 3), (1, 2)]
    assert record.memory.peak_bytes == 900
    assert record.sessions[0].wall_seconds == first.timing.wall_seconds
    assert run_on("H100", 6, Machine(400)).warnings == (), "from now on it is known"


def test_a_killed_run_of_an_earlier_version_has_unknown_times(run_on: Run, tmp_path: Path) -> None:
    run_on("H100", 3, Machine(900))
    (tmp_path / "run" / RUN).unlink()
    as_earlier_version(tmp_path / "run")
    record = run_on("H100", 5, Machine(400))
    assert [(session.number, session.samples) for session in record.sessions] == [(0, 3), (1, 2)]
    assert (record.timing.wall_seconds, record.memory.peak_bytes) == (None, None)
    assert record.warnings[1] == (
        "samples were answered on different hardware (hardware that was not recorded; H100 × 1): times are a mixture"
    )
    assert read_run(tmp_path / "run") == json_round_trip(record)


def json_round_trip(record: RunRecord) -> RunRecord:
    from evalkit.records.codec import to_json
    from evalkit.records.migration import read_record

    return read_record(RunRecord, to_json(record))


def test_settings_of_a_run_are_stored_before_its_first_sample(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        started = json.loads((tmp_path / STARTED).read_text())
        assert (started["planned"], started["config_passed"]) == (1, {"ctx": "512"})
        assert json.loads((tmp_path / SESSIONS).read_text())["sessions"][0]["samples"] == 0
        return right_answer(request)

    assert run_in(tmp_path, TinySuite(samples=1), ScriptedAdapter(reply)).results[0].value == 100.0


def test_times_of_replicas_on_different_hardware_are_not_averaged_in_silence(run_on: Run, tmp_path: Path) -> None:
    run_on("H100", 3, Machine(900))
    alone = load_run(tmp_path / "run")
    (session,) = alone.record.sessions
    kinds = ("H100 × 1", "H100 × 0.5", "A100 × 1")
    uses = tuple(ReplicaUse(n, "node", kind, samples=n - 1) for n, kind in enumerate(kinds, start=1))
    mixed = replace(alone, record=replace(alone.record, sessions=(replace(session, replicas=uses),)))
    # The first replica answered nothing.
    assert describe_hardware(mixed.record) == "H100 × 0.5 and A100 × 1"
    costs, reason = compare_costs(pair_runs(alone, mixed))
    assert costs == ()
    assert reason is not None
    assert "NEW ran on H100 × 0.5 and A100 × 1, and times of different hardware are not averaged" in reason
    warned = assemble(
        read_start(tmp_path / "run"), list(alone.samples.values()), SuiteSummary(()), mixed.record.sessions
    )
    assert "samples were answered on different hardware (H100 × 0.5; A100 × 1): times are a mixture" in warned.warnings
