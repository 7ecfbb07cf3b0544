"""State tracking through a chat template."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import SampleKey
from evalkit.running.model_options import ChatMode, ChatOptions
from model_adapters.scripted import ScriptedAdapter, ScriptedTokenizer
from suites.state_tracking import StateTrackingSettings, StateTrackingSuite, build
from suites.state_tracking.tasks import TASKS
from tests.chat_templates import CHATML, LLAMA
from tests.evalkit.runs import run_in
from tests.suites.numbered_prose import numbered_essays

PROSE = numbered_essays(500)
MODES = (ChatMode.PREFILL, ChatMode.USER)


def suite(mode: ChatMode, template: str = CHATML) -> StateTrackingSuite:
    settings = StateTrackingSettings.of(updates=(4, 8), samples=2, ctx=(0, 2048), shots=1)
    return build(settings, ScriptedTokenizer(adds_bos=True, chat_template=template), PROSE, ChatOptions(mode))


@given(
    mode=st.sampled_from(MODES),
    template=st.sampled_from([CHATML, LLAMA]),
    task=st.sampled_from(sorted(TASKS)),
    updates=st.integers(4, 24),
    ctx=st.integers(700, 3000),
    index=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=60)
def test_distractor_text_fills_the_context_and_never_goes_over(
    mode: ChatMode, template: str, task: str, updates: int, ctx: int, index: int
) -> None:
    try:
        asked = suite(mode, template).ask(SampleKey(f"{task}:{updates}", ctx, index, 42))
    except SampleDoesNotFitError:
        assert updates > 8
        return
    longest_sentence = 20
    assert ctx - longest_sentence < asked.sample.prompt_tokens + asked.sample.generation_tokens <= ctx
    assert asked.requests[0].generation_tokens == asked.sample.generation_tokens
    assert asked.sample.prompt_tokens == len(asked.requests[0].token_ids)


@pytest.mark.parametrize("ctx", [0, 2048])
def test_the_last_sentence_opens_the_answer(ctx: int) -> None:
    key = SampleKey("parity:8", ctx, 0, 42)
    prefill, user, raw = (suite(mode).ask(key) for mode in (*MODES, ChatMode.OFF))
    opening = raw.sample.answer_prefix
    assert raw.sample.prompt.endswith(opening)
    assert prefill.sample.prompt.endswith(f"<|im_end|>\n<|im_start|>assistant\n{opening}")
    assert user.sample.prompt.endswith(f"{opening}<|im_end|>\n<|im_start|>assistant\n")
    assert prefill.sample.targets == user.sample.targets == raw.sample.targets


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("repeats", [False, True])
def test_an_answer_may_repeat_its_opening_in_a_turn_of_its_own(mode: ChatMode, repeats: bool, tmp_path: Path) -> None:
    checked = suite(mode)
    answers = {}
    for key in checked.plan().keys:
        asked = checked.ask(key)
        begun = asked.opening.upper() + "\n" if repeats else ""
        answers[key.id] = f"{begun}**{asked.sample.targets[0]}**.<|im_end|>\n<|im_start|>user"
    record = run_in(tmp_path, checked, ScriptedAdapter(answers, tokenizer=ScriptedTokenizer(chat_template=CHATML)))
    right = not repeats or mode is ChatMode.USER
    assert {row.value for row in record.results} == {100.0 if right else 0.0}
    assert record.dialect == f"1-shot+chat-{mode}"
