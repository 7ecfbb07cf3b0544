"""Damaged and foreign run folders under every command that reads runs: named in one line, exit 2, never a traceback."""

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evalkit.run_factory import RunSpec, changed, simulate, write_run
from tests.support import Evalkit

Damage = Callable[[Path], None]
RunAll = Callable[[Damage], dict[str, int]]

CELLS = {(task, ctx): 0.7 for task in ("niah_single_1", "vt") for ctx in (4096, 65536)}
POLICY = """
rules:
  ruler: {max_drop: 1}
  "ruler/*": {non_inferior: 5}
  ruler/effective_length: {min: 4096}
  prefill_seconds: {max_increase: 5%}
  peak_memory: {max_increase: 5%}
"""
COMMANDS = (
    "show damaged",
    "show damaged --format json",
    "show damaged --sample vt/4096/0/42",
    "compare base damaged",
    "compare damaged base --format markdown",
    "compare base damaged --unpaired",
    "gate base damaged --policy gate.yaml --junit gate.xml --github",
    "gate damaged --init --policy new.yaml",
    "leaderboard base damaged",
    "leaderboard damaged --format html",
    "efficiency damaged history --baseline history --metric ruler@4096",
    "efficiency history --baseline damaged history --metric ruler/vt@65536 --extrapolate",
)
OTHER_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, 10**400, 1e308, [], {}, [None], {"a": {}}),
    *("", "x" * 3000, "\x1b[31m", "<script>", "a|b\nc", "../..", "*", "@", "\u202e"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a baseline, a candidate, and three checkpoints of a training."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    base = RunSpec(simulate(rng, CELLS, 6), effective_length=4096, tokens_seen=10**9)
    write_run(folder / "base", base)
    write_run(folder / "damaged", changed(base, simulate(rng, CELLS, 6), tokens_seen=2 * 10**9))
    for step in (1, 2, 3):
        scores = simulate(rng, dict.fromkeys(CELLS, 0.2 * step), 6)
        write_run(folder / "history" / str(step), changed(base, scores, weights=str(step), tokens_seen=10**8 * step))
    (folder / "gate.yaml").write_text(POLICY)
    return folder


@pytest.fixture
def run_all(sound: Path, evalkit: Evalkit) -> RunAll:
    """Damage a copy of the candidate and run all or some commands on it; returns exit codes."""

    def run(damage: Damage) -> dict[str, int]:
        shutil.copytree(sound, Path(), dirs_exist_ok=True)
        damage(Path("damaged"))
        return {command: tried(command) for command in COMMANDS}

    def tried(command: str) -> int:
        shown = evalkit(command, code=None)
        assert shown.code in (0, 1, 2), (command, shown)
        assert "\x1b" not in shown.out
        assert len(shown.complaints) == (shown.code == 2), (command, shown)
        return shown.code

    return run


def test_sound_runs_are_read_by_all(run_all: RunAll) -> None:
    codes = run_all(lambda folder: None)
    assert set(codes.values()) <= {0, 1}
    assert [command for command, code in codes.items() if code] in ([], [COMMANDS[6]]), "only the gate may say no"


@pytest.mark.parametrize("name", ["run.json", "samples.jsonl"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_files_that_are_cut_off(name: str, share: float, run_all: RunAll) -> None:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    assert set(run_all(cut).values()) == {2}


@pytest.mark.parametrize("name", ["run.json", "samples.jsonl", "manifest.json"])
def test_files_of_another_run(name: str, run_all: RunAll) -> None:
    def swap(folder: Path) -> None:
        other = write_run(
            folder.parent / "other", RunSpec({("qa_1", 8192): [1.0, 0.0]}, model="./x", weights="x", seed=7)
        )
        shutil.copy(other / name, folder / name)

    assert set(run_all(swap).values()) == {2}


@pytest.mark.parametrize("seed", range(40))
def test_values_that_were_changed(seed: int, run_all: RunAll) -> None:
    """Replace any value by any other: the record is refused, or shown as it is."""
    rng = random.Random(seed)

    def change(folder: Path) -> None:
        if seed % 2:
            # Leave only the record and its samples to check against each other.
            (folder / "manifest.json").unlink()
        if seed % 3:
            record = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(_changed(record, rng)))
        else:
            lines = (folder / "samples.jsonl").read_text().splitlines()
            number = rng.randrange(len(lines))
            lines[number] = json.dumps(_changed(json.loads(lines[number]), rng))
            (folder / "samples.jsonl").write_text("".join(f"{line}\n" for line in lines))

    run_all(change)


def _changed(values: Any, rng: random.Random) -> Any:
    changed = copy.deepcopy(values)
    holder, key = rng.choice(list(_places(changed)))
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = rng.choice(OTHER_VALUES)
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def test_a_count_beyond_any_computer_is_no_count(run_all: RunAll) -> None:
    def change(folder: Path) -> None:
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**record, "tokens_seen": 10**400}))

    assert set(run_all(change).values()) == {2}


def test_a_record_alone_is_shown_and_marked_as_unchecked(sound: Path, evalkit: Evalkit) -> None:
    shutil.copy(sound / "base" / "run.json", "run.json")
    unchecked = "samples.jsonl is not there, so the record below is not checked against it"
    assert unchecked in evalkit("show run.json").err
