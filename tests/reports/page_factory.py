"""Pages of a run and of a comparison, with any text in every place for a model's output or a name."""

from dataclasses import replace
from pathlib import Path

from evalkit.analysis.compared_runs import compare_with_base
from evalkit.views.samples import Piece, SampleView, comparison_views, run_views
from reports.charts import Bars, Chart, HeatMap, Lines
from reports.comparison_report import comparison_names, comparison_report
from reports.page import Page, RunSamples
from reports.run_charts import comparison_charts, run_charts
from reports.run_report import run_report
from tests.evalkit.run_factory import RunSpec, changed, make_run

SPEC = RunSpec({(task, ctx): [1.0, 0.0] * 30 for task in ("vt", "cwe") for ctx in (4096, 65536)})
WORSE = changed(SPEC, {cell: [0.0, 0.0] * 15 + [1.0, 1.0] * 15 for cell in SPEC.scores})


def run_page(folder: Path) -> Page:
    run = make_run(folder / "base", SPEC)
    samples = list(run.samples.values())
    charts = tuple(run_charts(run.record, samples))
    return Page(run_report(run.record), charts, [RunSamples("base", run_views(samples))])


def comparison_page(folder: Path, *more: RunSpec) -> Page:
    """A page of BASE, of a run that is worse, and of `more` runs."""
    runs = [make_run(folder / str(place), spec) for place, spec in enumerate((SPEC, WORSE, *more))]
    compared = compare_with_base(runs[0], runs[1:])
    names = comparison_names(compared.comparisons)
    samples = [RunSamples("new", comparison_views(compared.pairings), names)]
    return Page(comparison_report(*compared.comparisons), tuple(comparison_charts(compared)), samples)


def spoiled(page: Page, text: str, *, rows: int = 2) -> Page:
    """`page` with `text` in every field that a model, a file or a user can fill, and `rows` rows in each table."""
    report = replace(
        page.report,
        headline=text,
        notices=(text,),
        tables=tuple(
            replace(
                table,
                title=text,
                note=text,
                columns=(text,) * len(table.columns),
                rows=((text,) * len(table.columns),) * rows,
                tones=(),
            )
            for table in page.report.tables
        ),
        facts=((text, text),),
        verdicts=(text,),
        origin=(text,),
    )
    charts = tuple(_spoiled_chart(chart, text) for chart in page.charts)
    samples = [
        RunSamples(text, [_spoiled_view(view, text) for view in run.views], [text] * len(run.names), text)
        for run in page.samples
    ]
    return Page(report, charts, samples)


def _spoiled_chart(chart: Chart, text: str) -> Chart:
    match chart:
        case HeatMap():
            links = tuple(tuple(text for _ in row) for row in chart.links)
            rows, columns = (text,) * len(chart.rows), (text,) * len(chart.columns)
            return replace(chart, title=text, x_label=text, y_label=text, rows=rows, columns=columns, links=links)
        case Lines():
            series = tuple(replace(one, name=text) for one in chart.series)
            return replace(chart, title=text, x_label=text, y_label=text, series=series)
        case Bars():
            groups = tuple((text, values) for _, values in chart.groups)
            categories, links = (text,) * len(chart.categories), (text,) * len(chart.links)
            return replace(chart, title=text, x_label=text, categories=categories, groups=groups, links=links)


def _spoiled_view(view: SampleView, text: str) -> SampleView:
    answers = tuple(
        None
        if one is None
        else replace(
            one, prediction=text, failure=text, problem=text, finish_reason=text, thought=text, thought_note=text
        )
        for one in view.answers
    )
    pieces = (Piece(text, 0, (text, text)),)
    return replace(view, id=view.id + text, task=text, targets=(text, text), answers=answers, pieces=pieces)
