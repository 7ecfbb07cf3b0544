"""Training rows: answers are learned at their positions, and a batch depends only on its index."""

import random
from pathlib import Path

import numpy as np
import pytest

from evalkit.records import Asked, SampleKey
from evalkit.running.protocols import Suite
from model_adapters.reference import curriculum, folder
from model_adapters.reference.answers import answer_text
from model_adapters.reference.architecture import EOS_ID, PAD_ID
from model_adapters.reference.batches import SCORED_POSITIONS, BatchMaker, assemble, track_suite, training_suite
from model_adapters.reference.curriculum import CONTINUED, FIRST, FIRST_TRAINING_SEED, PROSE_SEEDS, Phase
from model_adapters.reference.rows import Answer, Row, State, join, ruler_part, track_part
from model_adapters.reference.step import learning_rate
from model_adapters.tokenizer import HfTokenizer
from suites.ruler import metrics
from suites.ruler import tasks as ruler_tasks
from suites.state_tracking.tasks import TASKS as TRACK_TASKS

CTX = 1024


@pytest.fixture(scope="module")
def tokenizer_file() -> Path:
    return folder("hybrid") / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer(tokenizer_file: Path) -> HfTokenizer:
    return HfTokenizer.from_file(tokenizer_file)


@pytest.fixture(scope="module")
def suite(tokenizer: HfTokenizer) -> Suite[Asked]:
    return training_suite(tokenizer, PROSE_SEEDS[0])


@pytest.mark.parametrize("task", curriculum.TASKS)
def test_the_answer_to_learn_scores_full_marks_and_fits_its_budget(
    task: str, suite: Suite[Asked], tokenizer: HfTokenizer
) -> None:
    asked = suite.ask(SampleKey(task, CTX, 0, FIRST_TRAINING_SEED))
    sample = asked.sample
    answer = answer_text(sample)
    metric = ruler_tasks.metric("nvidia", task)
    assert metrics.value_of(metrics.found(metrics.postprocess(answer), sample.targets, metric), metric) == 1
    part = ruler_part(asked, tokenizer, random.Random(0))
    assert part is not None
    answer_ids = part.answers[0]
    start, end = answer_ids.start, answer_ids.end
    assert answer_ids.task == task
    assert part.token_ids[start : end - 1] == tokenizer.encode(answer)
    assert tokenizer.decode(part.token_ids[:start]) == sample.prompt
    assert tokenizer.decode(part.token_ids[start:end]) == answer
    assert part.token_ids[end - 1] == EOS_ID
    assert len(part.token_ids) <= CTX


def test_follow_ups_ask_for_other_needles_of_the_same_haystack(suite: Suite[Asked], tokenizer: HfTokenizer) -> None:
    asked = suite.ask(SampleKey("niah_multikey_2", CTX, 0, FIRST_TRAINING_SEED))
    sample = asked.sample
    part = ruler_part(asked, tokenizer, random.Random(0))
    assert part is not None
    assert len(part.answers) > 1
    for answer in part.answers:
        value = tokenizer.decode(part.token_ids[answer.start : answer.end - 1]).strip(" .")
        assert f"is: {value}." in sample.prompt


def test_a_batch_scores_every_answer_token_and_fills_up_with_text() -> None:
    row = join([Row([5, 6, 7, 8, 9], [Answer("a", 3, 5)]), Row([10, 11, 12], [Answer("b", 1, 3)])])
    batch = assemble([row, Row([20, 21, EOS_ID], [Answer("c", 1, 3)])], 12, np.random.default_rng(0))
    asked = batch.questions_P >= 0
    assert batch.targets_P[asked].tolist() == [8, 9, 11, 12, 21, EOS_ID]
    assert [batch.tasks[question] for question in batch.questions_P[asked]] == ["a", "a", "b", "b", "c", "c"]
    assert batch.token_ids_BT[1].tolist() == [20, 21, EOS_ID] + [PAD_ID] * 9
    text = ~asked & (batch.weights_P > 0)
    assert sorted(batch.targets_P[text].tolist()) == [6, 7, 10]
    assert len(batch.positions_P) == SCORED_POSITIONS
    assert batch.weights_P[asked].sum() == pytest.approx(1.0)


