"""Shards of a run, each in a folder of its own, and `evalkit merge`, which makes the run of one process of them."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.records import Environment, Gpu
from evalkit.records.codec import to_dict
from evalkit.running.environment import describe_environment
from evalkit.running.store import read_run
from evalkit.suite_spec import SUITES
from tests.evalkit.scripts import asked, interrupted_waits, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED
from tests.support import Evalkit

TINY = "run --suite tiny --set tasks=sum,more --set ctx=512,1024 --set samples=5"
TIMES_OF_SAMPLES = {"prefill_seconds", "decode_seconds", "session"}
TIMES_OF_RUNS = {
    *("run_id", "config_passed", "environment", "engine", "timing", "memory", "preflight", "sessions", "merged_shards"),
}
"""What docs/scale.md says of merged runs."""


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)
    write_script(Path("model"), *sums(wrong=range(0, 40, 3)), log="asked")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the shards that many tests begin with."""
    return tmp_path_factory.mktemp("shards")


@pytest.fixture
def shards(evalkit: Evalkit, kept: Path) -> list[Path]:
    """Three shards of a run, as they were made for the first test that needs them."""
    for number in (1, 2, 3):
        if not (kept / f"shard{number}").exists():
            evalkit(f"{TINY} --model scripted:model --out shard{number} --shard {number}/3")
            shutil.copytree(f"shard{number}", kept / f"shard{number}")
        else:
            shutil.copytree(kept / f"shard{number}", f"shard{number}")
    return [Path(f"shard{number}") for number in (1, 2, 3)]


def without(values: Any, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def assert_alike(merged: Path, whole: Path) -> None:
    """Check that two folders differ in nothing but times."""
    lines = [[json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()] for run in (merged, whole)]
    texts = ["".join(json.dumps(without(line, TIMES_OF_SAMPLES)) for line in of_run) for of_run in lines]
    assert texts[0] == texts[1]
    records = [without(json.loads((run / "run.json").read_text()), TIMES_OF_RUNS) for run in (merged, whole)]
    assert json.dumps(records[0]) == json.dumps(records[1])
    assert (merged / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (TINY, 3),
        ("ruler --ctx 1024,2048 --tasks vt --samples 3", 2),
        ("track --tasks parity --updates 4,8 --samples 3 --shots 1", 2),
    ],
)
def test_a_merged_run_is_that_of_one_process_except_for_times(evalkit: Evalkit, line: str, count: int) -> None:
    write_script(Path("model"), {"text": "even", "prefill_seconds": 0.25})
    evalkit(f"{line} --model scripted:model --out whole")
    for number in range(1, count + 1):
        notes = evalkit(f"{line} --model scripted:model --shard {number}/{count}").err
        assert f"/{number}-of-{count}" in notes
    evalkit("merge", *Path("runs/shards").iterdir(), "--out", "merged")
    assert_alike(Path("merged"), Path("whole"))
    assert [session.shard for session in load_run(Path("merged")).record.sessions] == list(range(1, count + 1))


def test_a_shard_says_what_it_is_and_is_judged_by_nothing(evalkit: Evalkit, shards: list[Path]) -> None:
    record = read_run(shards[1])
    assert record.shard is not None
    assert (record.shard.name, record.shard.planned, record.planned) == ("2/3", 20, 7)
    assert not any(row.complete for row in record.summary)
    assert not record.figures
    assert "PART: shard 2 of 3, with 7 of 20 samples. Merge all shards with" in evalkit("show shard2").out
    assert "PART: shard 2 of 3" in Path("shard2/report.md").read_text()
    assert "finished, shard 2 of 3" in " ".join(evalkit("runs shard2").out.split())
    refusal = (
        "shard2 is shard 2 of 3 of a run; merge the shards with `evalkit merge FOLDER... --out FOLDER`, "
        "and name the merged run"
    )
    Path("policy.yaml").write_text("rules:\n  tiny: {max_drop: 1}\n")
    for command in (
        *("compare shard2 shard3", "gate shard2 shard2 --policy policy.yaml", "leaderboard shard2 shard3"),
        *("gate shard2 --init", "compare shard2 shard2 --unpaired", "export parquet shard2 --out tables"),
    ):
        assert evalkit.refuses(command) == refusal


def test_a_shard_is_summarized_again_as_a_part(evalkit: Evalkit) -> None:
    write_script(Path("model"), {"text": "even"})
    evalkit("track --tasks parity --updates 4 --samples 8 --shots 1 --model scripted:model --out part --shard 1/2")
    before = read_run(Path("part"))
    assert not any(row.complete for row in before.summary)
    evalkit("resummarize part")
    assert read_run(Path("part")) == before


def test_a_folder_of_runs_is_read_without_its_shards(evalkit: Evalkit) -> None:
    evalkit(f"{TINY} --model scripted:model --shard 1/2")
    evalkit(f"{TINY} --model scripted:model")
    assert len(evalkit("leaderboard runs --format json").json()["runs"]) == 1


