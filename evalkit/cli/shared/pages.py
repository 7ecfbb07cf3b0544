"""HTML pages of stored runs: reports, charts and samples, with some prompts made again."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.cli.compare import Compared
from evalkit.errors import UsageError
from evalkit.views.samples import PromptSource, comparison_views, run_views

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import RunRecord
    from reports.charts import Chart
    from reports.report import Report


def run_page(run: "StoredRun", *, prompts: int) -> str:
    """The page of one run, with up to `prompts` prompts made again, of wrong answers first."""
    from reports.page import Page, RunSamples, render_page
    from reports.run_charts import run_charts
    from reports.run_report import run_report

    samples = list(run.samples.values())
    source = _prompt_source(run.record, prompts)
    views = run_views(samples, source)
    report = _with_prompt_notice(run_report(run.record), source)
    return render_page(Page(report, run_charts(run.record, samples), [RunSamples(str(run.folder), views)]))


def comparison_page(compared: Sequence[Compared], *, flips: int, prompts: int, notices: Sequence[str] = ()) -> str:
    """The page of comparisons, with `notices` first; `prompts` are of the samples that got worse first.

    Several suites stand below one another, their tables and charts named by suite.
    """
    from reports.comparison_report import comparison_report
    from reports.page import Page, RunSamples, render_page
    from reports.run_charts import comparison_charts

    reports: list[Report] = []
    charts: list[Chart] = []
    samples: list[RunSamples] = []
    for one in compared:
        source = PromptSource(None, 0)
        if one.pairing is not None:
            source = _prompt_source(one.pairing.new.record, prompts)
            samples.append(RunSamples(one.comparison.new.folder, comparison_views(one.pairing, source)))
        reports.append(_with_prompt_notice(comparison_report(one.comparison, flips=flips), source))
        charts += comparison_charts(one.comparison, one.pairing)
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
    )


def _prompt_source(record: "RunRecord", limit: int) -> PromptSource:
    if limit == 0:
        return PromptSource(None, 0)
    from evalkit.cli.shared.prompt_remaker import PromptRemaker

    try:
        return PromptSource(PromptRemaker(record).sample, limit)
    except UsageError as error:
        return PromptSource(None, limit, str(error))


def _with_prompt_notice(report: "Report", source: PromptSource) -> "Report":
    if source.reason is None:
        return report
    return replace(report, notices=(*report.notices, f"Prompts are not shown: {source.reason}."))
