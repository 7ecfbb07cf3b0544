"""Records of earlier versions are read as those of this one, and those of newer ones if that is safe."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.errors import UsageError
from evalkit.records import ContinuationScore, Environment, Manifest, RunRecord, RunStart, SampleRecord, SessionList
from evalkit.records.codec import RecordError, from_dict, to_json
from evalkit.records.migration import NewerRecordError, read_record
from evalkit.running.store import read_run, read_samples
from tests.evalkit.run_factory import RunSpec, write_run
from tests.evalkit.sample_records import sample_record
from tests.support import REPOSITORY

HISTORY = REPOSITORY / "model_adapters" / "reference" / "history"
RUNS = sorted(path.parent for path in HISTORY.rglob("run.json"))
RUN_1 = sorted((REPOSITORY / "tests" / "evalkit" / "records" / "run_1").glob("*.json"))
SPEC = RunSpec({("vt", 4096): [1.0, 0.0]}, whole_suite=False)


@pytest.mark.parametrize("folder", RUNS, ids=[path.relative_to(HISTORY).as_posix() for path in RUNS])
def test_every_stored_run_of_an_earlier_version_loads(folder: Path) -> None:
    run = load_run(folder)
    written = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert len(run.samples) == written["counts"]["n"] == len(read_samples(folder))
    (session,) = run.record.sessions
    assert session.number == 0
    assert session.environment == from_dict(Environment, written["environment"])
    assert session.hardware
    assert {sample.session for sample in run.samples.values()} == {0}
    assert run.record.question_settings == {}
    assert not run.record.unfinished
    assert read_record(RunRecord, to_json(run.record)) == run.record


@pytest.mark.parametrize("path", RUN_1, ids=[path.stem for path in RUN_1])
def test_a_record_of_run_1_is_the_one_that_the_history_holds_now(path: Path) -> None:
    old, new = read_record(RunRecord, path.read_text(encoding="utf-8")), read_run(HISTORY / "hybrid" / path.stem)
    assert len(RUN_1) == 3
    assert [row.cell for row in old.results] == [row.cell for row in new.results]
    assert [(row.task, row.updates) for row in old.results] == [(row.task, row.updates) for row in new.results]
    assert [replace(figure, value=0, ci95=None) for figure in old.figures] == [
        replace(figure, value=0, ci95=None) for figure in new.figures
    ]
    assert [(one.target, one.limit, one.unit) for one in old.verdicts] == [
        (one.target, one.limit, one.unit) for one in new.verdicts
    ]
    computed: dict[str, Any] = dict.fromkeys(("results", "summary", "figures", "verdicts", "warnings"), ())
    assert replace(old, **computed) == replace(new, **computed)


@pytest.mark.parametrize(
    ("suite", "name", "fields"),
    [
        ("lm-eval", "arc_challenge/acc", {"name": "arc_challenge", "metric": "acc"}),
        ("lm-eval", "gsm8k/exact_match,strict-match", {"metric": "exact_match", "filter": "strict-match"}),
        ("lm-eval", "group/mmlu/acc", {"name": "group", "part": "mmlu", "metric": "acc"}),
        ("mmlu", "group/stem", {"name": "group", "part": "stem"}),
        ("mmlu", "macro", {"name": "macro", "part": ""}),
        ("loss", "nats_per_token/copy", {"name": "nats_per_token", "part": "copy"}),
        ("extend", "mean/4096", {"name": "mean", "ctx": 4096}),
        ("extend", "grid/65536/0.1-0.2", {"name": "grid", "ctx": 65536, "depth": (0.1, 0.2)}),
        ("extend", "position_nats/0-2048", {"name": "position_nats", "position": (0, 2048)}),
        ("track", "updates_held/parity@4096", {"name": "updates_held", "part": "parity", "ctx": 4096}),
        ("ours", "a/b", {"name": "a/b"}),
    ],
)
def test_what_names_of_figures_held_is_in_their_fields(
    tmp_path: Path, suite: str, name: str, fields: dict[str, Any]
) -> None:
    written = json.loads((write_run(tmp_path / "run", SPEC) / "run.json").read_text())
    figure = {"name": name, "value": 1.0, "unit": "", "ci95": None, "n": 1}
    old = {**written, "schema": "evalkit.run/1", "suite": suite, "effective_length": None, "derived": {}}
    (read,) = read_record(RunRecord, json.dumps({**old, "figures": [figure]})).figures
    assert read.label == name
    assert {field: getattr(read, field) for field in fields} == fields


def test_sums_by_position_that_were_measures_are_fields() -> None:
    lines = (HISTORY / "hybrid" / "extend" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if '"tokens@' in line)
    measures, sample = json.loads(line)["measures"], read_record(SampleRecord, line)
    assert set(sample.measures) == {name for name in measures if "@" not in name}
    assert {f"nats@{bucket.first}": bucket.nats for bucket in sample.positions} == {
        name: value for name, value in measures.items() if name.startswith("nats@")
    }
    assert sample.positions[-1].end == sample.ctx == 65536
    assert sum(bucket.tokens for bucket in sample.positions) == sample.measures["tokens"]
    assert read_record(SampleRecord, to_json(sample)) == sample


@pytest.mark.parametrize(
    ("measures", "kept", "continuations"),
    [
        (
            {"log_probability_0": -1.5, "greedy_0": 1.0, "log_probability_1": -2.0, "greedy_1": 0.0},
            {},
            (ContinuationScore(-1.5, True), ContinuationScore(-2.0, False)),
        ),
        ({"log_probability_0": -7.0}, {"log_probability_0": -7.0, "nats": 7.0}, ()),
        ({"log_probability_0": -1.5, "log_probability_1": -2.0}, None, ()),
    ],
)
def test_log_probabilities_that_were_measures_are_fields(
    measures: dict[str, float], kept: dict[str, float] | None, continuations: tuple[ContinuationScore, ...]
) -> None:
    written = {**json.loads(to_json(sample_record("sums", 0, 0, 1.0))), "measures": measures}
    del written["continuations"]
    sample = read_record(SampleRecord, json.dumps(written))
    assert (sample.measures, sample.continuations) == (measures if kept is None else kept, continuations)


def test_there_is_history_to_read() -> None:
    assert len(RUNS) >= 20


def test_corpora_of_an_earlier_manifest_are_by_role_and_name() -> None:
    text = (RUNS[0] / "manifest.json").read_text(encoding="utf-8")
    manifest = read_record(Manifest, text)
    assert manifest.corpora["words"] == {"wonderwords 2.2.0": json.loads(text)["corpora"]["words:wonderwords 2.2.0"]}
    assert (manifest.engine, manifest.quantization, manifest.position_scheme) == (None, None, None)
    assert read_record(Manifest, to_json(manifest)) == manifest


def newer(folder: Path, name: str, change: dict[str, Any]) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def test_fields_and_words_of_a_newer_version_are_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", SPEC)
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    lines[1] |= {"failure": "wrong_needle_twice", "finish_reason": "melted", "added_later": [1]}
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdict = {"target": "later", "outcome": "perhaps", "reason": "so"}
    newer(
        folder,
        "run.json",
        {
            "schema": "evalkit.run/2.7",
            "failures": {"wrong_needle_twice": 1},
            "added_later": {},
            "verdicts": [verdict],
        },
    )
    newer(folder, "manifest.json", {"schema": "evalkit.manifest/2.3", "added_later": 3})
    run = load_run(folder)
    assert run.record.failures == {"wrong_needle_twice": 1}
    assert run.record.verdicts[0].outcome == "perhaps"
    assert run.samples["vt/4096/1/42"].finish_reason == "melted"


@pytest.mark.parametrize(
    ("name", "schema", "known"),
    [
        ("run.json", "evalkit.run/3", "evalkit.run/2"),
        ("manifest.json", "evalkit.manifest/3", "evalkit.manifest/2"),
    ],
)
def test_what_means_something_else_now_is_refused_by_name(tmp_path: Path, name: str, schema: str, known: str) -> None:
    folder = write_run(tmp_path / "run", SPEC)
    newer(folder, name, {"schema": schema})
    with pytest.raises(UsageError) as error:
        load_run(folder)
    assert str(error.value) == (
        f"{folder / name} has schema {schema}, this evalkit reads up to {known}; upgrade evalkit to read it"
    )


@pytest.mark.parametrize("cls", [Manifest, RunRecord, RunStart, SessionList])
@pytest.mark.parametrize("schema", ["evalkit.run/x", "evalkit.policy/1", "", 1, None, [], "evalkit.run/" + "9" * 5000])
def test_a_schema_of_something_else_is_no_such_record(cls: type[Any], schema: Any) -> None:
    with pytest.raises(RecordError, match=r"its schema is .*, this evalkit reads evalkit\.\w+/\d") as error:
        read_record(cls, json.dumps({"schema": schema}))
    assert not isinstance(error.value, NewerRecordError)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    for cls in (Manifest, RunRecord, SampleRecord):
        with pytest.raises(RecordError, match="expected object"):
            read_record(cls, text)


def test_a_record_without_its_parts_is_named_by_field(tmp_path: Path) -> None:
    text = (write_run(tmp_path / "run", SPEC) / "run.json").read_text()
    for name in ("config", "environment", "timing", "memory", "counts"):
        fields = json.loads(text)
        del fields["sessions"]
        with pytest.raises(RecordError, match=rf"RunRecord\.{name}"):
            read_record(RunRecord, json.dumps({**fields, name: 3}))


def test_a_run_of_an_earlier_version_is_a_folder_like_any_other(tmp_path: Path) -> None:
    shutil.copytree(RUNS[0], tmp_path / "run")
    assert load_run(tmp_path / "run").record.run_id == RUNS[0].name
