"""The pace and state of a run follow from its files, at any time and on any machine."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.followed_run import Pace, follow
from tests.evalkit.run_factory import ERRORED, RunSpec, stop_run, write_run

SPEC = RunSpec({("vt", 4096): [1.0] * 39 + [ERRORED], ("cwe", 1024): [0.5] * 40})
WRITTEN_AT = datetime(2026, 5, 1, 12, 1, 50, tzinfo=UTC)


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Killed after 50 of 80 samples and 110 seconds, of which the first 10 were before its first prompt."""
    folder = stop_run(write_run(tmp_path / "run", SPEC), samples=50)
    change(folder / "started.json", lambda start: start.update(planned_tokens=40 * 4096 + 40 * 1024))
    session(folder, started_at="2026-05-01T12:00:00Z", wall_seconds=110.0, first_prompt_seconds=10.0, samples=50)
    return folder


def session(folder: Path, **fields: Any) -> None:
    change(folder / "sessions.json", lambda sessions: sessions["sessions"][-1].update(fields))


def test_pace_and_time_left(run: Path) -> None:
    followed = follow(run, WRITTEN_AT)
    work = 40 * 4096 + 10 * 1024
    tokens = 39 * (4096 - 128 + 20) + 4096 - 128 + 10 * (1024 - 128 + 20)
    assert (followed.done, followed.planned, followed.errors, followed.updated_at) == (50, 80, 1, WRITTEN_AT)
    assert followed.pace == Pace(30.0, tokens / 100, 2.0, 30 * 1024 * 100.0 / work)


def test_samples_that_ended_after_the_session_was_written_count_as_done_alone(run: Path) -> None:
    session(run, samples=40)
    pace = follow(run, WRITTEN_AT).pace
    assert pace is not None
    assert pace.samples_per_minute == 24.0
    assert pace.seconds_left == pytest.approx(30 * 1024 * 100 / (40 * 4096))


def test_a_process_before_its_first_sample_has_the_pace_of_the_one_before(run: Path) -> None:
    first = follow(run, WRITTEN_AT).pace
    change(
        run / "sessions.json", lambda sessions: sessions["sessions"].append({**sessions["sessions"][0], "number": 2})
    )
    session(run, samples=0, wall_seconds=1.0, started_at="2026-05-01T13:00:00Z")
    followed = follow(run, datetime(2026, 5, 1, 13, 0, 5, tzinfo=UTC))
    assert (followed.pace, followed.state) == (first, "running")


@pytest.mark.parametrize(
    ("seconds", "wall_seconds", "state"),
    [(0, 110.0, "running"), (59, 110.0, "running"), (61, 110.0, "silent"), (61, 1010.0, "running")],
)
def test_a_run_is_silent_if_five_samples_could_have_ended(
    run: Path, seconds: int, wall_seconds: float, state: str
) -> None:
    session(run, wall_seconds=wall_seconds)
    written_at = WRITTEN_AT + timedelta(seconds=wall_seconds - 110.0)
    assert follow(run, written_at + timedelta(seconds=seconds)).state == state


def test_other_states(run: Path, tmp_path: Path) -> None:
    whole = follow(write_run(tmp_path / "whole", SPEC), WRITTEN_AT)
    assert (whole.state, whole.done, whole.planned, whole.pace) == ("finished", 80, 80, None)
    (run / "samples.jsonl").write_text("")
    starting = follow(run, WRITTEN_AT)
    assert (starting.state, starting.done, starting.pace) == ("starting", 0, None)
    (run / "started.json").write_text("{")
    damaged = follow(run, WRITTEN_AT)
    assert damaged.state == "unreadable"
    assert damaged.reason.startswith(f"{run}/started.json")


def test_files_of_an_earlier_version_give_a_pace_without_time_left(run: Path) -> None:
    change(run / "started.json", lambda start: start.pop("planned_tokens"))
    pace = follow(run, WRITTEN_AT).pace
    assert pace is not None
    assert pace.seconds_left is None


def test_a_time_that_is_none_is_unknown(run: Path) -> None:
    for started_at, wall_seconds in (("yesterday", 110.0), ("2026-05-01T12:00:00Z", 1e300)):
        session(run, started_at=started_at, wall_seconds=wall_seconds)
        assert (follow(run, WRITTEN_AT).updated_at, follow(run, WRITTEN_AT).state) == (None, "running")
