"""Results of a context extension, computed from its samples without tokenizer or corpora."""

from collections.abc import Sequence

from evalkit.records import Figure, ResultRow, SampleRecord, SuiteSummary
from evalkit.statistics.effective_length import effective_length
from evalkit.statistics.rows import result_row, row_warnings, score_figure
from suites.context_extension.depth_grid import grid_figures
from suites.context_extension.effective_length import above_fixed, above_own_share, collect, length_figure
from suites.context_extension.position_loss import LONG_TEXT, SHORT_TEXT, position_figures
from suites.context_extension.settings import ExtensionSettings
from suites.mmlu.summary import summarize as summarize_mmlu
from suites.ruler.summary import summarize as summarize_ruler
from suites.text_loss.summary import BITS_PER_BYTE


def summarize(settings: ExtensionSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """Rows of every task and length; means, grid, loss by position and effective lengths as figures."""
    others = {LONG_TEXT, SHORT_TEXT, *(settings.mmlu.subjects if settings.mmlu is not None else ())}
    asked = [record for record in records if record.task not in others]
    scores = collect(asked, settings.tasks)
    fixed = effective_length(above_fixed(scores))
    own = effective_length(above_own_share(scores))
    mmlu_rows, mmlu_figures = _mmlu_results(settings, records)
    rows = (*summarize_ruler(asked).results, *_loss_rows(settings, records), *mmlu_rows)
    return SuiteSummary(
        results=rows,
        figures=(
            *(
                score_figure("mean", [list(of.values()) for of in cells.values()], ctx=ctx)
                for ctx, cells in scores.items()
            ),
            *length_figure("", fixed, len(asked)),
            *length_figure("own_share", own, len(asked)),
            *grid_figures(asked, settings.depths),
            *position_figures(records),
            *mmlu_figures,
        ),
        warnings=row_warnings(rows),
    )


def _loss_rows(settings: ExtensionSettings, records: Sequence[SampleRecord]) -> list[ResultRow]:
    rows = []
    for task, ctx in ((SHORT_TEXT, settings.short_ctx), (LONG_TEXT, settings.ctx)):
        here = [record for record in records if record.task == task]
        if here:
            rows.append(result_row(task, ctx, here, metric=BITS_PER_BYTE))
    return rows


def _mmlu_results(
    settings: ExtensionSettings, records: Sequence[SampleRecord]
) -> tuple[Sequence[ResultRow], Sequence[Figure]]:
    """One row per subject, and the accuracy over all questions."""
    if settings.mmlu is None:
        return (), ()
    here = [record for record in records if record.task in settings.mmlu.subjects]
    found = summarize_mmlu(settings.mmlu, here)
    (mean,) = found.summary
    scored = sum(row.n for row in found.results)
    return found.results, (Figure("mmlu", mean.mean, "points", mean.ci95, scored),)
