"""HTML pages of stored runs: reports, charts, and samples with excerpts of their prompts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.views.samples import comparison_views, run_views

if TYPE_CHECKING:
    from evalkit.analysis.compared_runs import ComparedRuns
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import SampleRecord
    from reports.charts import Chart
    from reports.report import Report


NO_EXCERPTS = (
    "Some samples were stored without excerpts of their prompts; show a whole prompt with: "
    "evalkit show RUN --sample ID --format json"
)


def run_page(run: "StoredRun") -> str:
    """The page of one run."""
    from reports.page import Page, RunSamples, render_page
    from reports.run_charts import run_charts
    from reports.run_report import run_report

    samples = list(run.samples.values())
    report = _with_prompt_notice(run_report(run.record), samples)
    return render_page(Page(report, run_charts(run.record, samples), [RunSamples(str(run.folder), run_views(samples))]))


def comparison_page(compared: "Sequence[ComparedRuns]", *, flips: int, notices: Sequence[str] = ()) -> str:
    """The page of comparisons, with `notices` first.

    Several suites follow one another; their tables and charts are named by suite.
    """
    from reports.comparison_report import comparison_names, comparison_report
    from reports.page import Page, RunSamples, render_page
    from reports.run_charts import comparison_charts, within_suite

    reports: list[Report] = []
    charts: list[Chart] = []
    samples: list[RunSamples] = []
    for one in compared:
        report, suite = comparison_report(*one.comparisons, flips=flips), one.comparisons[0].suite
        if one.pairings:
            views, names = comparison_views(one.pairings), comparison_names(one.comparisons)
            samples.append(RunSamples(str(one.runs[-1].folder), views, names, suite))
            report = _with_prompt_notice(report, (pair.new for pairing in one.pairings for pair in pairing.pairs()))
        reports.append(report)
        drawn = comparison_charts(one)
        charts += drawn if len(compared) == 1 else [within_suite(chart, suite) for chart in drawn]
    report = _joined(reports)
    report = replace(report, notices=(*notices, *report.notices))
    return render_page(Page(report, charts, samples))


def _joined(reports: "Sequence[Report]") -> "Report":
    """Several reports as one, with the headlines of all."""
    if len(reports) == 1:
        return reports[0]
    return replace(
        reports[0],
        headline=" | ".join(report.headline for report in reports),
        notices=tuple(notice for report in reports for notice in report.notices),
        tables=tuple(table for report in reports for table in report.tables),
        facts=tuple(fact for report in reports for fact in report.facts),
        verdicts=tuple(verdict for report in reports for verdict in report.verdicts),
        origin=tuple(dict.fromkeys(line for report in reports for line in report.origin)),
    )


def _with_prompt_notice(report: "Report", samples: "Iterable[SampleRecord]") -> "Report":
    if all(sample.excerpts or sample.unscored is not None for sample in samples):
        return report
    return replace(report, notices=(*report.notices, NO_EXCERPTS))
