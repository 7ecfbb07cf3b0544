"""Train a reference model: `python -m model_adapters.reference.train --kind hybrid --minutes 10`.

A program, not a library: it draws its prompts from the suites. It writes a plain transformers checkpoint, the
checkpoints along the way with the tokens they have seen, and a log, all under --out.
"""

import json
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import typer
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from model_adapters.reference import fast_paths, folder
from model_adapters.reference.architecture import KINDS, ROPE_THETA, make_config
from model_adapters.reference.batches import Batch, BatchStream
from model_adapters.reference.curriculum import BATCH_TOKENS
from model_adapters.reference.step import GradientStep, Inputs, apply, learning_rate, make_optimizer
from model_adapters.reference.tokenizer import VOCABULARY

LOG_EVERY = 25
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one training run is asked to do."""

    kind: str
    minutes: float
    tokens: int
    peak_rate: float
    weight_decay: float
    rope_theta: float
    checkpoints: int
    seed: int
    out: Path

    @property
    def steps(self) -> int:
        return max(1, self.tokens // BATCH_TOKENS)


class Clock:
    """Progress of the training in [0, 1]: by tokens, or by time where time runs out first.

    Time counts from `start`, so that compiling and filling the first batches take nothing from the schedule.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._started: float | None = None

    def start(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return 0.0 if self._started is None else time.perf_counter() - self._started

    def progress(self, step: int) -> float:
        return min(1.0, max(step / self._plan.steps, self.seconds / (60 * self._plan.minutes)))


class Log:
    """Loss and accuracy as lines of JSON, averaged over `LOG_EVERY` steps; also printed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._answers: dict[str, list[bool]] = defaultdict(list)
        self._losses: dict[str, list[float]] = defaultdict(list)

    def add(self, batch: Batch, loss_P: Tensor, correct_P: Tensor) -> None:
        """Count a batch: a question is right where each likeliest token is one that would do."""
        losses, correct = loss_P.cpu().numpy(), correct_P.cpu().numpy()
        asked = batch.questions_P >= 0
        is_text = ~asked & (batch.weights_P > 0)
        self._losses["answer"].append(float(losses[asked].mean()))
        self._losses["text"].append(float(losses[is_text].mean()))
        right_positions = np.unique(batch.positions_P[asked & correct])
        missed = asked & ~np.isin(batch.positions_P, right_positions)
        wrong = set(batch.questions_P[missed].tolist())
        for question, task in enumerate(batch.tasks):
            self._answers[task].append(question not in wrong)

    def write(self, *, step: int, tokens: int, row_tokens: int, rate: float, seconds: float) -> None:
        loss = {name: round(sum(values) / len(values), 4) for name, values in self._losses.items()}
        right = {name: round(sum(values) / len(values), 3) for name, values in sorted(self._answers.items())}
        line = {
            "step": step,
            "tokens_seen": tokens,
            "row_tokens": row_tokens,
            "learning_rate": rate,
            "seconds": round(seconds, 2),
            "loss": loss,
            "right": right,
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        shares = " ".join(f"{name.removeprefix('niah_')}={share:.2f}" for name, share in right.items())
        speed = f"{tokens / seconds / 1e6:.2f}M/s"
        print(f"{step} {tokens / 1e6:.0f}M T={row_tokens} {seconds:.0f}s {speed} {loss} {shares}", flush=True)
        self._answers.clear()
        self._losses.clear()


def train(plan: Plan, tokenizer_folder: Path, device: torch.device, workers: int) -> None:
    """Run `plan` and leave the checkpoints and the log under its `out`."""
    plan.out.mkdir(parents=True, exist_ok=True)
    with BatchStream(tokenizer_folder / "tokenizer.json", seed=plan.seed, workers=workers) as stream:
        torch.manual_seed(plan.seed)
        torch.set_float32_matmul_precision("high")
        model = make_model(plan.kind, plan.rope_theta).to(device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
        model.train()
        fast_paths.install(model)
        gradient = GradientStep(model)
        optimizer = make_optimizer(model, peak=plan.peak_rate, weight_decay=plan.weight_decay)
        clock, log, saved, step = Clock(plan), Log(plan.out / "log.jsonl"), 0, 0
        for step, batch in enumerate(stream.batches(clock.progress, plan.steps), start=1):
            gradient(Inputs.of(batch, device))
            if step == 1:
                clock.start()
            rate = learning_rate(clock.progress(step), plan.peak_rate)
            apply(optimizer, model, rate)
            if gradient.loss_P is not None and gradient.correct_P is not None:
                log.add(batch, gradient.loss_P, gradient.correct_P)
            tokens = step * BATCH_TOKENS
            if step % LOG_EVERY == 0 or step == plan.steps:
                row_tokens = batch.token_ids_BT.shape[1]
                log.write(step=step, tokens=tokens, row_tokens=row_tokens, rate=rate, seconds=clock.seconds)
            if clock.progress(step) >= 1.0:
                break
            if int(clock.progress(step) * plan.checkpoints) > saved:
                saved += 1
                save(model, tokenizer_folder, plan.out / f"checkpoint-{saved}", tokens_seen=tokens)
        save(model, tokenizer_folder, plan.out / "final", tokens_seen=step * BATCH_TOKENS)


def make_model(kind: str, rope_theta: float) -> PreTrainedModel:
    """A reference model with fresh weights, in fp32."""
    config = make_config(kind, VOCABULARY, rope_theta=rope_theta)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return cast(PreTrainedModel, model)


def save(model: PreTrainedModel, tokenizer_folder: Path, target: Path, *, tokens_seen: int) -> None:
    """A plain transformers checkpoint in bf16, with its tokenizer and the tokens it has seen."""
    plain = AutoModelForCausalLM.from_config(model.config).to(torch.bfloat16)  # type: ignore[no-untyped-call]
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(target)
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer_folder / name, target / name)
    (target / "evalkit.json").write_text(json.dumps({"trained": True, "tokens_seen": tokens_seen}) + "\n")


def main(
    kind: str = typer.Option(..., help=f"Which shape: {' or '.join(KINDS)}."),
    minutes: float = typer.Option(10.0, min=0.05, help="Upper bound; the schedule shrinks to it."),
    tokens: int = typer.Option(450_000_000, min=BATCH_TOKENS, help="Training tokens, padding included."),
    peak_rate: float = typer.Option(2e-3, help="Highest learning rate."),
    weight_decay: float = typer.Option(0.05, help="On matrices."),
    rope_theta: float = typer.Option(ROPE_THETA, min=1.0, help="Of the transformer; the hybrid has no positions."),
    checkpoints: int = typer.Option(6, min=1, help="Equal parts of the training; one is kept after each."),
    seed: int = typer.Option(0, help="Of weights and data."),
    workers: int = typer.Option(14, min=1, help="Processes that make batches."),
    out: Path = typer.Option(Path("runs/reference"), help="Where checkpoints and the log go."),
    device: str = typer.Option("cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu."),
) -> None:
    """Train a reference model."""
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="--kind")
    plan = Plan(kind, minutes, tokens, peak_rate, weight_decay, rope_theta, checkpoints, seed, out / kind)
    train(plan, folder("hybrid"), torch.device(device), workers)


if __name__ == "__main__":
    typer.run(main)
