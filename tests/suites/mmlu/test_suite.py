"""MMLU uses lm-eval's prompts, and scores the most probable choice."""

import math
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import Completion, ContinuationScore, SampleKey, Score, SuiteSummary
from evalkit.running.answering import sample_record
from model_adapters.scripted import ScriptedTokenizer
from suites.mmlu import MmluSettings, MmluSuite, build
from suites.mmlu.questions import Question, SubjectQuestions
from suites.mmlu.subjects import GROUPS, SUBJECTS
from tests.suites.mmlu.small_data import write_mmlu


def suite_of(folder: Path, *, max_tokens: int | None = None, **settings: Any) -> MmluSuite:
    return build(MmluSettings.of(data=folder, **settings), ScriptedTokenizer(), max_tokens=max_tokens)


def answer_all(suite: MmluSuite) -> SuiteSummary:
    """The suite's scores for a model that always prefers the first choice."""
    records = []
    for key in suite.plan().keys:
        asked, first = suite.ask(key), completion(-1.0, -2.0, -3.0, -4.0)
        records.append(sample_record(asked, first, suite.judge(asked, first)))
    return suite.summarize(records)


def completion(*nats: float) -> Completion:
    scores = tuple(ContinuationScore(value, is_greedy=False) for value in nats)
    return Completion("x", "", 10, 0, "stop", 0.1, 0.0, continuations=scores)


class WithAnEmptyChoice:
    """A source whose third choice is empty, which is not allowed in a CSV file."""

    def load(self, subject: str) -> SubjectQuestions:
        return SubjectQuestions((Question("Which?", ("one", "two", "", "four"), 0),), (), "tests")


def test_an_empty_choice_is_never_the_most_probable_by_length() -> None:
    settings = MmluSettings.of(subjects=["virology"], shots=0, variant="cloze")
    suite = MmluSuite(settings, ScriptedTokenizer(), None, WithAnEmptyChoice())
    score = suite.judge(suite.ask(SampleKey("virology", 0, 0, 0)), completion(-3.0, -6.0, -0.1, -9.0))
    assert (score.value, score.measures["acc_norm"]) == (0.0, 1.0)


class TestQuestions:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_mmlu(tmp_path, ["virology", "sociology"], test=30)

    def test_a_sample(self, folder: Path) -> None:
        suite = suite_of(folder, subjects=["virology"], shots=1)
        asked = suite.ask(SampleKey("virology", 0, 2, 0))
        sample, (request,) = asked.sample, asked.requests
        odd = 'a "quoted", listed thing'
        assert sample.prompt == (
            "The following are multiple choice questions (with answers) about virology.\n\n"
            f"What about virology dev, number 0: {odd}?\n"
            + "".join(f"{letter}. virology dev choice 0.{n}, {odd}\n" for n, letter in enumerate("ABCD"))
            + "Answer: A\n\nWhat about virology test, number 2: plain?\n"
            + "".join(f"{letter}. virology test choice 2.{n}, plain\n" for n, letter in enumerate("ABCD"))
            + "Answer:"
        )
        assert sample.targets == ("C",)
        tokenizer = ScriptedTokenizer()
        assert tokenizer.decode(request.token_ids) == sample.prompt
        assert [tokenizer.decode(ids) for ids in request.continuations] == [" A", " B", " C", " D"]

    def test_questions_of_a_subject_share_their_beginning(self, folder: Path) -> None:
        suite, tokenizer = suite_of(folder, subjects=["virology", "sociology"]), ScriptedTokenizer()
        keys = suite.plan().keys
        requests = [suite.ask(key).requests[0] for key in keys]
        assert len(keys) == 60
        for subject in ("sociology", "virology"):
            here = [request for request in requests if request.id.startswith(subject)]
            assert {request.prefix_id for request in here} == {f"mmlu/{subject}/5-shot mc"}
            (shared,) = {request.token_ids[: request.prefix_tokens] for request in here}
            text = tokenizer.decode(shared)
            # All examples, and nothing else but a beginning that all questions share.
            assert text.count("Answer:") == 5
            assert text.endswith(("\n\nWhat", f"What about {subject} test,"))

    def test_a_question_that_begins_otherwise_is_read_by_itself(self, folder: Path) -> None:
        path = folder / "test" / "virology_test.csv"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines).replace(" What about virology test, number 1:", "Else:"))
        suite = suite_of(folder, subjects=["virology"])
        prefixes = [suite.ask(key).requests[0].prefix_tokens for key in suite.plan().keys]
        assert prefixes[1] == 0 or len(set(prefixes)) == 1

    def test_cloze(self, folder: Path) -> None:
        suite = suite_of(folder, subjects=["virology"], shots=0, variant="cloze")
        asked = suite.ask(SampleKey("virology", 0, 2, 0))
        assert asked.sample.prompt == (
            "The following are questions (with answers) about virology.\n\n"
            "Question: What about virology test, number 2: plain?\nAnswer:"
        )
        assert asked.sample.targets == ("virology test choice 2.2, plain",)
        assert len(asked.requests[0].continuations[0]) > 1

    def test_a_question_that_is_too_long_is_named(self, folder: Path) -> None:
        with pytest.raises(SampleDoesNotFitError, match=r"question 3 of virology: it takes .* trained to 64"):
            suite_of(folder, subjects=["virology"], max_tokens=64).ask(SampleKey("virology", 0, 3, 0))

    def test_samples_and_seeds_decide_no_question(self, folder: Path) -> None:
        few, all_of_them = (suite_of(folder, subjects=["virology"], samples=samples) for samples in (3, None))
        assert len(few.plan().keys) == 3
        assert few.ask(few.plan().keys[2]) == all_of_them.ask(few.plan().keys[2])
        assert few.plan().corpora == all_of_them.plan().corpora


