"""RULER's metrics, and a reason for every answer below full score."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import Completion, FailureKind, FinishReason, Sample, SampleKey
from model_adapters.scripted import ScriptedTokenizer
from suites.ruler import metrics
from suites.ruler.suite import judge
from suites.ruler.tasks import TASKS
from tests.suites.ruler import small_corpora

SUITES = {dialect: small_corpora.suite(ScriptedTokenizer(), dialect=dialect) for dialect in ("nvidia", "olmes")}
NUMBERS = ("1234567", "7654321", "1112223", "9998887")
UUID = "9909e12a-7ebd-4f34-a2a2-00d9f0a6fe95"
PROMPT = "Some text that is long enough to be repeated by a model that has lost its way. What is it?"


def sample(*targets: str, task: str = "niah_multivalue", distractors: tuple[str, ...] = ()) -> Sample:
    return Sample(SampleKey(task, 4096, 0, 42), PROMPT, "", targets, 128, 20, "all", distractors=distractors)


def completion(text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion("id", text, 20, 5, finish_reason, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  42 \n", "42"),
        ("a\x00b\tc", "a\nb\nc"),
        ("\x1f 7 \x02", "7"),
        ("", ""),
        ("\u00a0x", "x"),
        ("one\r\ntwo", "one\n\ntwo"),
    ],
)
def test_postprocessing_strips_and_turns_control_characters_into_line_ends(text: str, clean: str) -> None:
    assert metrics.postprocess(text) == clean


@pytest.mark.parametrize(
    ("task", "targets", "text", "value"),
    [
        ("niah_multivalue", NUMBERS, "1234567, 7654321, 1112223, and 9998887.", 1.0),
        ("niah_multivalue", NUMBERS, "1234567 and 7654321", 0.5),
        ("niah_multivalue", NUMBERS, "1234567 1234567 1234567", 0.25),
        ("niah_single_1", NUMBERS[:1], "12345678", 1.0),
        ("niah_single_3", (UUID,), UUID.upper(), 1.0),
        ("vt", ("ABCDE", "FGHIJ"), "abcde", 0.5),
        ("cwe", ("house", "cat"), "1. houses 2. dog", 0.5),
        ("qa_1", ("Denver Broncos", "The Broncos"), "It was the broncos.", 1.0),
        ("qa_1", ("Denver Broncos", "Broncos"), "Denver", 0.0),
        ("qa_2", ("yes",), "Yes, they were.", 1.0),
        ("qa_2", ("yes",), "No", 0.0),
    ],
)
def test_all_is_a_fraction_and_part_is_any(task: str, targets: tuple[str, ...], text: str, value: float) -> None:
    asked = sample(*targets, task=task)
    score = judge("nvidia", asked, completion(text))
    assert score.value == value


@pytest.mark.parametrize(
    ("targets", "text", "nvidia", "olmes"),
    [
        (("the Broncos",), "Denver Broncos", 0.0, 1.0),
        (("St. Louis",), "st louis", 0.0, 1.0),
        (("1,200 men",), "1200 men", 0.0, 1.0),
        (("Broncos",), "a bronco", 0.0, 0.0),
        (("a cat", "dog"), "cat", 0.0, 1.0),
        (("The",), "anything at all", 0.0, 0.0),
        (("two  words",), "two words", 0.0, 1.0),
    ],
)
def test_olmes_judges_answers_without_articles_and_punctuation(
    targets: tuple[str, ...], text: str, nvidia: float, olmes: float
) -> None:
    asked = sample(*targets, task="qa_1")
    assert judge("nvidia", asked, completion(text)).value == nvidia
    score = judge("olmes", asked, completion(text))
    assert score.value == olmes


def test_olmes_judges_the_other_tasks_like_the_paper() -> None:
    score = judge("olmes", sample(*NUMBERS), completion("1234567"))
    assert score.value == 0.25


@pytest.mark.parametrize(
    ("asked", "answered", "failure"),
    [
        (sample("1234567"), completion(""), "empty"),
        (sample("1234567"), completion(" \n\x00 ", "length"), "empty"),
        (sample("5449368"), completion("5,449,368"), "wrong_format"),
        (sample("5449368"), completion("5 449 368, or so"), "wrong_format"),
        (sample("5449368"), completion("5.449.368"), "wrong_format"),
        (sample("5449368"), completion("544-9368"), "wrong_format"),
        (sample(*NUMBERS), completion("1,234,567, 7,654,321"), "wrong_format"),
        (sample(UUID), completion(UUID.replace("-", "")), "wrong_format"),
        (sample(UUID), completion(UUID.replace("-", " - ")), "wrong_format"),
        (sample("1234567"), completion("is 12345", "length"), "budget_cut"),
        (sample("1234567"), completion("is 12345"), "other"),
        (sample("1234567"), completion("The answer, if I read this right,", "length"), "budget_cut"),
        (sample("1234567"), completion("7777777 and then more and more", "length"), "other"),
        (sample(*NUMBERS), completion("1234567, 7654321, 111222", "length"), "budget_cut"),
        (sample(*NUMBERS), completion("1234567, 7654321."), "partial"),
        (sample(*NUMBERS), completion("1234567, 7654321. Then", "length"), "partial"),
        (sample("1234567", distractors=("7654321",)), completion("It is 7654321."), "wrong_needle"),
        (sample("1234567", distractors=("7654321",)), completion("It is 27654321."), "other"),
        (sample("ABCDE", "FGHIJ", task="vt", distractors=("XYZ",)), completion("xyz"), "wrong_needle"),
        (sample("1234567"), completion(PROMPT[5:60]), "prompt_echo"),
        (sample("1234567"), completion("long enough to be"), "prompt_echo"),
        (sample("1234567"), completion("is long"), "other"),
        (sample("Paris", task="qa_1"), completion("London and many other towns", "length"), "other"),
        (sample("Paris", task="qa_1"), completion("London"), "other"),
        (sample("ABCDE", "FGHIJ", task="vt"), completion("they are", "length"), "budget_cut"),
    ],
)
def test_each_wrong_answer_has_its_kind(asked: Sample, answered: Completion, failure: FailureKind) -> None:
    score = judge("nvidia", asked, answered)
    assert score.value is not None
    assert score.value < 1
    assert score.failure == failure


REFERENCES = st.lists(
    st.sampled_from([*NUMBERS, UUID, "ABCDE", "paris", "a", "The"]) | st.text(min_size=1, max_size=8),
    min_size=1,
    max_size=5,
)
WORDS = st.sampled_from([*NUMBERS, "5,449,368", UUID, "abcde", "the", "\x00", ",", "Paris", PROMPT])


@given(
    task=st.sampled_from(TASKS),
    dialect=st.sampled_from(["nvidia", "olmes"]),
    targets=REFERENCES,
    distractors=st.lists(st.text(max_size=8), max_size=3),
    words=st.lists(WORDS | st.text(max_size=10), max_size=6),
    finish_reason=st.sampled_from(["stop", "length"]),
)
def test_scores_are_fractions_and_failures_belong_to_those_below_one(
    task: str,
    dialect: str,
    targets: list[str],
    distractors: list[str],
    words: list[str],
    finish_reason: FinishReason,
) -> None:
    asked = sample(*targets, task=task, distractors=tuple(distractors))
    score = judge(dialect, asked, completion(" ".join(words), finish_reason))
    assert score.value is not None
    assert 0 <= score.value <= 1
    assert (score.failure is None) == (score.value == 1)
    assert score.failure in {None, *get_args(FailureKind)}


@given(REFERENCES, st.text(max_size=20), st.text(max_size=20))
def test_saying_every_reference_is_full_score(targets: list[str], before: str, after: str) -> None:
    text = before + " x " + " ".join(targets) + " x " + after
    clean = [metrics.postprocess(target) for target in targets]
    if clean == targets and all(targets):
        assert judge("nvidia", sample(*targets), completion(text)).value == 1


@given(REFERENCES, st.text(max_size=30), st.text(max_size=30))
def test_saying_more_never_lowers_a_score(targets: list[str], text: str, more: str) -> None:
    asked = sample(*targets)
    said = judge("nvidia", asked, completion(f"{text}.")).value
    longer = judge("nvidia", asked, completion(f"{text}. {more}")).value
    assert said is not None
    assert longer is not None
    assert longer >= said