def test_a_shard_is_resumed_as_that_shard(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "run --suite tiny --set samples=8 --model scripted:slow --out part"
    write_script(Path("slow"), {"match": "sum/512/4/42", "text": "46", "wait_seconds": 0.01}, *sums(), log="asked")
    with interrupted_waits(monkeypatch):
        hint = evalkit(f"{line} --shard 1/2", code=130).err.splitlines()[-1]
    assert "UNFINISHED: 2 of 4 samples so far" in evalkit("show part").out
    assert evalkit.refuses(f"{line} --shard 2/2 --resume") == (
        "part was made with other settings (shard: 1/2 -> 2/2); use another --out"
    )
    assert "shard: 1/2 -> the whole run" in evalkit.refuses(f"{line} --resume")
    assert evalkit.refuses("compare part part").startswith("part is shard 1 of 2 of a run")
    evalkit(f"{line} --shard 2/2".replace("part", "other"))
    assert evalkit.refuses("merge part other --out merged") == (
        "samples are missing: 2, such as sum/512/4/42 (part has 2 of 4); continue the shards with --resume"
    )
    evalkit(hint.partition("evalkit ")[2])
    evalkit("merge other part --out merged")
    assert load_run(Path("merged")).record.counts.n == 8
    assert sorted(asked(Path("asked"))) == sorted([*(f"sum/512/{i}/42" for i in range(8)), "sum/512/4/42"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: shutil.rmtree("shard2"), "shard2 cannot be read: No such file or directory"),
        (lambda: change(Path("shard2/manifest.json"), lambda m: m.update(fingerprint="x")), "(fingerprint: "),
        (lambda: change(Path("shard2/manifest.json"), lambda m: m.update(evalkit="9")), "(evalkit: 0.1.0 -> 9)"),
        (lambda: change(Path("shard2/started.json"), lambda s: s["config"].update(samples=6)), "(samples: 5 -> 6)"),
        (
            lambda: change(Path("shard2/started.json"), lambda s: s["shard"].update(count=4)),
            "are not of one run (shard 1 of 3, shard 2 of 4)",
        ),
        (
            lambda: change(Path("shard2/started.json"), lambda s: s.update(shard=None)),
            "shard2 is no shard but a whole run; only runs made with --shard are merged",
        ),
        (lambda: shutil.copytree("shard1", "shard4"), "shard1 and shard4 are both shard 1 of 3; leave one out"),
        (
            lambda: Path("shard2/samples.jsonl").write_bytes(
                Path("shard2/samples.jsonl").read_bytes() + Path("shard1/samples.jsonl").read_bytes()
            ),
            " is in shard1 and in shard2; leave one out",
        ),
        (
            lambda: Path("shard3/samples.jsonl").write_bytes(Path("shard3/samples.jsonl").read_bytes()[:-5]),
            "samples are missing: 1, such as more/1024/3/42 (shard3 has 5 of 6); continue the shards with --resume",
        ),
    ],
)
def test_shards_that_do_not_fit_are_named(
    evalkit: Evalkit, shards: list[Path], edit: Callable[[], object], message: str
) -> None:
    edit()
    folders = [*shards, *([Path("shard4")] if Path("shard4").exists() else [])]
    assert message in evalkit.refuses("merge", *folders, "--out", "merged")
    assert not Path("merged").exists()
    assert not list(Path().glob(".merged*"))


def test_a_missing_shard_is_named(evalkit: Evalkit, shards: list[Path]) -> None:
    assert evalkit.refuses("merge shard1 --out merged").startswith(
        "shards 2, 3 of 3 are missing; run them with --shard"
    )
    assert evalkit.refuses("merge shard1 shard3 --out merged") == (
        "shard 2 of 3 is missing; run it with --shard, or name the folder"
    )


def test_the_device_and_the_path_of_the_model_may_differ(evalkit: Evalkit, shards: list[Path]) -> None:
    change(Path("shard2/started.json"), lambda s: s["config"].update(device="cuda:1", model="/elsewhere"))
    evalkit("merge", *shards, "--out", "merged")


def test_what_is_there_is_kept(evalkit: Evalkit, shards: list[Path]) -> None:
    assert evalkit.refuses("merge", *shards, "--out", "shard1") == "shard1 is not empty; use another --out"
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    assert evalkit.refuses("merge", *shards, "--out", "other") == "other is not empty; use another --out"


