"""Exports, each read back with the library of the tool that it is for."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.analysis.finished_run import load_run
from evalkit.analysis.foreign_results import read_foreign
from reports.exports import inspect_log
from tests.evalkit.run_factory import ERRORED, RunSpec, write_run
from tests.support import Evalkit

SCORES: dict[tuple[str, int], Any] = {("vt", 4096): [1.0, 0.0, 1.0, 1.0], ("cwe", 65536): [0.5, 0.2, ERRORED]}
PARTIAL = "part of the suite: 65,536 (1 task)"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run", RunSpec(SCORES, model="lab/<b>m</b>", effective_length=4096))
    record = json.loads((folder / "run.json").read_text())
    session = {"number": 1, "started_at": "2026-05-03T23:59:30Z", "wall_seconds": 45.0, "ended": True}
    (folder / "run.json").write_text(json.dumps({**record, "sessions": [session]}))
    return folder


def test_the_hubs_results(run: Path, evalkit: Evalkit) -> None:
    from huggingface_hub import parse_eval_result_entries

    assert "name it with --dataset ORG/NAME" in evalkit.refuses("export hub run --out model")
    evalkit("export hub run --out model --dataset lab/ruler --tasks --source-url https://example.org/r")
    entries = parse_eval_result_entries(yaml.safe_load(Path("model/.eval_results/evalkit-ruler.yaml").read_text()))
    assert {entry.task_id: entry.value for entry in entries} == {
        "ruler_4096": 75.0,
        "ruler_65536": 35.0,
        "vt_4096": 75.0,
        "cwe_65536": 35.0,
    }
    assert {(entry.dataset_id, entry.date, entry.source_url) for entry in entries} == {
        ("lab/ruler", "2026-05-04T00:00:15Z", "https://example.org/r")
    }
    for entry in entries:
        assert all(part in entry.notes for part in ("n=", "dialect nvidia", PARTIAL))


def test_a_model_card_is_updated_in_place(run: Path, evalkit: Evalkit) -> None:
    from huggingface_hub import ModelCard

    shown = evalkit("export card run").out
    assert "| ruler | 4,096 | 75.0 [" in shown
    assert PARTIAL in shown
    assert "<b>" not in shown.replace("\\<b>", "")
    card = "---\nlicense: apache-2.0\n---\n# Model\n\ntext\n"
    Path("README.md").write_text(card)
    for _ in range(2):
        evalkit("export card run --readme README.md")
    text = Path("README.md").read_text()
    assert text.startswith(card)
    assert text.count("## Evaluation") == 1
    assert ModelCard(text).data.license == "apache-2.0"
    Path("README.md").write_text(text + "after\n")
    evalkit("export card run --readme README.md")
    assert Path("README.md").read_text() == text + "after\n"


def test_lm_evals_results(run: Path, evalkit: Evalkit) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    evalkit("export lm-eval run --out results.json")
    written = json.loads(Path("results.json").read_text())
    assert written["results"]["ruler_vt"]["4096,none"] == 0.75
    assert written["results"]["ruler_vt"]["4096_stderr,none"] == pytest.approx(0.25)
    assert written["config"]["evalkit"][0]["part_of_suite"] == PARTIAL
    assert written["n-samples"]["ruler_cwe"] == {"original": 3, "effective": 2}
    table = utils.make_table(written)
    assert "|ruler_vt" in table
    assert "0.75|" in table
    rows = {(row.task, row.ctx): (row.value, row.n) for row in read_foreign(Path("results.json")).rows}
    assert rows == {("ruler_vt", 4096): (75.0, 4), ("ruler_cwe", 65536): (35.0, 2)}


@pytest.mark.parametrize("command", ["lm-eval runs --out x.json", "card runs", "hub runs --dataset a/b --out model"])
def test_a_result_of_one_model_is_not_made_of_several(command: str, evalkit: Evalkit) -> None:
    """One row would replace the other, or stand beside it without a word about which model it is of."""
    write_run(Path("runs/a"), RunSpec(SCORES, model="one"))
    write_run(Path("runs/b"), RunSpec({("text", 512): [0.5]}, model="two", suite="loss", metric="bits_per_byte"))
    assert "these runs are of one, two; name those of one" in evalkit.refuses(f"export {command}")
    write_run(Path("runs/b"), RunSpec({("qa_1", 512): [1.0]}, model="one", weights="trained on", suite="loss"))
    assert "these runs are of one (" in evalkit.refuses(f"export {command}")
    write_run(Path("runs/b"), RunSpec({("vt", 4096): [1.0]}, model="one", dialect="olmes"))
    said = evalkit.refuses(f"export {command}")
    assert "runs/a and runs/b both have ruler/vt@4096; name one of them" in said
    write_run(Path("runs/b"), RunSpec({("qa_1", 512): [1.0]}, model="one", suite="track"))
    evalkit(f"export {command}")


def test_parquet(run: Path, evalkit: Evalkit) -> None:
    datasets = pytest.importorskip("datasets")
    assert evalkit("export parquet run --out samples.parquet").err == "wrote samples.parquet: 7 rows\n"
    rows = datasets.Dataset.from_parquet("samples.parquet", cache_dir="cache")
    stored = load_run(run)
    assert rows["id"] == list(stored.samples)
    assert rows["score"] == [sample.score for sample in stored.samples.values()]
    assert set(rows["model"]) == {"lab/<b>m</b>"}


def test_an_inspect_log(run: Path, evalkit: Evalkit) -> None:
    log = pytest.importorskip("inspect_ai.log")
    for name in ("logs/run.eval", "logs/run.json"):
        evalkit("export inspect run --out", name)
        read = log.read_eval_log(name)
        assert read.status == "success"
        metrics = read.results.scores[0].metrics
        assert metrics["ruler@4096"].value == 75.0
        assert metrics["ruler/effective_length"].value == 4096
        samples = {sample.id: sample for sample in read.samples}
        stored = load_run(run)
        assert samples.keys() == stored.samples.keys()
        for name_of, sample in stored.samples.items():
            scores = samples[name_of].scores
            assert (scores["evalkit"].value if scores else None) == sample.score
            assert samples[name_of].output.completion == sample.prediction
    assert "end in .eval or .json" in evalkit.refuses("export inspect run --out log.txt")


@pytest.mark.parametrize(("reason", "inspects"), [("stop", "stop"), ("length", "max_tokens"), ("error", "unknown")])
def test_an_inspect_sample_has_its_thought_and_how_it_ended(run: Path, reason: Any, inspects: str) -> None:
    log = pytest.importorskip("inspect_ai.log")
    stored = load_run(run)
    thought: dict[str, Any] = {"thought": "Hm.", "thought_tokens": 9, "thought_end": "forced"}
    sample = replace(next(iter(stored.samples.values())), finish_reason=reason, **thought)
    made = inspect_log._sample(log, stored.record, sample)
    assert made.output.stop_reason == inspects
    assert {name: made.metadata[name] for name in thought} == thought


def records_of(log: bytes) -> Iterator[bytes]:
    """The records of an offline run: LevelDB's log format, after a header of 7 bytes."""
    block, header, whole, last = 32_768, 7, 1, 4
    place, data = header, b""
    while place + header <= len(log):
        if block - place % block < header:
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", log, place + 4)
        data += log[place + header : place + header + length]
        place += header + length
        if kind in (whole, last):
            yield data
            data = b""


