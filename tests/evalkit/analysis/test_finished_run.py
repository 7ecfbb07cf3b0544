"""A run is accepted only if its record agrees with its samples; a disagreement is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.analysis.finished_run import load_run, load_runs, run_folders
from evalkit.errors import EvalkitError, IncompatibleRunError, UsageError
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, make_run, write_run

SPEC = RunSpec({("vt", 4096): [1.0, 0.75, 0.0, ERRORED], ("cwe", 4096): [1.0, 0.0, UNSCORED, 1.0]})


def test_a_sound_run_is_read_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", SPEC)
    assert len(run.samples) == 8
    assert [sample.index for sample in run.cells()["vt", 4096]] == [0, 1, 2, 3]
    assert load_run(run.folder / "run.json").record == run.record


def test_loss_rows_weigh_windows_by_bytes(tmp_path: Path) -> None:
    spec = RunSpec({("text", 4096): [0.5, 0.7]}, suite="loss", metric="bits_per_byte")
    assert make_run(tmp_path / "loss", spec).record.results[0].value == pytest.approx(0.6)


def edit_record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "run.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def edit_sample(folder: Path, number: int, **changes: Any) -> None:
    path = folder / "samples.jsonl"
    lines = path.read_text().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **changes})
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda record: record["results"][0].update(value=99.0), "vt at 4096 is 99.0, the samples give 58.333333"),
        (lambda record: record["results"][0].update(n=4), "vt at 4096 has n = 4, the samples give 3"),
        (lambda record: record["results"][0].update(errors=0), "vt at 4096 has 0 errors, the samples give 1"),
        (lambda record: record["results"].pop(), "no row for cwe at 4096"),
        (lambda record: record["results"].append(record["results"][0]), "two rows have one name"),
        (lambda record: record["summary"][0].update(mean=70.0), "the mean at 4096 is 70.0"),
        (lambda record: record["counts"].update(n=7), "counts.n is 7, the samples give 8"),
        (lambda record: record["counts"].pop("errors"), "counts.errors is 0, the samples give 1"),
        (lambda record: record["failures"].clear(), "the samples give {'partial': 1, 'wrong_needle': 2}"),
        (lambda record: record["model"].update(fingerprint="sha256:other"), "there is another fingerprint"),
    ],
)
def test_a_record_that_disagrees_with_its_samples_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], found: str
) -> None:
    folder = write_run(tmp_path / "run", SPEC)
    edit_record(folder, change)
    with pytest.raises(IncompatibleRunError, match="disagrees with its own") as error:
        load_run(folder)
    assert found in str(error.value)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("number", "changes", "found"),
    [
        (0, {"score": 0.5}, "vt at 4096 is"),
        (0, {"index": 9}, "vt/4096/0/42 is not what its fields say"),
        (0, {"score": 1.5}, "has a score of 1.5"),
        (0, {"score": -1}, "has a score of -1"),
        (1, {"id": "vt/4096/0/42", "index": 0}, "sample vt/4096/0/42 is in the file 2 times"),
        (0, {"failure": "other"}, "failures are"),
        (3, {"error": None}, "counts.errors is 1, the samples give 0"),
    ],
)
def test_a_changed_sample_is_named(tmp_path: Path, number: int, changes: dict[str, Any], found: str) -> None:
    folder = write_run(tmp_path / "run", SPEC)
    edit_sample(folder, number, **changes)
    with pytest.raises(IncompatibleRunError) as error:
        load_run(folder)
    assert found in str(error.value)


def test_samples_that_are_cut_off_or_absent_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", SPEC)
    samples = folder / "samples.jsonl"
    samples.write_bytes(samples.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"samples\.jsonl is cut off in its last line"):
        load_run(folder)
    samples.unlink()
    with pytest.raises(UsageError, match="a record without its samples cannot be compared"):
        load_run(folder)
    samples.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        load_run(folder)


def test_an_unreadable_manifest_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", SPEC)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match=r"manifest\.json cannot be read"):
        load_run(folder)
    (folder / "manifest.json").unlink()
    assert load_run(folder).record.counts.n == 8


def test_a_folder_of_runs_is_read_suite_by_suite(tmp_path: Path) -> None:
    write_run(tmp_path / "b", SPEC)
    write_run(tmp_path / "a", RunSpec({("parity:4", 0): [1.0, 0.0]}, suite="track"))
    (tmp_path / "notes").mkdir()
    assert [run.record.suite for run in load_runs(tmp_path)] == ["ruler", "track"]
    assert [folder.name for folder in run_folders(tmp_path)] == ["a", "b"]
    write_run(tmp_path / "b" / "baseline", SPEC)
    assert [folder.name for folder in run_folders(tmp_path)] == ["a", "b"], "no run of another run"
    write_run(tmp_path / "plan" / "model" / "ruler", SPEC)
    assert [run.folder.name for run in load_runs(tmp_path / "plan")] == ["ruler"]
    with pytest.raises(UsageError, match=r"holds two runs of ruler \(b and plan/model/ruler\)"):
        load_runs(tmp_path)


def test_a_broken_run_among_others_is_not_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path / "a", SPEC)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "samples.jsonl").write_text("")
    with pytest.raises(UsageError, match="the run has not finished"):
        load_runs(tmp_path)


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        load_runs(tmp_path)
    with pytest.raises(UsageError, match="not a run folder"):
        load_runs(tmp_path / "absent")


FILES = ("run.json", "samples.jsonl", "manifest.json")
damage = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("flip"), st.floats(0, 0.9999), st.binary(min_size=1, max_size=3)),
    st.tuples(st.just("replace"), st.binary(max_size=40)),
    st.tuples(st.just("json"), st.sampled_from(["[]", "{}", "null", "1e999", "NaN", "[" * 5000, '{"schema": 1}'])),
    st.tuples(st.just("drop"), st.integers(0, 7)),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), damage)
def test_a_damaged_run_is_refused_in_one_line_or_says_the_same(
    tmp_path: Path, name: str, damaged: tuple[Any, ...]
) -> None:
    """Never a traceback, and never scores other than the stored ones."""
    sound = tmp_path / "sound"
    if not sound.exists():
        write_run(sound, SPEC)
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    path = folder / name
    path.write_bytes(_damaged(path.read_bytes(), *damaged))
    try:
        rows = load_run(folder).record.results
    except EvalkitError as error:
        refusal = error
    else:
        assert [(row.value, row.n) for row in rows] == [(row.value, row.n) for row in load_run(sound).record.results]
        return
    assert refusal.exit_code == 2
    assert "damaged" in str(refusal)


def _damaged(content: bytes, kind: str, *arguments: Any) -> bytes:
    match kind, *arguments:
        case "cut", float(share):
            return content[: int(share * len(content))]
        case "flip", float(share), bytes(written):
            at = int(share * len(content))
            return content[:at] + written + content[at + len(written) :]
        case "drop", int(line):
            lines = content.splitlines(keepends=True)
            return b"".join(lines[:line] + lines[line + 1 :])
        case "json", str(text):
            return text.encode()
        case _:
            return bytes(arguments[0])
