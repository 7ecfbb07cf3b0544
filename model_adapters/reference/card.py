"""Write the reference models' cards from their logs and run records: `python -m model_adapters.reference.card`.

A program, not a library. It writes README.md and the chart of the losses into each checkpoint's folder, and prints the
table of the project's README. Every figure comes from the records under `history/`.

`history/KIND/log.jsonl` is the log of the first phase of training; a further phase has log-2.jsonl in the same folder.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from evalkit.analysis.finished_run import StoredRun, load_run
from evalkit.records import ResultRow
from evalkit.statistics.rows import mean_of_tasks
from model_adapters.reference import NAMES, folder
from model_adapters.reference.curriculum import CONTINUED, FIRST

HISTORY = Path(__file__).parent / "history"
NEEDLES = "niah_"
TEMPLATE = Path(__file__).parent / "card.md"
CONTINUED_TEMPLATE = Path(__file__).parent / "card-continued.md"

LogLines = list[dict[str, Any]]

SHAPES = {
    "hybrid": (
        "A small OLMo Hybrid model: three Gated DeltaNet layers with negative eigenvalues and one attention layer "
        "without positions"
    ),
    "transformer": (
        "A small Olmo 3 model, the baseline of `reference:hybrid`: two sliding-window layers (512 tokens) and a full "
        "one, twice, with RoPE (θ = 500,000)"
    ),
}
# The last entry of each kind is the training of the shipped checkpoint.
TRIALS = {
    "hybrid": """\
- 399 million tokens at a peak rate of 2e-3 with an earlier mixture: learned all needle tasks, but not vt, cwe or fwe.
- 184 million tokens at 2e-3 with more vt, cwe and fwe: learned needles and vt; cwe answers repeated the same words.
- 334 million tokens at 2e-3 with common words in any order: learned cwe and fwe, but no state tracking. Stopped early.
- 340 million tokens at 2e-3 with the state after every update as a target: {outcome}.""",
    "transformer": """\
- 41 million tokens at 2e-3 with the earlier mixture and the whole curriculum in these tokens: learned nothing.
- 56 million tokens at 1e-3 and at 4e-3 with the whole curriculum in these tokens: learned nothing.
- The first 61 to 66 million tokens of the final schedule at 1e-3 and 2e-3 with θ = 10,000, and at 1e-3 with
  θ = 500,000: the last was ahead everywhere (multikey_3: .93, compared with .68 and .14).
- 340 million tokens at 1e-3 with θ = 500,000: {outcome}.""",
}
CAVEATS = {
    "hybrid": (
        "In state tracking it learned only parity; swaps and rotations of five items (S5, A5), the counter, registers, "
        "boxes and the pointer stayed near chance. In cwe it names half of the words and repeats some of them."
    ),
    "transformer": (
        "Beyond the longest training sequence, positions were never seen in training, and scores fall. In state "
        "tracking it learned the parity of up to eight bits."
    ),
}


def score_table(run: StoredRun) -> list[str]:
    """Task × context length as markdown: value and 95 % interval, 0-100."""
    ctxs, tasks = _ctxs(run), list(dict.fromkeys(row.task for row in run.record.results))
    cells = {row.cell: row for row in run.record.results}
    lines = [_line("task", [f"{ctx:,}" for ctx in ctxs]), _line("---", ["---:"] * len(ctxs))]
    lines += [_line(task, [_cell(cells.get((task, ctx))) for ctx in ctxs]) for task in tasks]
    lines.append(_line("**needle tasks**", [f"**{needles(run, ctx)}**" for ctx in ctxs]))
    return [*lines, _line("**all**", [f"**{whole(run, ctx)}**" for ctx in ctxs])]


def needles(run: StoredRun, ctx: int) -> str:
    """Mean of the needle tasks' scores at one length with its 95 % interval, 0-100."""
    groups = [
        [sample.score for sample in samples if sample.score is not None]
        for (task, length), samples in run.cells().items()
        if length == ctx and task.startswith(NEEDLES)
    ]
    return _value(*mean_of_tasks(groups))


def whole(run: StoredRun, ctx: int) -> str:
    """Mean of all tasks of the run at one length with its 95 % interval, 0-100."""
    (row,) = [row for row in run.record.summary if row.ctx == ctx]
    return _value(row.mean, row.ci95)


def track_table(run: StoredRun) -> list[str]:
    """State-tracking task × number of updates as markdown: accuracy, 0-100."""
    values = {(row.task, row.updates): row.value for row in run.record.results}
    counts = sorted({row.updates for row in run.record.results if row.updates is not None})
    lines = [_line("task", [str(count) for count in counts]), _line("---", ["---:"] * len(counts))]
    for task in dict.fromkeys(task for task, _ in values):
        lines += [_line(task, [_whole_number(values[task, count]) for count in counts])]
    return lines


def history_table(kind: str) -> list[str]:
    """Scores by training tokens, from the records of the intermediate checkpoints."""
    lines = [_line("training tokens", ["needle tasks at 4,096", "all tasks at 4,096"]), _line("---:", ["---:"] * 2)]
    for path in sorted((HISTORY / kind).glob("checkpoint-*")):
        run = load_run(path)
        tokens = "unknown" if run.record.tokens_seen is None else f"{run.record.tokens_seen / 1e6:,.1f} M"
        lines.append(_line(tokens, [needles(run, 4096), whole(run, 4096)]))
    return lines


