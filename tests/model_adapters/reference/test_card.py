"""The shipped cards match the records under history."""

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.finished_run import load_run
from model_adapters.reference import NAMES, folder
from model_adapters.reference.card import (
    HISTORY,
    card,
    continuation,
    pair_table,
    phase_rate,
    phase_tokens,
    read_logs,
    trials,
)


@pytest.mark.parametrize("kind", NAMES)
def test_a_card_holds_what_its_records_say(kind: str) -> None:
    assert (folder(kind) / "README.md").read_text(encoding="utf-8") == card(kind)


def test_the_readme_opens_with_the_pairs_table() -> None:
    readme = (HISTORY.parents[2] / "README.md").read_text(encoding="utf-8")
    assert "\n".join(pair_table()) in readme


@pytest.mark.parametrize("kind", NAMES)
def test_history_has_five_checkpoints_equally_spaced_in_tokens(kind: str) -> None:
    seen = [load_run(path).record.tokens_seen for path in sorted((HISTORY / kind).glob("checkpoint-*"))]
    assert len(seen) >= 5
    first_phase = phase_tokens(read_logs(kind), 0)
    assert seen == pytest.approx([first_phase * (index + 1) / 6 for index in range(len(seen))], rel=0.01)


@pytest.mark.parametrize("kind", NAMES)
def test_the_log_ends_where_the_checkpoint_that_ships_does(kind: str) -> None:
    shipped = json.loads((folder(kind) / "evalkit.json").read_text(encoding="utf-8"))
    assert read_logs(kind)[-1][-1]["tokens_seen"] == shipped["tokens_seen"]
    assert load_run(HISTORY / kind / "lengths").record.tokens_seen == shipped["tokens_seen"]


def line(tokens_seen: int, learning_rate: float, seconds: float) -> dict[str, Any]:
    return {"tokens_seen": tokens_seen, "learning_rate": learning_rate, "seconds": seconds}


TWO_PHASES = [
    [line(1_000_000, 0.00199991, 2.0), line(339_935_232, 0.0, 385.68)],
    [line(341_573_632, 0.000499968, 3.5), line(404_881_408, 0.0, 81.4)],
]


def test_a_card_tells_of_a_further_phase_from_its_log() -> None:
    assert [phase_tokens(TWO_PHASES, phase) for phase in (0, 1)] == [339_935_232, 64_946_176]
    assert [phase_rate(log) for log in TWO_PHASES] == ["2e-3", "5e-4"]
    text = " ".join(continuation("hybrid", TWO_PHASES).split())
    command = "--kind hybrid --continue-from runs/reference/hybrid/final --tokens 64946176 --peak-rate 5e-4"
    assert f"train {command} --out runs/phase-2`" in text
    assert "64.9 million tokens more, 404.9 million in all, in 81 s" in text
    assert "the rate rises to 5e-4 and falls to zero again" in text
    assert continuation("hybrid", TWO_PHASES[:1]) == ""


@pytest.mark.parametrize("kind", NAMES)
def test_the_last_trial_is_the_checkpoint_that_ships(kind: str) -> None:
    one, two = trials(kind, TWO_PHASES[:1]), trials(kind, TWO_PHASES)
    assert one.endswith(": this checkpoint.")
    assert two.startswith(one.removesuffix("this checkpoint."))
    assert two.endswith("\n- 65 million more from that checkpoint at 5e-4 with more cwe: this checkpoint.")
    assert two.count("this checkpoint.") == 2


def test_logs_are_read_in_the_order_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hybrid").mkdir()
    for name, log in zip(("log.jsonl", "log-2.jsonl"), TWO_PHASES, strict=True):
        (tmp_path / "hybrid" / name).write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    monkeypatch.setattr("model_adapters.reference.card.HISTORY", tmp_path)
    assert read_logs("hybrid") == TWO_PHASES