class TestScores:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_mmlu(tmp_path, ["virology"])

    def test_the_most_probable_choice_counts(self, folder: Path) -> None:
        suite = suite_of(folder, subjects=["virology"])
        asked = suite.ask(SampleKey("virology", 0, 2, 0))
        assert asked.sample.metric == "acc"
        assert suite.judge(asked, completion(-3.0, -2.0, -1.0, -2.5)) == Score(1.0, None, prediction="C")
        wrong = suite.judge(asked, completion(-1.0, -2.0, -1.0, -2.5))
        assert (wrong.value, wrong.failure, wrong.prediction) == (0.0, "wrong_choice", "A")

    def test_by_length_a_long_choice_may_win(self, tmp_path: Path) -> None:
        path = tmp_path / "virology_test.csv"
        path.write_text("Q?,short,a much longer choice,c,d,B\n")
        (tmp_path / "virology_dev.csv").write_text("Q?,a,b,c,d,B\n")
        suite = suite_of(tmp_path, subjects=["virology"], shots=0, variant="cloze")
        score = suite.judge(suite.ask(SampleKey("virology", 0, 0, 0)), completion(-5.0, -6.0, -9.0, -9.0))
        assert (score.value, score.measures["acc_norm"]) == (0.0, 1.0)


class TestSettings:
    def test_groups_stand_for_their_subjects(self) -> None:
        assert MmluSettings.of().subjects == SUBJECTS
        asked = MmluSettings.of(subjects=["stem", "virology", "anatomy"]).subjects
        assert asked == tuple(sorted({*GROUPS["stem"], "virology"}))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"subjects": ["anatomie"]}, "unknown MMLU subject 'anatomie'; did you mean 'anatomy'?"),
            ({"shots": -1}, "-1 shots: from 0 to 100 are possible; change --shots"),
            ({"samples": 0}, "0 samples: at least 1 is needed; raise --samples"),
            ({"variant": "letters"}, "variant 'letters' is unknown; write --variant mc or cloze"),
            ({"data": Path("nowhere")}, "--data nowhere: no such folder; name the folder that holds MMLU's CSV files"),
        ],
    )
    def test_bad_values(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError) as error:
            MmluSettings.of(**settings)
        assert str(error.value) == message

    def test_fewer_examples_than_shots(self, tmp_path: Path) -> None:
        folder = write_mmlu(tmp_path, ["virology"], dev=2)
        with pytest.raises(UsageError, match=r"3 shots: virology has 2 dev examples in .*; lower --shots"):
            suite_of(folder, subjects=["virology"], shots=3).plan()
        assert len(suite_of(folder, subjects=["virology"], shots=2).plan().keys) == 6


class TestSummary:
    def test_averages_over_questions_and_over_subjects(self, tmp_path: Path) -> None:
        write_mmlu(tmp_path, ["virology"], test=8)
        write_mmlu(tmp_path, ["sociology"], test=2)
        summary = answer_all(suite_of(tmp_path, subjects=["virology", "sociology"]))
        # The first choice of four is right for 2 of 8 and for 1 of 2 questions.
        assert [(row.task, row.value, row.n, row.chance) for row in summary.results] == [
            ("sociology", 50.0, 2, 25.0),
            ("virology", 25.0, 8, 25.0),
        ]
        (mean,) = summary.summary
        assert (mean.mean, mean.by_sample, mean.tasks, mean.complete) == (30.0, True, 2, False)
        assert mean.ci95 is not None
        assert mean.ci95[0] < 30.0 < mean.ci95[1]
        figures = {figure.label: figure for figure in summary.figures}
        assert figures["macro"].value == 37.5
        assert {name: figures[name].value for name in figures if name.startswith("group/")} == {
            "group/social_sciences": 50.0,
            "group/other": 25.0,
        }
        low, high = figures["macro"].ci95 or (math.nan, math.nan)
        assert low < 37.5 < high
        assert [figures[f"answered/{letter}"].value for letter in "ABCD"] == [10.0, 0.0, 0.0, 0.0]
