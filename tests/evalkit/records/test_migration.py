"""Records of earlier versions are read as those of this one, and those of newer ones where that is safe."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.errors import UsageError
from evalkit.records import Manifest, RunRecord, RunStart, SampleRecord, SessionList
from evalkit.records.codec import RecordError, to_json
from evalkit.records.migration import NewerRecordError, read_record
from evalkit.running.store import read_samples
from tests.evalkit.run_factory import RunSpec, write_run
from tests.support import REPOSITORY

HISTORY = REPOSITORY / "model_adapters" / "reference" / "history"
RUNS = sorted(path.parent for path in HISTORY.rglob("run.json"))
SPEC = RunSpec({("vt", 4096): [1.0, 0.0]})


@pytest.mark.parametrize("folder", RUNS, ids=[path.relative_to(HISTORY).as_posix() for path in RUNS])
def test_every_stored_run_of_an_earlier_version_loads(folder: Path) -> None:
    run = load_run(folder)
    written = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert len(run.samples) == written["counts"]["n"] == len(read_samples(folder))
    (session,) = run.record.sessions
    assert session.number == 0
    assert session.environment == written["environment"]
    assert session.hardware
    assert {sample.session for sample in run.samples.values()} == {0}
    assert run.record.question_settings == {}
    assert not run.record.unfinished
    assert read_record(RunRecord, to_json(run.record)) == run.record


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
    verdict = {
        **dict.fromkeys(("value", "bound", "ci95", "detectable")),
        "check": "later",
        "verdict": "perhaps",
        "statement": "so",
        "unit": "",
    }
    newer(
        folder,
        "run.json",
        {
            "schema": "evalkit.run/1.7",
            "failures": {"wrong_needle_twice": 1},
            "added_later": {},
            "verdicts": [verdict],
        },
    )
    newer(folder, "manifest.json", {"schema": "evalkit.manifest/2.3", "added_later": 3})
    run = load_run(folder)
    assert run.record.failures == {"wrong_needle_twice": 1}
    assert run.record.verdicts[0].verdict == "perhaps"
    assert run.samples["vt/4096/1/42"].finish_reason == "melted"


@pytest.mark.parametrize(
    ("name", "schema", "known"),
    [
        ("run.json", "evalkit.run/2", "evalkit.run/1"),
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
