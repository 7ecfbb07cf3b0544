"""A row covers all documents on a known scale, or gives the reason why it does not."""

from pathlib import Path

import pytest

from evalkit.records import Completion, ContinuationScore, SampleRecord, SuiteSummary
from evalkit.running.answering import sample_record
from model_adapters.scripted import ScriptedTokenizer
from suites.lm_eval_tasks import LmEvalSettings, build

TASK = """
task: own
custom_dataset: !function own_utils.documents
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function own_utils.results
metric_list:
"""
METRIC = "  - {metric: %s, aggregation: mean, higher_is_better: true}\n"
CODE = """
from datasets import Dataset


def documents(**_):
    choices = ["right", "wrong"]
    rows = [dict(question="What is %d?" % n, choices=choices, answer=0, number=n) for n in range(6)]
    return {{"test": Dataset.from_list(rows)}}


def results(doc, results):
    right = results[0][0] > results[1][0]
    return {returned}
"""


def run(folder: Path, returned: str, *metrics: str, right: int = 4) -> tuple[SuiteSummary, list[SampleRecord]]:
    """The summary for a model with right answers to the first `right` of 6 documents."""
    folder.mkdir(exist_ok=True)
    listed = "".join(METRIC % name for name in metrics)
    (folder / "own.yaml").write_text(TASK.format(kind="multiple_choice") + listed)
    (folder / "own_utils.py").write_text(CODE.format(returned=returned))
    suite = build(LmEvalSettings.of(tasks=["own"], include_path=folder), ScriptedTokenizer())
    records = []
    for key in suite.plan().keys:
        nats = (-1.0, -2.0) if key.index < right else (-2.0, -1.0)
        scores = tuple(ContinuationScore(value, is_greedy=False) for value in nats)
        completion = Completion(key.id, "", 10, 0, "stop", 0.1, 0.0, continuations=scores)
        asked = suite.ask(key)
        records.append(sample_record(asked, completion, suite.judge(asked, completion)))
    return suite.summarize(records), records


@pytest.mark.parametrize("full", ["1", "1.0", "100", "100.0"])
@pytest.mark.parametrize("metric", ["em", "acc", "f1"])
def test_a_metric_in_0_100_and_one_in_0_1_give_the_same_row(tmp_path: Path, full: str, metric: str) -> None:
    summary, records = run(tmp_path / "task", f"{{'{metric}': {full} * right}}", metric)
    (row,) = summary.results
    assert (row.metric, row.n, row.unscored) == (metric, 6, 0)
    assert row.value == pytest.approx(200 / 3)
    assert [record.score for record in records] == [1, 1, 1, 1, 0, 0]
    assert summary.unscored == ()
    (figure,) = summary.figures
    assert figure.value == pytest.approx(float(full) * 2 / 3), "the figure is lm-eval's own aggregate"


def test_parts_of_a_full_score_are_kept(tmp_path: Path) -> None:
    _, records = run(tmp_path / "task", "{'f1': 100.0 if right else 0.5}", "f1")
    assert [record.score for record in records] == [1, 1, 1, 1, 0.005, 0.005]


def test_the_first_metric_of_known_scale_is_the_rows(tmp_path: Path) -> None:
    summary, _ = run(tmp_path / "task", "{'em': 0.0, 'acc': float(right)}", "em", "acc")
    (row,) = summary.results
    assert (row.metric, row.n, row.value) == ("acc", 6, pytest.approx(200 / 3))


FAILS_ON_OTHER_ANSWERS = "{'em': 0.0 if min(results)[0] > -500 else 1 / 0}"


@pytest.mark.parametrize(
    "returned", ["{'em': 0.0}", "{'em': 1000.0 * right}", "{'em': right - 0.5}", FAILS_ON_OTHER_ANSWERS]
)
def test_a_metric_of_unknown_scale_leaves_the_row_unscored_and_says_so(tmp_path: Path, returned: str) -> None:
    summary, records = run(tmp_path / "task", returned, "em")
    (row,) = summary.results
    assert (row.value, row.n, row.unscored) == (None, 0, 6)
    (cell,) = summary.unscored
    assert cell.task == "own"
    assert cell.reason == "none of its metrics (em) is a mean of scores of known scale; see the figures"
    assert all(record.score is None for record in records)


def test_documents_outside_the_scale_are_counted_and_named(tmp_path: Path) -> None:
    returned = "{'acc': 100.0 if doc['number'] == 3 and results[0][0] == -1.0 else float(right)}"
    summary, _ = run(tmp_path / "task", returned, "acc")
    (row,) = summary.results
    assert (row.n, row.unscored) == (5, 1)
    (cell,) = summary.unscored
    assert cell.reason == "1 of 6 documents have acc outside 0-1 and are not in the row; see the figures"
