"""Train a reference model: `python -m model_adapters.reference.train --kind hybrid --minutes 10`.

A program, not a library: it draws its prompts from the suites. It writes a plain transformers checkpoint, the
checkpoints along the way with the tokens they have seen, and a log, all under --out. With `--continue-from FOLDER` it
trains the checkpoint in FOLDER for a further phase; models that have seen as many tokens see the same batches in it.
"""

import json
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import typer
from torch import Tensor
from transformers import AutoModelForCausalLM

from evalkit.did_you_mean import check_known
from evalkit.errors import EvalkitError, UsageError
from model_adapters.checkpoint import SIDECAR
from model_adapters.loading import find_device
from model_adapters.reference import fast_paths
from model_adapters.reference.architecture import KINDS, ROPE_THETA
from model_adapters.reference.batches import Batch, BatchStream
from model_adapters.reference.curriculum import BATCH_TOKENS
from model_adapters.reference.start import Start, continued, fresh
from model_adapters.reference.step import (
    CONTINUED_RATE_SHARE,
    PEAK_RATES,
    GradientStep,
    Inputs,
    apply,
    learning_rate,
    make_optimizer,
)
from reports.plain_text import one_line

LOG = "log.jsonl"
LOG_EVERY = 25
FIRST_TOKENS, CONTINUED_TOKENS = 450_000_000, 65_000_000
FIRST_CHECKPOINTS, CONTINUED_CHECKPOINTS = 6, 1
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class Plan:
    """Options of one phase of training."""

    minutes: float
    tokens: int
    peak_rate: float
    weight_decay: float
    checkpoints: int
    seed: int
    out: Path

    @property
    def steps(self) -> int:
        return max(1, self.tokens // BATCH_TOKENS)


class Clock:
    """Progress of the phase in [0, 1]: by tokens, or by time if time runs out first.

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
    """Loss and accuracy as lines of JSON, averaged over `LOG_EVERY` steps; also printed. Use as a context manager."""

    def __init__(self, path: Path, *, tokens_before: int) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._tokens_before = tokens_before
        self._answers: dict[str, list[bool]] = defaultdict(list)
        self._losses: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, batch: Batch, loss_P: Tensor, correct_P: Tensor) -> None:
        """Count a batch: a question is right if every most likely token is an acceptable one."""
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
            "tokens_seen": self._tokens_before + tokens,
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


def train(plan: Plan, start: Start, device: torch.device, workers: int) -> None:
    """Run `plan` from `start` and leave the checkpoints and the log under the plan's `out`."""
    tokenizer_file = start.tokenizer_folder / "tokenizer.json"
    with BatchStream(tokenizer_file, seed=plan.seed, workers=workers, phase=start.phase) as stream:
        clock = Clock(plan)
        first = start.tokens_seen // BATCH_TOKENS
        optimize(plan, start, stream.batches(clock.progress, plan.steps, first=first), clock, device)


def optimize(plan: Plan, start: Start, batches: Iterable[Batch], clock: Clock, device: torch.device) -> None:
    """Take a step for each of `batches` until the clock's end, saving and logging as `plan` says."""
    plan.out.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    model = start.model.to(device)  # type: ignore[arg-type]  # transformers wraps `to` without its types
    model.train()
    fast_paths.install(model)
    gradient = GradientStep(model)
    optimizer = make_optimizer(model, peak=plan.peak_rate, weight_decay=plan.weight_decay)
    saved = step = 0
    with Log(plan.out / LOG, tokens_before=start.tokens_seen) as log:
        for step, batch in enumerate(batches, start=1):
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
                save(start, plan.out / f"checkpoint-{saved}", tokens=tokens)
    save(start, plan.out / "final", tokens=step * BATCH_TOKENS)


def save(start: Start, target: Path, *, tokens: int) -> None:
    """A plain transformers checkpoint in bf16 of `start`'s model after `tokens` more, with tokenizer and sidecar."""
    plain = AutoModelForCausalLM.from_config(start.model.config).to(torch.bfloat16)  # type: ignore[no-untyped-call]
    plain.load_state_dict(start.model.state_dict())
    plain.save_pretrained(target)
    for name in TOKENIZER_FILES:
        shutil.copyfile(start.tokenizer_folder / name, target / name)
    sidecar = {
        "trained": True,
        "tokens_seen": start.tokens_seen + tokens,
        **({"note": start.note} if start.note else {}),
    }
    (target / SIDECAR).write_text(json.dumps(sidecar) + "\n", encoding="utf-8")


def main(
    kind: str = typer.Option(..., help=f"Which shape: {' or '.join(KINDS)}."),
    continue_from: Path | None = typer.Option(
        None,
        help="Folder of a finished checkpoint of this kind to train further, with a fresh optimizer and more of cwe.",
    ),
    minutes: float = typer.Option(10.0, min=0.05, help="Upper bound; the schedule shrinks to it."),
    tokens: int | None = typer.Option(
        None,
        min=BATCH_TOKENS,
        help=f"Training tokens, padding included: {FIRST_TOKENS:,}, or {CONTINUED_TOKENS:,} continued.",
    ),
    peak_rate: float | None = typer.Option(
        None, min=1e-9, help=f"Highest learning rate: the kind's own, or {CONTINUED_RATE_SHARE:g} of it continued."
    ),
    weight_decay: float = typer.Option(0.05, help="On matrices."),
    rope_theta: float | None = typer.Option(
        None, min=1.0, help=f"Of a fresh transformer ({ROPE_THETA:,.0f}); the hybrid has no positions."
    ),
    checkpoints: int | None = typer.Option(
        None,
        min=1,
        help=f"Equal parts, a checkpoint after each: {FIRST_CHECKPOINTS}, or {CONTINUED_CHECKPOINTS} continued.",
    ),
    seed: int = typer.Option(0, help="Of fresh weights and of data."),
    workers: int = typer.Option(14, min=1, help="Processes that make batches."),
    out: Path = typer.Option(Path("runs/reference"), help="Folder of checkpoints and the log."),
    device: str = typer.Option("auto", help="auto (a GPU if there is one), cuda or cpu."),
) -> None:
    """Train a reference model."""
    check_known("--kind", [kind], KINDS)
    place = find_device(device)
    further = continue_from is not None
    plan = Plan(
        minutes=minutes,
        tokens=tokens or (CONTINUED_TOKENS if further else FIRST_TOKENS),
        peak_rate=peak_rate or PEAK_RATES[kind] * (CONTINUED_RATE_SHARE if further else 1.0),
        weight_decay=weight_decay,
        checkpoints=checkpoints or (CONTINUED_CHECKPOINTS if further else FIRST_CHECKPOINTS),
        seed=seed,
        out=out / kind,
    )
    if (plan.out / LOG).exists():
        raise UsageError(f"--out {out}: {plan.out} holds a training already; name another folder")
    if continue_from is None:
        start = fresh(kind, rope_theta=rope_theta or ROPE_THETA, seed=seed)
    elif rope_theta is not None:
        raise UsageError(f"--rope-theta {rope_theta:g}: the checkpoint of --continue-from has its own; leave it out")
    else:
        start = continued(kind, continue_from)
    train(plan, start, place, workers)


def run() -> None:
    """The command line: a user's mistake is one line on stderr and exit code 2."""
    try:
        typer.run(main)
    except EvalkitError as error:
        print(f"train: {one_line(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
