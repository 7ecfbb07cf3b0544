"""The report of a run shows every figure once, with the information needed to interpret it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from evalkit.records import CorpusUse, Figure, ResultRow, RunRecord, SuiteSummary, SummaryRow
from reports.markdown import render_run
from reports.run_report import UNTRAINED, run_report, scores_report
from reports.subject_facts import corpus_facts
from tests.reports.example_runs import EMBEDDED, FULL, THINKING


@pytest.mark.parametrize(("name", "record"), [("full", FULL), ("embedded", EMBEDDED), ("thinking", THINKING)])
def test_the_whole_document(name: str, record: RunRecord, check_golden: Callable[[str, str], None]) -> None:
    check_golden(f"reports/run_{name}.md", render_run(record))


def test_untrained_weights_are_reported_before_every_score() -> None:
    assert run_report(EMBEDDED).notices[0] == UNTRAINED
    assert UNTRAINED not in run_report(FULL).notices


def test_a_quantized_model_is_not_called_plain() -> None:
    quantized = replace(FULL, model=replace(FULL.model, quantization="fp8, e4m3; dequantized while loading"))
    expected = f", {FULL.model.dtype} (fp8, e4m3; dequantized while loading), "
    assert expected in dict(run_report(quantized).facts)["model"]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("my novels/a b.txt sha256:12; my novels/c.txt sha256:34; d.txt sha256:56", "my novels/a b.txt and 2 more"),
        ("my novels/one; two.txt", "my novels/one; two.txt"),
        ("wonderwords", "wonderwords"),
    ],
)
def test_of_many_files_the_first_is_named(source: str, shown: str) -> None:
    corpora = (CorpusUse("essays", "novels", "sha256:abc", source),)
    assert corpus_facts(corpora) == [("corpus: essays", f"novels ({shown}, sha256 abc)")]


def test_a_cell_whose_samples_all_failed_has_no_score() -> None:
    row = ResultRow("vt", 4096, "all", None, 0, None, errors=5)
    (table,) = run_report(replace(FULL, results=(row,), summary=(), unscored=(), failures={})).tables
    assert table.rows == (("vt", "all 5 errored"),)


def test_a_cell_that_was_not_asked_has_no_score() -> None:
    (scores, _) = run_report(FULL).tables
    assert {row[0]: row[2] for row in scores.rows}["cwe"] == "unscored"


def test_equal_numbers_of_samples_stand_in_the_title_and_different_ones_in_the_cells() -> None:
    rows = (ResultRow("vt", 4096, "all", 10.0, 100, None), ResultRow("cwe", 4096, "all", 20.0, 100, None))
    alike = scores_report("", SuiteSummary(rows)).tables[0]
    assert alike.title == "Score (0-100) by task and context length; 100 samples each"
    assert alike.rows == (("vt", "10.0"), ("cwe", "20.0"))
    differing = scores_report("", SuiteSummary((rows[0], replace(rows[1], n=1)), ())).tables[0]
    assert differing.title == "Score (0-100) by task and context length"
    assert differing.rows == (("vt", "10.0 (n=100)"), ("cwe", "20.0 (n=1)"))


def test_a_score_is_shown_with_chance() -> None:
    rows = (ResultRow("mc", 0, "acc", 40.0, 9, None, chance=25.0), ResultRow("free", 0, "all", 10.0, 9, None))
    table = scores_report("", SuiteSummary(rows, (SummaryRow(0, 25.0, None, 2, complete=True),))).tables[0]
    assert table.columns == ("task", "chance", "score")
    assert table.rows == (("mean of 2 tasks", "", "25.0"), ("mc", "25.0", "40.0"), ("free", "", "10.0"))


def test_an_effective_length_below_every_length_is_reported() -> None:
    figures = (Figure("effective_length", 0, "tokens"), Figure("unknown", None, "points"))
    assert scores_report("", SuiteSummary((), figures=figures)).facts == (
        ("effective length", "below the shortest length"),
    )


def test_no_score_at_all_is_still_a_report() -> None:
    report = scores_report("nothing", SuiteSummary(()))
    assert report.tables[0].rows == ()
    assert report.facts == ()