def test_wandb(run: Path, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_DIR", str(Path.cwd()))
    evalkit("export wandb run --project p --offline")
    wandb.teardown()  # its own process has written the file only then
    (file,) = Path("wandb").glob("offline-run-*/run-*.wandb")
    summary: dict[str, Any] = {}
    config: dict[str, Any] = {}
    artifacts = []
    for data in records_of(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        summary |= {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.summary.update}
        config |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
        if record.WhichOneof("record_type") == "artifact":
            artifacts.append(record.artifact.type)
    assert summary["ruler@4096"] == 75.0
    assert config["dialect"] == "nvidia"
    assert "evalkit-run" in artifacts


def test_mlflow(run: Path, evalkit: Evalkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "mlruns").as_uri()
    refusal = evalkit.refuses("export mlflow run --experiment e --tracking-uri", uri)
    assert refusal.startswith("MLflow: The filesystem tracking backend")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    evalkit("export mlflow run --experiment e --tracking-uri", uri)
    client = mlflow.MlflowClient(uri)
    (logged,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert logged.data.metrics["ruler/4096"] == 75.0
    assert logged.data.params["dialect"] == "nvidia"
    assert {one.path for one in client.list_artifacts(logged.info.run_id)} == {
        "report.html",
        "results.json",
        "run",
        "samples.json",
    }


def test_a_missing_library_is_one_line(run: Path, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert evalkit.refuses("export wandb run") == "wandb is not installed; install it with: pip install wandb"
