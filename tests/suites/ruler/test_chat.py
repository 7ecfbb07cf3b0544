"""RULER through a chat template: prompts within their length, answers that end with their turn, runs kept apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import IncompatibleRunError, SampleDoesNotFitError
from evalkit.records import SampleKey
from evalkit.running.model_options import ChatMode, ChatOptions
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedTokenizer
from suites.ruler import TASKS, RulerSuite
from tests.chat_templates import TEMPLATES, THINKING
from tests.evalkit.runs import run_in
from tests.suites.ruler import small_corpora

MODES = (ChatMode.PREFILL, ChatMode.USER)
TOKENIZERS = {name: ScriptedTokenizer(adds_bos=True, chat_template=source) for name, source in TEMPLATES.items()}


def suite_of(template: str, mode: ChatMode, *, dialect: str = "nvidia", tasks: tuple[str, ...] = TASKS) -> RulerSuite:
    return small_corpora.suite(TOKENIZERS[template], ctxs=(1024,), tasks=tasks, dialect=dialect, chat=ChatOptions(mode))


SUITES = {
    (template, mode, dialect): suite_of(template, mode, dialect=dialect)
    for template in TEMPLATES
    for mode in MODES
    for dialect in ("nvidia", "olmes")
}


@given(
    template=st.sampled_from(list(TEMPLATES)),
    mode=st.sampled_from(MODES),
    dialect=st.sampled_from(["nvidia", "olmes"]),
    task=st.sampled_from(TASKS),
    ctx=st.integers(512, 6000),
    index=st.integers(0, 10**6),
)
@settings(max_examples=100)
def test_no_prompt_is_over_its_length(
    template: str, mode: ChatMode, dialect: str, task: str, ctx: int, index: int
) -> None:
    suite = SUITES[template, mode, dialect]
    try:
        asked = suite.ask(SampleKey(task, ctx, index, 42))
    except SampleDoesNotFitError:
        return
    sample, (request,) = asked.sample, asked.requests
    assert list(request.token_ids) == TOKENIZERS[template].encode(sample.prompt)
    assert sample.prompt_tokens == len(request.token_ids)
    assert sample.prompt_tokens + sample.generation_tokens <= ctx
    assert sample.prompt.endswith(sample.answer_prefix)
    assert bool(sample.answer_prefix) == (mode is ChatMode.PREFILL)


THOUGHTFUL = {
    (template, mode, budget): small_corpora.suite(
        ScriptedTokenizer(chat_template=THINKING[template]), ctxs=(1024,), chat=ChatOptions(mode, budget)
    )
    for template in ("chooses", "opens", "strips")
    for mode in MODES
    for budget in (0, 10, 300)
}


@given(
    suite=st.sampled_from(list(THOUGHTFUL.values())),
    task=st.sampled_from(TASKS),
    ctx=st.integers(512, 6000),
    index=st.integers(0, 10**6),
)
@settings(max_examples=100)
def test_the_thought_is_inside_the_length(suite: RulerSuite, task: str, ctx: int, index: int) -> None:
    try:
        asked = suite.ask(SampleKey(task, ctx, index, 42))
    except SampleDoesNotFitError:
        return
    (request,) = asked.requests
    before = 0 if request.thinking is None else request.thinking.most_tokens
    assert asked.sample.generation_tokens == before + request.generation_tokens
    assert asked.sample.prompt_tokens == len(request.token_ids)
    assert asked.sample.prompt_tokens + asked.sample.generation_tokens <= ctx


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_prompts_fill_their_length_and_show_where_the_answers_are(task: str, mode: ChatMode) -> None:
    suite = SUITES["chatml", mode, "nvidia"]
    raw = small_corpora.suite(ScriptedTokenizer(), ctxs=(4096,))
    for index in range(2):
        key = SampleKey(task, 4096, index, 7)
        sample, other = suite.ask(key).sample, raw.ask(key).sample
        assert (sample.generation_tokens > other.generation_tokens) == (mode is ChatMode.USER)
        assert sample.prompt_tokens + sample.generation_tokens >= 0.96 * 4096
        found, expected = ([each.prompt[first:end] for first, end in each.evidence] for each in (sample, other))
        assert found == expected


def test_an_answer_ends_with_its_turn(tmp_path: Path) -> None:
    suite = suite_of("chatml", ChatMode.USER)
    answers = {
        key.id: ", ".join(suite.ask(key).sample.targets) + "<|im_end|>\n<|im_start|>user\nand now?"
        for key in suite.plan().keys
    }
    record = run_in(tmp_path / "run", suite, ScriptedAdapter(answers, tokenizer=TOKENIZERS["chatml"]))
    assert {row.value for row in record.results} == {100.0}
    assert "im_" not in "".join(
        line.partition('"prediction":')[2].partition('"finish_reason"')[0]
        for line in (tmp_path / "run" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    )


def test_runs_of_other_conventions_and_templates_are_not_continued(tmp_path: Path) -> None:
    def start(mode: ChatMode, template: str | None = None, *, resume: bool = True) -> None:
        suite = suite_of("chatml", mode, tasks=("niah_single_1",))
        identity = replace(SCRIPTED_IDENTITY, chat_template=template)
        run_in(tmp_path / "run", suite, ScriptedAdapter(lambda _: "no", identity=identity), resume=resume)

    start(ChatMode.PREFILL, "sha256:1", resume=False)
    start(ChatMode.PREFILL, "sha256:1")
    with pytest.raises(IncompatibleRunError, match=r"dialect: nvidia\+chat-prefill -> nvidia\+chat-user"):
        start(ChatMode.USER, "sha256:1")
    with pytest.raises(IncompatibleRunError, match=r"dialect: .* -> nvidia"):
        start(ChatMode.OFF)
    with pytest.raises(IncompatibleRunError, match="chat_template: sha256:1 -> sha256:2"):
        start(ChatMode.PREFILL, "sha256:2")


def test_a_question_that_the_template_changes_is_left_out(tmp_path: Path) -> None:
    """As Nemotron Nano's template removes /think from what users write."""
    template = TEMPLATES["chatml"].replace("message['content']", "message['content'].replace('77', '')")
    given: dict[str, Any] = {"ctxs": (512,), "tasks": ("niah_single_1",), "samples": 20}
    tokenizer = ScriptedTokenizer(chat_template=template)
    suite = small_corpora.suite(tokenizer, **given, chat=ChatOptions(ChatMode.USER))
    raw = small_corpora.suite(tokenizer, **given)
    changed = {key.id for key in raw.plan().keys if "77" in raw.ask(key).sample.prompt}
    assert 0 < len(changed) < 20
    run_in(tmp_path / "run", suite, ScriptedAdapter(lambda _: "no", tokenizer=tokenizer))
    lines = map(json.loads, (tmp_path / "run" / "samples.jsonl").read_text(encoding="utf-8").splitlines())
    reasons = {line["id"]: line["unscored"] for line in lines if line.get("unscored")}
    assert reasons == dict.fromkeys(changed, "its chat template changes what it is given")
