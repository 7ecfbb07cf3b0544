"""Training from fresh weights and from a checkpoint: what each starts from, stores and refuses."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from model_adapters.reference import batches, folder, train
from model_adapters.reference.architecture import KINDS
from model_adapters.reference.batches import Batch, assemble
from model_adapters.reference.curriculum import BATCH_TOKENS, CONTINUED, FIRST
from model_adapters.reference.rows import Answer, Row
from model_adapters.reference.start import Start, continued
from model_adapters.reference.train import Clock, Plan, optimize

ROW_TOKENS = 512
SEEN = json.loads((folder("hybrid") / "evalkit.json").read_text())["tokens_seen"]


def plan(out: Path, *, steps: int) -> Plan:
    return Plan(
        minutes=5.0,
        tokens=steps * BATCH_TOKENS,
        peak_rate=5e-4,
        weight_decay=0.05,
        checkpoints=1,
        seed=0,
        out=out,
    )


def small_batch(seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    token_ids = [int(token) for token in rng.integers(2, 8192, ROW_TOKENS)]
    return assemble([Row(token_ids, [Answer("cwe", ROW_TOKENS - 8, ROW_TOKENS)])], ROW_TOKENS, rng)


def plain_answer_loss(kind: str, batch: Batch) -> float:
    """The loss computed by transformers' own code in float32."""
    model = load_model(ModelOptions(str(folder(kind)), device="cpu", dtype="float32")).model
    with torch.no_grad():
        logits_TV = model(torch.from_numpy(batch.token_ids_BT)).logits[0]
    asked = batch.questions_P >= 0
    places, targets = torch.from_numpy(batch.positions_P[asked]), torch.from_numpy(batch.targets_P[asked])
    return float(F.cross_entropy(logits_TV[places], targets))


@pytest.mark.usefixtures("transformers_restored")
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_goes_on_from_its_own_loss_and_tokens(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "SCORED_POSITIONS", 64)
    monkeypatch.setattr(train, "LOG_EVERY", 1)
    made = [small_batch(0), small_batch(0)]
    expected = plain_answer_loss(kind, made[0])
    start, todo = continued(kind, folder(kind)), plan(tmp_path / kind, steps=2)
    assert {parameter.dtype for parameter in start.model.parameters()} == {torch.float32}
    optimize(todo, start, made, Clock(todo), torch.device("cpu"))
    first, second = map(json.loads, (todo.out / "log.jsonl").read_text().splitlines())
    assert first["loss"]["answer"] == pytest.approx(expected, abs=2e-3)
    assert second["loss"]["answer"] < first["loss"]["answer"]
    assert [line["tokens_seen"] for line in (first, second)] == [SEEN + BATCH_TOKENS, SEEN + 2 * BATCH_TOKENS]
    assert second["learning_rate"] == 0.0
    assert sorted(path.name for path in todo.out.iterdir()) == ["final", "log.jsonl"]
    shipped = json.loads((folder(kind) / "evalkit.json").read_text())
    kept = json.loads((todo.out / "final" / "evalkit.json").read_text())
    assert kept == {**shipped, "tokens_seen": SEEN + 2 * BATCH_TOKENS}
    assert (todo.out / "final" / "config.json").read_text() == (folder(kind) / "config.json").read_text()
    before, after = (load_file(path / "model.safetensors") for path in (folder(kind), todo.out / "final"))
    assert {name: tensor.dtype for name, tensor in after.items()} == dict.fromkeys(before, torch.bfloat16)
    assert any(not torch.equal(after[name], before[name]) for name in before)


