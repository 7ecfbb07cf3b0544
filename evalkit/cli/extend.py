"""`evalkit extend`: does a model's context extension hold?"""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, RUN, Bundle, takes

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import Finished, ModelOptions, RunOptions
    from evalkit.records import RunRecord, SampleRecord
    from model_adapters.loading import LoadedModel
    from suites.context_extension import ExtensionRun, ExtensionSettings, Margins
    from suites.mmlu import MmluSettings

EXAMPLES = (
    "Examples: evalkit extend --ctx 65536 --trained 8192 · "
    "evalkit extend --ctx 64K --model ./extended --before ./base --baseline ./transformer · "
    "evalkit extend --ctx 32K --model ./base --override yarn:factor=4,original=8192"
)
EMBEDDED_SAMPLES, EMBEDDED_WINDOWS = 4, 2
FIGURES = "figures"


def _margins(_: typer.Context, values: dict[str, Any]) -> "Margins":
    from suites.context_extension import Margins

    return Margins(values["margin"], values["margin_points"], values["margin_bits"])


MARGINS = Bundle(
    "margins",
    {
        "margin": (
            float,
            typer.Option(0.05, "--margin", min=0.0, help="Nats per token that the loss may rise past the window."),
        ),
        "margin_points": (
            float,
            typer.Option(2.0, "--margin-points", min=0.0, help="Points that may be lost at 4096 and on MMLU."),
        ),
        "margin_bits": (
            float,
            typer.Option(0.02, "--margin-bits", min=0.0, help="Bits per byte that may be lost at 4096."),
        ),
    },
    _margins,
)
"""A `Margins`: what counts as a loss."""


@takes(MARGINS, MODEL, RUN)
def extend(
    ctx: str = typer.Option(..., "--ctx", help="The length that is tested; the grid doubles from 4096 up to it."),
    trained: str | None = typer.Option(
        None, "--trained", help="Trained window before the extension; by default what the checkpoint says."
    ),
    before: str | None = typer.Option(None, "--before", help="The checkpoint before its extension: what was lost?"),
    baseline: str | None = typer.Option(None, "--baseline", help="A model to be better than, at every length."),
    override: str | None = typer.Option(
        None,
        "--override",
        help="Control experiment: none, rope:theta=T, linear:factor=F, ntk:factor=F or yarn:factor=F,original=N.",
    ),
    tasks: str | None = typer.Option(
        None, "--tasks", help="RULER tasks of the grid; niah_single_2, niah_multikey_1 and niah_multikey_3 by default."
    ),
    samples: int | None = typer.Option(
        None, "--samples", help="Samples a task and length: 40 for a named model, 4 for the embedded default."
    ),
    depths: int = typer.Option(10, "--depths", help="Bins of needle depth."),
    windows: int | None = typer.Option(
        None, "--windows", help="Long documents whose loss is read: 8 for a named model, 2 for the embedded default."
    ),
    text: Path | None = typer.Option(None, "--text", help="Where they come from: text or .jsonl; essays by default."),
    field: str = typer.Option("text", "--field", help="Of a JSONL line, the field with the text."),
    mmlu: int | None = typer.Option(None, "--mmlu", min=1, help="With --before: MMLU questions a subject, 5-shot."),
    mmlu_data: Path | None = typer.Option(None, "--mmlu-data", help="MMLU's CSV files; the hub by default."),
    seed: int = typer.Option(42, "--seed", help="Another seed asks other questions."),
    *,
    margins: "Margins",
    model_options: "ModelOptions",
    run_options: "RunOptions",
) -> None:
    """Check a context extension: loss by position, needles by depth and length, effective length, what was lost.

    Each check passes, fails, or cannot be told from this many samples, and says the smallest difference it could
    have seen. The run folder holds charts of the grid and of the loss.
    """
    from suites import context_extension as suite

    named = "model" in run_options.passed
    settings = suite.ExtensionSettings.of(
        ctx=options.parse_context("--ctx", ctx),
        tasks=options.parse_names(tasks),
        samples=samples if samples is not None else suite.SAMPLES if named else EMBEDDED_SAMPLES,
        depths=depths,
        windows=windows if windows is not None else suite.WINDOWS if named else EMBEDDED_WINDOWS,
        path=text,
        field=field,
        seed=seed,
        mmlu=_mmlu(mmlu, mmlu_data, before),
    )
    check = _Check(
        settings=settings,
        trained=None if trained is None else options.parse_context("--trained", trained),
        margins=margins,
        before=before,
        baseline=baseline,
    )
    raise typer.Exit(check.run(replace(model_options, override=override), run_options))


