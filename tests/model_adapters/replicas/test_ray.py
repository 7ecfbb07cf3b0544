"""Replicas on a real Ray instance of this machine, started once: the answers of one process, whatever is killed."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.records import SampleKey, SampleRecord
from evalkit.running.answering import OneModel
from evalkit.running.model_options import ModelOptions
from evalkit.running.replicas.pool import ReplicaPool
from evalkit.running.store import read_run, read_samples
from evalkit.suite_spec import Reader
from model_adapters.opening import open_model
from model_adapters.replicas.ray_cluster import _connected, ray_cluster
from model_adapters.replicas.ray_fleet import RayFleet
from model_adapters.replicas.worker import Job
from suites.state_tracking import SPEC
from tests.evalkit.running.replicas.simulation import Sink
from tests.evalkit.scripts import asked, write_script
from tests.support import Evalkit

SETTINGS = SPEC.read({"tasks": "parity", "updates": "4,8", "samples": 30, "shots": 1})
ANSWERS = {"match": "parity:*", "text": "even", "wait_seconds": 0.02}


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_cluster(None, least_cpus=3):
        yield


def of_one_process(script: str) -> tuple[tuple[SampleKey, ...], dict[str, SampleRecord]]:
    opened, sink = open_model(ModelOptions(script)), Sink()
    suite = SPEC.build(SETTINGS, Reader(opened.tokenizer))
    keys = suite.plan().keys
    OneModel(suite, opened.make_adapter()).answer(keys, sink)
    return keys, sink.records


def test_killed_processes_change_no_answer_and_repeat_only_what_was_in_flight(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", ANSWERS, log="asked")
    fleet = RayFleet(Job("track", SETTINGS, ModelOptions(script, device="cpu"), replicas=2), cpus=1.0)
    notes: list[str] = []
    pool = ReplicaPool(fleet, 2, note=notes.append)
    pool.first()

    def kill(record: SampleRecord) -> None:
        if record.replica and len(sink.records) in (5, 20):
            os.kill(fleet.process(record.replica), signal.SIGKILL)

    sink = Sink(kill)
    keys, right = of_one_process(script)
    (tmp_path / "asked").unlink()
    pool.answer(keys, sink)
    fleet.close()
    assert {name: replace(record, replica=0) for name, record in sink.records.items()} == right
    lost = [use for use in pool.replicas() if use.lost]
    assert [use.lost for use in lost] == ["its process died"] * 2
    assert [note.rpartition(": ")[2] for note in notes] == ["its process died"] * 2
    repeated = Counter(asked(tmp_path / "asked")).total() - len(keys)
    assert repeated <= 4, "in each replica one sample was in flight, and one answer on its way"


def test_a_run_on_replicas_is_that_of_one_process_and_its_driver_opens_no_model(
    evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = "track --tasks parity --updates 4 --samples 8 --shots 1 --model"
    script = write_script(tmp_path / "script", ANSWERS)
    evalkit(command, script, "--out", "one")

    def opened(*_: object) -> None:
        raise AssertionError("the driver opens a model")

    monkeypatch.setattr("model_adapters.opening.open_model", opened)
    shown = evalkit(command, script, "--out", "many", "--replicas", "2")
    assert "replicas: 2, 1 CPU each, on 1 host" in shown.err
    # The first to be ready may have answered everything before the other has loaded its model.
    assert re.search(r"^replicas +[12] on 1 host, busy \d+% of the time$", shown.out, re.MULTILINE)
    one, many = read_run(Path("one")), read_run(Path("many"))
    assert (many.results, many.summary) == (one.results, one.summary)
    (session,) = many.sessions
    assert sum(use.samples for use in session.replicas) == 8
    assert all(use.hardware.endswith(" for 2 replicas") for use in session.replicas)
    lines = {line.id: replace(line, replica=0) for line in read_samples(Path("many"))}
    assert lines == {line.id: line for line in read_samples(Path("one"))}


@pytest.mark.parametrize(
    ("address", "reason"), [("127.0.0.1:1", "Connection refused"), ("ray://head:1", "write host:port, and run")]
)
def test_a_cluster_that_cannot_be_reached_is_one_line(address: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"^the Ray cluster at {address} cannot be reached: .*{reason}"):
        _connected(address).__enter__()