class Command:
    """Runs the program, with the training itself replaced by a record of its arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.asked: list[tuple[Plan, Start]] = []
        monkeypatch.setattr(train, "train", lambda plan, start, *_: self.asked.append((plan, start)))

    def __call__(self, *arguments: str | Path) -> int:
        """The exit code."""
        self._monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            train.run()
        return int(stopped.value.code or 0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(monkeypatch)


@pytest.mark.parametrize(("kind", "rate"), [("hybrid", 2e-3), ("transformer", 1e-3)])
def test_a_further_phase_is_shorter_and_slower_than_the_first(
    kind: str, rate: float, command: Command, tmp_path: Path
) -> None:
    assert command("--kind", kind, "--out", tmp_path) == 0
    assert command("--kind", kind, "--out", tmp_path, "--continue-from", folder(kind)) == 0
    (first, fresh), (further, loaded) = command.asked
    assert (first.tokens, first.peak_rate, first.checkpoints) == (450_000_000, rate, 6)
    assert (further.tokens, further.peak_rate, further.checkpoints) == (65_000_000, rate / 4, 1)
    assert (fresh.phase, fresh.tokens_seen) == (FIRST, 0)
    assert (loaded.phase, loaded.tokens_seen) == (CONTINUED, SEEN)


def test_what_is_stated_comes_before_what_is_usual(command: Command, tmp_path: Path) -> None:
    stated = ("--tokens", "131072", "--peak-rate", "3e-4", "--checkpoints", "2", "--minutes", "3")
    assert command("--kind", "hybrid", "--out", tmp_path, "--continue-from", folder("hybrid"), *stated) == 0
    ((further, _),) = command.asked
    assert (further.steps, further.peak_rate, further.checkpoints, further.minutes) == (2, 3e-4, 2, 3.0)
    assert further.out == tmp_path / "hybrid"


def altered(target: Path, **files: dict[str, object]) -> Path:
    """A folder with the hybrid's config.json and evalkit.json, with some values changed."""
    target.mkdir()
    for name in ("config", "evalkit"):
        values = json.loads((folder("hybrid") / f"{name}.json").read_text()) | files.get(name, {})
        kept = {key: value for key, value in values.items() if value is not None}
        (target / f"{name}.json").write_text(json.dumps(kept))
    return target


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--kind", "rnn"), "unknown --kind 'rnn'; known: hybrid, transformer"),
        (("--continue-from", "absent"), "--continue-from absent: no such folder; name the one that"),
        (("--continue-from", "empty"), "empty: has no config.json; name the folder that save_pretrained wrote"),
        (("--continue-from", "unknown"), "--continue-from unknown: its evalkit.json does not say how many tokens"),
        (("--continue-from", "wide"), "--continue-from wide: has hidden_size = 512, and the recipe's models have 256"),
        (("--continue-from", "bare"), "bare: no tokenizer"),
        (("--continue-from", "bare", "--kind", "transformer"), "holds a model of type olmo_hybrid, and --kind transf"),
        (("--continue-from", "bare", "--rope-theta", "1e4"), "--rope-theta 10000: the checkpoint of --continue-from"),
        (("--out", "done"), "--out done: done/hybrid holds a training already; name another folder"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    complaint: str,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    altered(tmp_path / "bare")
    altered(tmp_path / "unknown", evalkit={"tokens_seen": None})
    altered(tmp_path / "wide", config={"hidden_size": 512})
    log = tmp_path / "done" / "hybrid" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n")
    assert command("--kind", "hybrid", *arguments) == 2
    assert command.asked == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: ")
    assert complaint in line
    assert log.read_text() == "{}\n"


def test_batches_of_a_further_phase_count_on_from_the_tokens_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    class Stream:
        def __init__(self, tokenizer_file: Path, **settings: object) -> None:
            asked.update(settings, tokenizer_file=tokenizer_file)

        def batches(self, _: object, count: int, *, first: int) -> Iterator[Batch]:
            asked.update(count=count, first=first)
            return iter(())

        def __enter__(self) -> "Stream":
            return self

        def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
            asked["closed"] = True

    monkeypatch.setattr(train, "BatchStream", Stream)
    monkeypatch.setattr(train, "optimize", lambda *_: None)
    train.train(plan(tmp_path, steps=3), continued("hybrid", folder("hybrid")), torch.device("cpu"), 2)
    assert asked == {
        "tokenizer_file": folder("hybrid") / "tokenizer.json",
        "seed": 0,
        "workers": 2,
        "phase": CONTINUED,
        "count": 3,
        "first": SEEN // BATCH_TOKENS,
        "closed": True,
    }