def test_hardware_of_all_shards_is_listed(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    def on(gpu: str) -> Callable[[str], Environment]:
        return lambda device="": replace(describe_environment(device), gpu=Gpu(gpu))

    for number, gpu in enumerate(["H200", "A100", "H200"], start=1):
        monkeypatch.setattr("evalkit.running.answering.describe_environment", on(gpu))
        evalkit(f"{TINY} --model scripted:model --out shard{number} --shard {number}/3")
    for folder in ("shard1", "shard2", "shard3"):
        change(Path(folder, "sessions.json"), lambda s: s["sessions"][0]["engine"].update(device="cuda:0"))
    shown = evalkit("merge shard1 shard2 shard3 --out merged").out
    assert "samples were answered on different hardware (H200 × 1; A100 × 1): times are a mixture" in shown
    for line in ("2 on H200 × 1, 13 samples", "1 on A100 × 1, 7 samples"):
        assert re.search(f"^merged from 3 shards +{line}$", shown, re.MULTILINE)


def test_errors_are_merged_too(evalkit: Evalkit) -> None:
    write_script(Path("model"), {"match": "sum/512/1/42", "error": "out of memory"}, *sums())
    evalkit(f"{TINY} --model scripted:model --out whole", code=3)
    for number in (1, 2):
        evalkit(f"{TINY} --model scripted:model --out shard{number} --shard {number}/2", code=None)
    evalkit("merge shard1 shard2 --out merged", code=3)
    assert_alike(Path("merged"), Path("whole"))


def test_a_baseline_is_merged_and_compared(evalkit: Evalkit) -> None:
    write_script(Path("base"), *sums())
    line = f"{TINY} --model scripted:model --baseline scripted:base"
    assert "name the folder of the shard with --out" in evalkit.refuses(f"{line} --shard 1/2")
    evalkit(f"{line} --out whole")
    for number in (1, 2):
        evalkit(f"{line} --out shard{number} --shard {number}/2")
        assert not Path(f"shard{number}/comparison.md").exists()
    evalkit("merge shard1 shard2 --out merged")
    for place in ("", "baseline"):
        assert_alike(Path("merged", place), Path("whole", place))
    of_whole, merged = (
        re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "then", Path(folder, "comparison.md").read_text())
        for folder in ("whole", "merged")
    )
    assert merged == of_whole.replace("whole", "merged")


def test_an_extension_is_concluded_when_it_is_merged(evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("reports.chart_files.write_charts", lambda _, folder: drawn.append(folder))
    write_script(Path("before"), {"text": "no idea"})
    write_script(Path("model"), {"text": "no idea"}, identity={"trained_length": 1024})
    line = (
        "extend --ctx 1024 --trained 512 --tasks niah_single_1 --samples 1 --depths 1 --windows 2 "
        "--model scripted:model --before scripted:before"
    )
    evalkit(f"{line} --out whole")
    for number in (1, 2):
        evalkit(f"{line} --out shard{number} --shard {number}/2")
        assert not read_run(Path(f"shard{number}")).verdicts
    evalkit("merge shard1 shard2 --out merged")
    assert_alike(Path("merged"), Path("whole"))
    assert read_run(Path("merged")).verdicts
    assert drawn[-1].name == "figures"


PLAN = """
models: ["scripted:model", "scripted:strong"]
suites: {tiny: {samples: 4}}
reports: [{report: compare, base: "scripted:strong", new: "scripted:model", out: comparison.md}]
"""


def test_shards_of_a_plan_are_merged_and_the_plan_makes_its_reports(evalkit: Evalkit) -> None:
    write_script(Path("strong"), *sums(), log="asked")
    Path("plan.yaml").write_text(PLAN)
    for number in (1, 2):
        notes = evalkit(f"run plan.yaml --shard {number}/2 --resume").err
        assert f"shard {number} of 2 is in runs/plan/shards/{number}-of-2; merge all shards" in notes
    assert not Path("runs/plan/comparison.md").exists()
    assert "finished before: runs/plan/shards/2-of-2/scripted-model/tiny" in evalkit("run plan.yaml --shard 2/2").err
    shutil.copytree("runs/plan/shards/2-of-2", "half")
    shutil.rmtree("half/scripted-strong")
    assert evalkit.refuses("merge runs/plan/shards/1-of-2 half --out merged") == (
        "half/scripted-strong/tiny does not exist, "
        "but runs/plan/shards/1-of-2/scripted-strong/tiny does; run that shard"
    )
    merged = evalkit("merge runs/plan/shards --out runs/plan --format json").json()
    assert [record["merged_shards"] for record in merged["runs"]] == [2, 2]
    assert evalkit("run plan.yaml").err.count("finished before: ") == 2
    assert Path("runs/plan/comparison.md").exists()
    assert len(asked(Path("asked"))) == 8


def test_records_without_shards_are_read_as_whole_runs(evalkit: Evalkit, shards: list[Path]) -> None:
    assert to_dict(read_run(shards[0]))["shard"]["number"] == 1
    evalkit(f"{TINY} --model scripted:model --out whole")
    change(Path("whole/run.json"), lambda record: [record.pop(name) for name in ("shard", "merged_shards")])
    change(Path("whole/manifest.json"), lambda manifest: manifest.pop("shard"))
    assert load_run(Path("whole")).record.shard is None
