"""All 13 tasks through the runner, with models that know everything, nothing, or one needle too many."""

from pathlib import Path

import pytest

from evalkit.analysis.finished_run import load_run
from evalkit.analysis.pairing import pair_runs
from evalkit.records import Request, RunRecord
from model_adapters.scripted import Replies, ScriptedAdapter, ScriptedReply, ScriptedTokenizer
from suites.ruler import TASKS, RulerCorpora, RulerSettings, RulerSuite
from tests.evalkit.run_factory import figure_values
from tests.evalkit.runs import run_in
from tests.suites.ruler import small_corpora

TOKENIZER = ScriptedTokenizer()


def run_with(replies: Replies, folder: Path, *, tasks: tuple[str, ...] = TASKS, ctx: int = 1024) -> RunRecord:
    return run_suite(small_corpora.suite(TOKENIZER, ctxs=(ctx,), tasks=tasks, samples=2), replies, folder)


def run_suite(suite: RulerSuite, replies: Replies, folder: Path, *, resume: bool = False) -> RunRecord:
    return run_in(folder, suite, ScriptedAdapter(replies, tokenizer=TOKENIZER), resume=resume)


def right_answers(ctx: int = 1024) -> dict[str, str]:
    suite = small_corpora.suite(TOKENIZER, ctxs=(ctx,), samples=2)
    return {key.id: ", ".join(suite.ask(key).sample.targets) for key in suite.plan().keys}


def test_a_model_that_knows_everything_scores_100(tmp_path: Path) -> None:
    record = run_with(right_answers(), tmp_path / "run")
    assert {(row.task, row.value) for row in record.results} == {(task, 100.0) for task in TASKS}
    assert [(row.mean, row.complete) for row in record.summary] == [(100.0, True)]
    assert figure_values(record)["effective_length"] == 1024
    assert record.failures == {}
    assert [use.role for use in record.corpora] == ["essays", "squad", "hotpotqa", "words"]


def test_a_model_that_says_nothing_scores_0(tmp_path: Path) -> None:
    record = run_with(lambda request: "", tmp_path / "run")
    assert {row.value for row in record.results} == {0.0}
    assert record.failures == {"empty": 26}


def test_a_model_that_mixes_keys_up_is_seen_to(tmp_path: Path) -> None:
    suite = small_corpora.suite(TOKENIZER, ctxs=(1024,), samples=2)

    def wrong(request: Request) -> str:
        key = next(key for key in suite.plan().keys if key.id == request.id)
        return suite.ask(key).sample.distractors[0]

    tasks = ("niah_multikey_1", "niah_multikey_2", "niah_multikey_3", "vt", "cwe")
    record = run_with(wrong, tmp_path / "run", tasks=tasks)
    assert record.failures == {"wrong_needle": 10}


def test_a_model_that_fails_is_not_scored(tmp_path: Path) -> None:
    record = run_with(lambda request: ScriptedReply(error="out of memory"), tmp_path / "run", tasks=("vt",))
    (row,) = record.results
    assert (row.value, row.errors) == (None, 2)
    assert record.counts.errors == 2


@pytest.mark.parametrize("ctx", [512, 4096])
def test_what_was_asked_is_stored_with_each_sample(tmp_path: Path, ctx: int) -> None:
    run_with(right_answers(ctx), tmp_path / "run", tasks=("niah_multikey_1", "qa_2"), ctx=ctx)
    lines = (tmp_path / "run" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert all('"depths": [' in line and '"gold_positions": [' in line for line in lines)


def test_a_question_task_can_be_added_to_a_run_of_needles(tmp_path: Path) -> None:
    def suite(*tasks: str) -> RulerSuite:
        settings = RulerSettings.of(ctx=(1024,), tasks=tasks, samples=2)
        return RulerSuite(settings, TOKENIZER, RulerCorpora.embedded())

    needles, both = suite("niah_single_1"), suite("niah_single_1", "qa_1")
    answers = {key.id: ", ".join(both.ask(key).sample.targets) for key in both.plan().keys}
    run_suite(needles, answers, tmp_path / "run")
    asked: list[str] = []

    def reply(request: Request) -> str:
        asked.append(request.id)
        return answers[request.id]

    record = run_suite(both, reply, tmp_path / "run", resume=True)
    assert asked == ["qa_1/1024/0/42", "qa_1/1024/1/42"]
    assert [(row.task, row.value) for row in record.results] == [("niah_single_1", 100.0), ("qa_1", 100.0)]
    assert [corpus.role for corpus in record.corpora] == ["squad", "words"]

    alone = run_suite(needles, answers, tmp_path / "alone")
    assert [corpus.role for corpus in alone.corpora] == ["words"]
    pairing = pair_runs(load_run(tmp_path / "alone"), load_run(tmp_path / "run"))
    assert [len(row.pairs) for row in pairing.rows] == [2, 0]