def plot_losses(target: Path) -> None:
    """Plot the answer and text loss of both models by training tokens."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    for axis, part in zip(axes, ("answer", "text"), strict=True):
        for kind in NAMES:
            log = [line for phase in read_logs(kind) for line in phase]
            axis.plot([line["tokens_seen"] / 1e6 for line in log], [line["loss"][part] for line in log], label=kind)
        axis.set_title(f"{part} loss (nats per token)")
        axis.set_xlabel("training tokens (millions)")
        axis.legend()
    axes[0].set_yscale("log")
    figure.savefig(target, dpi=90)
    pyplot.close(figure)


def read_logs(kind: str) -> list[LogLines]:
    """The lines of the training logs, one list per phase, in order."""
    paths = (HISTORY / kind).glob("log*.jsonl")
    logs = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in paths]
    return sorted(logs, key=lambda log: int(log[0]["tokens_seen"]))


def phase_rate(log: LogLines) -> str:
    """The peak learning rate of a phase as written on a command line, from a log that contains it to within 1 %."""
    digits, exponent = f"{max(line['learning_rate'] for line in log):.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def phase_tokens(logs: Sequence[LogLines], phase: int) -> int:
    """Training tokens of phase `phase` (from 0), padding included."""
    before = logs[phase - 1][-1]["tokens_seen"] if phase else 0
    return int(logs[phase][-1]["tokens_seen"]) - int(before)


def continuation(kind: str, logs: Sequence[LogLines]) -> str:
    """The card's paragraphs on the phases after the first; empty if there were none."""
    return "".join(_continued(kind, logs, phase) for phase in range(1, len(logs)))


def _continued(kind: str, logs: Sequence[LogLines], phase: int) -> str:
    tokens, last = phase_tokens(logs, phase), logs[phase][-1]
    return CONTINUED_TEMPLATE.read_text(encoding="utf-8").format(
        kind=kind,
        folder=f"{_out(phase - 1)}/{kind}/final",
        out=_out(phase),
        tokens=tokens,
        rate=phase_rate(logs[phase]),
        millions=f"{tokens / 1e6:.1f}",
        all_millions=f"{last['tokens_seen'] / 1e6:.1f}",
        seconds=f"{last['seconds']:.0f}",
        share=f"{100 * CONTINUED.share('cwe'):.0f}",
        first_share=f"{100 * FIRST.share('cwe'):.0f}",
    )


def _out(phase: int) -> str:
    """The value of --out in a card's commands; for the first phase it is the program's default."""
    return f"runs/phase-{phase + 1}" if phase else "runs/reference"


def trials(kind: str, logs: Sequence[LogLines]) -> str:
    """The training runs in order, ending with the shipped checkpoint."""
    outcomes = [*(["the first phase of this checkpoint"] if len(logs) > 1 else []), "this checkpoint"]
    lines = [TRIALS[kind].format(outcome=outcomes[0])]
    for phase in range(1, len(logs)):
        outcome = "this checkpoint" if phase == len(logs) - 1 else "a further phase of it"
        tokens = phase_tokens(logs, phase) / 1e6
        lines.append(
            f"- {tokens:.0f} million more from that checkpoint at {phase_rate(logs[phase])} with more cwe: {outcome}."
        )
    return "\n".join(lines)


def card(kind: str) -> str:
    """The model card of one reference model."""
    runs = {path.name: load_run(path) for path in sorted((HISTORY / kind).iterdir()) if path.is_dir()}
    lengths, logs = runs["lengths"], read_logs(kind)
    precise = [run for name, run in runs.items() if name.startswith("at-")]
    return TEMPLATE.read_text(encoding="utf-8").format(
        kind=kind,
        shape=SHAPES[kind],
        parameters=f"{lengths.record.model.parameters / 1e6:.2f} million",
        tokens=f"{phase_tokens(logs, 0) / 1e6:.1f}",
        rate=phase_rate(logs[0]),
        seconds=f"{logs[0][-1]['seconds']:.0f}",
        continued=continuation(kind, logs),
        trials=trials(kind, logs),
        caveat=CAVEATS[kind],
        seed=lengths.record.seed,
        scores="\n".join(score_table(lengths)),
        samples=_samples(lengths),
        precise="\n\n".join("\n".join(score_table(run)) for run in sorted(precise, key=_ctxs)),
        precise_samples=_samples(precise[0]),
        track="\n".join(track_table(runs["track"])),
        track_samples=_samples(runs["track"]),
        history="\n".join(history_table(kind)),
        history_samples=_samples(runs["checkpoint-1"]),
    )


def pair_table() -> list[str]:
    """Scores of both models by context length, for the project's README."""
    runs = {kind: load_run(HISTORY / kind / "lengths") for kind in NAMES}
    ctxs = _ctxs(runs["hybrid"])
    lines = [_line("", [f"{ctx:,}" for ctx in ctxs]), _line("---", ["---:"] * len(ctxs))]
    for name, mean in (("eight needle tasks", needles), ("all 13 tasks", whole)):
        lines += [_line(f"`reference:{kind}`, {name}", [mean(runs[kind], ctx) for ctx in ctxs]) for kind in NAMES]
    return lines


def _ctxs(run: StoredRun) -> list[int]:
    return sorted({row.ctx for row in run.record.results})


def _samples(run: StoredRun) -> int:
    return max(row.n for row in run.record.results)


def _whole_number(value: float | None) -> str:
    return "unscored" if value is None else f"{value:.0f}"


def _cell(row: ResultRow | None) -> str:
    return "unscored" if row is None else _value(row.value, row.ci95)


def _value(value: float | None, ci95: Sequence[float] | None) -> str:
    if value is None:
        return "unscored"
    return f"{value:.1f}" if ci95 is None else f"{value:.1f} [{ci95[0]:.1f}, {ci95[1]:.1f}]"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Write both cards and the charts of the losses, and print the table for the project's README."""
    for kind in NAMES:
        plot_losses(folder(kind) / "loss.png")
        (folder(kind) / "README.md").write_text(card(kind), encoding="utf-8")
    print("\n".join(pair_table()))


if __name__ == "__main__":
    typer.run(main)