def test_tokens_that_would_do_as_well_share_a_position_and_its_weight() -> None:
    row = Row([5, 6, 7, 8], [Answer("a", 2, 4, also=((2, 30), (2, 31)))])
    batch = assemble([join([Row([9, 9]), row])], 8, np.random.default_rng(0))
    asked = batch.questions_P >= 0
    assert batch.positions_P[asked].tolist() == [3, 3, 3, 4]
    assert batch.targets_P[asked].tolist() == [7, 30, 31, 8]
    assert batch.weights_P[asked].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_common_words_are_reported_in_any_order(suite: Suite[Asked], tokenizer: HfTokenizer) -> None:
    asked = suite.ask(SampleKey("cwe", CTX, 0, FIRST_TRAINING_SEED))
    sample = asked.sample
    part = ruler_part(asked, tokenizer, random.Random(0))
    assert part is not None
    also = part.answers[0].also
    openings = [tokenizer.encode(f" {word}")[0] for word in sample.targets]
    first_place = min(place for place, _ in also)
    assert part.token_ids[first_place] == openings[0]
    assert [token for place, token in also if place == first_place] == openings[1:]
    assert len(also) == sum(range(len(openings)))


@pytest.mark.parametrize("task", TRACK_TASKS)
def test_state_tracking_rows_are_the_suites_prompts_with_their_answers(task: str, tokenizer: HfTokenizer) -> None:
    suite = track_suite(tokenizer)
    seeds = iter(range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + CTX))
    part = track_part(suite, tokenizer, CTX, lambda: SampleKey(f"{task}:4", 0, 0, next(seeds)))
    assert 0 < len(part.token_ids) <= CTX
    episodes = tokenizer.decode(part.token_ids)
    sample = suite.ask(SampleKey(f"{task}:4", 0, 0, FIRST_TRAINING_SEED)).sample
    whole = f"{sample.prompt} {sample.targets[0]}"
    assert episodes.startswith(whole)
    first_end = part.token_ids.index(EOS_ID)
    assert part.token_ids[:first_end] == tokenizer.encode(whole)
    told = [tokenizer.decode(part.token_ids[answer.start : answer.end]) for answer in part.answers[:4]]
    assert told[-1] == f" {sample.targets[0]}"
    assert all(f"{text}\n\n" in whole for text in told[:-1])


def test_a_state_is_predicted_at_its_place_whatever_stands_after_it() -> None:
    row = Row([5, 6, 7, 8], [Answer("a", 3, 4)], [State("a", 1, 40)])
    batch = assemble([join([Row([9]), row])], 8, np.random.default_rng(0))
    asked = batch.questions_P >= 0
    assert batch.positions_P[asked].tolist() == [3, 2]
    assert batch.targets_P[asked].tolist() == [8, 40]
    assert batch.weights_P[asked].tolist() == pytest.approx([1 / 1.3, 0.3 / 1.3])
    assert [batch.tasks[question] for question in batch.questions_P[asked]] == ["a", "a~"]


def test_a_batch_is_a_function_of_its_phase_and_index(tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curriculum, "BATCH_TOKENS", 8192)

    def tokens(phase: Phase, index: int, progress: float) -> bytes:
        return BatchMaker(tokenizer_file, 0, phase).batch(index, progress).token_ids_BT.tobytes()

    batch = tokens(CONTINUED, 5187, 0.0)
    assert tokens(CONTINUED, 5187, 0.7) == batch
    assert tokens(CONTINUED, 5188, 0.0) != batch
    assert tokens(FIRST, 5187, 1.0) != batch


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step / 1000, 1.0) for step in range(1001)]
    peak = rates.index(max(rates))
    assert rates[0] == 0.0
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0.0)