class _Check:
    """One extension check, over up to three models."""

    def __init__(
        self,
        *,
        settings: "ExtensionSettings",
        trained: int | None,
        margins: "Margins",
        before: str | None,
        baseline: str | None,
    ) -> None:
        self._settings, self._trained, self._margins = settings, trained, margins
        self._others = {"before": before, "baseline": baseline}
        self._runs: dict[str, ExtensionRun] = {}

    def run(self, model_options: "ModelOptions", run_options: "RunOptions") -> int:
        """Run the other models first, so that their verdicts are part of the run that is shown."""
        from evalkit.cli.shared.baseline_run import show_both
        from evalkit.cli.shared.suite_run import Finished, check_place, perform, show_finished

        check_place(run_options)
        baseline: Finished | None = None
        for role, name in self._others.items():
            if name is not None:
                finished = self._run_other(role, name, model_options, run_options)
                if not isinstance(finished, Finished):
                    return finished
                self._runs[role] = _extension_run(finished.record, finished.samples)
                baseline = finished if role == "baseline" else baseline
        settings = self._settings
        if self._runs:
            # The other models' time is not this one's.
            run_options = replace(run_options, started_at=time.perf_counter())
        finished = perform(
            lambda loaded: _build(settings, loaded),
            model_options,
            run_options,
            settings={**asdict(settings), "trained": self._trained, "margins": asdict(self._margins), **self._others},
            headline=_headline(settings, model_options.model),
            conclude=self._conclude,
            illustrate=_illustrate,
        )
        if not isinstance(finished, Finished):
            return finished
        if baseline is not None:
            return show_both(baseline, finished, run_options.format)
        return show_finished(finished, run_options.format)

    def _run_other(
        self, role: str, name: str, model_options: "ModelOptions", run_options: "RunOptions"
    ) -> "Finished | int":
        from evalkit.cli.shared.suite_run import perform

        settings = self._settings.short_only() if role == "before" else self._settings
        return perform(
            lambda loaded: _build(settings, loaded),
            replace(model_options, model=name, override=None),
            replace(run_options, out=None if run_options.out is None else run_options.out / role),
            settings=asdict(settings),
            headline=_headline(settings, f"{name} ({role})"),
        )

    def _conclude(self, record: "RunRecord", samples: "Sequence[SampleRecord]") -> "RunRecord":
        from suites.context_extension import conclude

        conclusion = conclude(
            self._settings,
            _extension_run(record, samples),
            trained_length=self._trained or record.model.trained_length,
            margins=self._margins,
            before=self._runs.get("before"),
            baseline=self._runs.get("baseline"),
        )
        own = {figure.name: figure for figure in (*record.figures, *conclusion.figures)}
        return replace(record, figures=tuple(own.values()), verdicts=conclusion.verdicts)


def _illustrate(record: "RunRecord", samples: "Sequence[SampleRecord]", folder: Path) -> None:
    from reports.chart_files import write_charts
    from reports.run_charts import run_charts

    write_charts(run_charts(record, samples), folder / FIGURES)


def _mmlu(samples: int | None, data: Path | None, before: str | None) -> "MmluSettings | None":
    """What is asked of both checkpoints; UsageError for options that would do nothing."""
    from evalkit.errors import UsageError
    from suites.mmlu import MmluSettings

    if samples is None:
        if data is not None:
            raise UsageError(f"--mmlu-data {data}: say how many questions a subject with --mmlu")
        return None
    if before is None:
        raise UsageError(f"--mmlu {samples} is for what was lost since a checkpoint; name it with --before")
    return MmluSettings.of(samples=samples, data=data)


def _build(settings: "ExtensionSettings", loaded: "LoadedModel") -> Any:
    from evalkit.cli.shared.suite_run import readable_tokens
    from suites.context_extension import build

    return build(settings, loaded.tokenizer, max_tokens=readable_tokens(loaded.identity))


def _extension_run(record: "RunRecord", samples: "Sequence[SampleRecord]") -> "ExtensionRun":
    from suites.context_extension import ExtensionRun

    return ExtensionRun(record, samples)


def _headline(settings: "ExtensionSettings", model: str) -> str:
    prompts = len(settings.tasks) * len(settings.ctxs) * settings.samples
    return (
        f"extend: {prompts:,} needle prompts from {settings.short_ctx:,} to {settings.ctx:,} tokens and "
        f"{settings.windows} long documents, model {model}"
    )
