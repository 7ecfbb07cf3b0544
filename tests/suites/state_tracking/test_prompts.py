"""Prompts: worked examples, distractor text that never goes over, and the same question for every tokenizer."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import SampleKey
from evalkit.running.protocols import Tokenizer
from model_adapters.scripted import ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from suites.state_tracking import StateTrackingSettings, StateTrackingSuite, build
from suites.state_tracking.suite import GENERATION_TOKENS
from suites.state_tracking.tasks import TASKS
from tests.suites.numbered_prose import numbered_essays
from tests.suites.state_tracking.simulation import solve

PROSE = numbered_essays(500)


class WordTokenizer(ScriptedTokenizer):
    """A tokenizer with one token per word."""

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def encode_prompt(self, text: str) -> list[int]:
        return self.encode(text)


def suite(tokenizer: Tokenizer | None = None, *, shots: int = 2) -> StateTrackingSuite:
    return build(StateTrackingSettings.of(shots=shots, ctx=(0, 512)), tokenizer or ScriptedTokenizer(), PROSE)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(TASKS)),
    st.integers(4, 24),
    st.integers(700, 3000),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_distractor_text_fills_the_context_and_never_goes_over(
    task: str, updates: int, ctx: int, index: int, adds_bos: bool
) -> None:
    tokenizer = ScriptedTokenizer(adds_bos=adds_bos)
    try:
        sample = suite(tokenizer, shots=1).ask(SampleKey(f"{task}:{updates}", ctx, index, 42)).sample
    except SampleDoesNotFitError:
        assert updates > 8
        return
    assert sample.prompt_tokens == len(tokenizer.encode_prompt(sample.prompt))
    longest_sentence = 20
    assert ctx - longest_sentence < sample.prompt_tokens + GENERATION_TOKENS <= ctx
    assert (solve(task, sample.prompt),) == sample.targets


@given(st.sampled_from(sorted(TASKS)), st.integers(4, 40), st.integers(0, 10**6))
def test_the_question_is_the_same_for_every_tokenizer_and_context(task: str, updates: int, index: int) -> None:
    plain = suite().ask(SampleKey(f"{task}:{updates}", 0, index, 42)).sample
    other = suite(WordTokenizer()).ask(SampleKey(f"{task}:{updates}", 0, index, 42)).sample
    filled = suite(WordTokenizer()).ask(SampleKey(f"{task}:{updates}", 4096, index, 42)).sample
    assert plain.prompt == other.prompt
    assert plain.prompt_tokens > other.prompt_tokens
    assert (plain.targets, plain.distractors) == (filled.targets, filled.distractors)
    assert plain.prompt.rsplit("\n", 1)[-1] == filled.prompt.rsplit("\n", 1)[-1] == filled.answer_prefix


def test_a_sample_is_a_function_of_its_key_alone() -> None:
    asked = SampleKey("registers:16", 900, 7, 5)
    alone = suite().ask(asked).sample
    crowded = suite()
    for index in range(5):
        crowded.ask(SampleKey("registers:16", 900, index, 5))
    assert crowded.ask(asked).sample == alone
    assert alone.id == "registers:16/900/7/5"


def test_index_seed_and_updates_each_ask_something_else() -> None:
    keys = [
        SampleKey("s5_symbols:8", 0, 0, 42),
        SampleKey("s5_symbols:8", 0, 1, 42),
        SampleKey("s5_symbols:8", 0, 0, 43),
        SampleKey("s5_symbols:9", 0, 0, 42),
    ]
    assert len({suite().ask(key).sample.prompt for key in keys}) == len(keys)


def test_worked_examples_show_the_form_and_are_right() -> None:
    for task in TASKS:
        prompt = suite(shots=4).ask(SampleKey(f"{task}:32", 0, 0, 42)).sample.prompt
        solved = prompt.split("\n\n")[1:-1]
        assert len(solved) == 4
        for example in solved:
            question, answer = example.rsplit(" ", 1)
            assert solve(task, question) == answer


def test_a_context_too_small_for_the_statements_is_reported() -> None:
    with pytest.raises(SampleDoesNotFitError, match=r"s5_shell with 512 updates needs .* raise --ctx"):
        suite().ask(SampleKey("s5_shell:512", 1024, 0, 42))


def test_statements_are_spread_over_the_whole_context() -> None:
    prompt = suite().ask(SampleKey("state_recall:16", 8192, 3, 42)).sample.prompt
    body = prompt.rsplit("\n\n", 1)[-1]
    places = [match.start() / len(body) for match in re.finditer("^(Slot|The pointer)", body, re.MULTILINE)]
    assert len(places) == 5 + 1 + 16
    assert places[0] < 0.25
    assert places[-1] > 0.75


@pytest.mark.parametrize("name", ["parity", "parity:3", "parity:x", "parity:-4", "parityy:8", "parity:99999999"])
def test_unknown_rows_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        suite().ask(SampleKey(name, 0, 0, 42))


def test_the_plan_has_every_cell_once_and_names_the_prose() -> None:
    settings_ = StateTrackingSettings.of(tasks=("parity", "entities"), updates=(8, 4), ctx=(0, 1024), samples=3)
    plan = build(settings_, ScriptedTokenizer(), PROSE).plan()
    assert len({key.id for key in plan.keys}) == len(plan.keys) == 2 * 2 * 2 * 3
    assert [key.task for key in plan.keys[:7:3]] == ["parity:4", "parity:8", "entities:4"]
    assert plan.corpora == (PROSE.use,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ("parrity",)}, "did you mean 'parity'"),
        ({"updates": (2,)}, "2 updates: from 4 to 65,536"),
        ({"ctx": (100,)}, "context 100"),
        ({"samples": 0}, "0 samples: at least 1"),
        ({"shots": 33}, "33 worked examples: from 0 to 32"),
    ],
)
def test_bad_settings_name_value_limit_and_remedy(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StateTrackingSettings.of(**arguments)  # type: ignore[arg-type]


def test_prompts_read_as_recorded(check_golden: Callable[[str, str], None]) -> None:
    prompts = []
    for task in TASKS:
        sample = suite().ask(SampleKey(f"{task}:6", 0, 0, 42)).sample
        prompts.append(f"##### {sample.id} -> {sample.targets[0]}\n{sample.prompt}\n")
    sample = suite().ask(SampleKey("a5_symbols:6", 512, 0, 42)).sample
    prompts.append(f"##### {sample.id} -> {sample.targets[0]}\n{sample.prompt}\n")
    check_golden("state_tracking/prompts.txt", "\n".join(prompts))


@pytest.mark.shared_data
@pytest.mark.parametrize("task", ["parity", "state_recall"])
def test_a_real_tokenizer_is_filled_and_never_over(shared_data: Path, task: str) -> None:
    tokenizer = HfTokenizer.from_file(shared_data / "tokenizers" / "allenai_dolma2.tokenizer.json")
    asked = build(StateTrackingSettings.of(ctx=(4096,)), tokenizer)
    sample = asked.ask(SampleKey(f"{task}:64", 4096, 0, 42)).sample
    assert 4096 - 80 < len(tokenizer.encode_prompt(sample.prompt)) + GENERATION_TOKENS <= 4096
    assert (solve(task, sample.prompt),) == sample.targets
