"""Thinking in a chat template: tags, switches, prompts that open or close a thought, and responses read in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.records import Thinking
from evalkit.running.chat import Chat
from evalkit.running.model_options import ChatMode, ChatOptions
from evalkit.running.thinking import read_response, read_tokens
from model_adapters.scripted import ScriptedTokenizer
from tests.chat_templates import ALWAYS, CHATML, CHOOSES, CLOSES, OPENS, STRIPS, THINKING

QUESTION, OPENING = "What is 1 + 1?\n", " The sum is"
USER = f"<|im_start|>user\n{QUESTION}{OPENING}<|im_end|>\n<|im_start|>assistant\n"
TURN = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
EMPTY = "<think>\n\n</think>\n\n"


def chat(template: str, mode: str, thinking: int = 0, tags: tuple[str, str] | None = None) -> Chat:
    return Chat(ScriptedTokenizer(chat_template=template), ChatOptions(ChatMode(mode), thinking, tags), model="tiny")


@pytest.mark.parametrize(
    ("template", "mode", "budget", "text", "governed"),
    [
        (CHOOSES, "user", 0, USER + EMPTY, False),
        (CHOOSES, "user", 50, USER, True),
        (CHOOSES, "prefill", 0, f"{TURN}{EMPTY}The sum is", False),
        (CHOOSES, "prefill", 50, f"{TURN}<think>\n", True),
        (OPENS, "user", 0, USER + EMPTY, False),
        (OPENS, "user", 50, f"{USER}<think>\n", True),
        (ALWAYS, "user", 0, f"<|User|>{QUESTION}{OPENING}<|Assistant|>{EMPTY}", False),
        (ALWAYS, "user", 50, f"<|User|>{QUESTION}{OPENING}<|Assistant|><think>\n", True),
        (ALWAYS, "prefill", 0, f"<|User|>{QUESTION}<|Assistant|>{EMPTY}The sum is", False),
        (CLOSES, "user", 0, f"<|User|>{QUESTION}{OPENING}<|Assistant|></think>", False),
        (CLOSES, "prefill", 0, f"<|User|>{QUESTION}<|Assistant|></think>The sum is", False),
        (CLOSES, "user", 50, f"<|User|>{QUESTION}{OPENING}<|Assistant|><think>", True),
        (STRIPS, "user", 0, USER, True),
        (STRIPS, "user", 50, USER, True),
        (STRIPS, "prefill", 0, f"{TURN}The sum is", False),
        (STRIPS, "prefill", 50, f"{TURN}<think>\n", True),
        (CHATML, "prefill", 0, f"{TURN}The sum is", False),
    ],
)
def test_prompts(template: str, mode: str, budget: int, text: str, governed: bool) -> None:
    prompt = chat(template, mode, budget).render(QUESTION, OPENING)
    assert prompt.text == text
    assert prompt.text.endswith(prompt.opening)
    assert (prompt.opening != "") == (mode == "prefill" and budget == 0)
    assert (prompt.thinking is not None) == governed


def test_an_answer_prefix_is_written_after_the_thought() -> None:
    asked = chat(OPENS, "prefill", 50)
    spelled, thinking = asked.tokenizer.decode, asked.render(QUESTION, OPENING).thinking
    assert thinking is not None
    assert spelled(thinking.close_ids) == "\n</think>\n\nThe sum is"
    assert spelled(thinking.answer_ids) == "\n\nThe sum is"
    user = chat(OPENS, "user", 50).render(QUESTION, OPENING).thinking
    assert user is not None
    assert (spelled(user.close_ids), user.answer_ids, user.stop) == ("\n</think>\n\n", (), ("<|im_end|>",))


@pytest.mark.parametrize(
    ("template", "budget", "switches"),
    [
        (OPENS, 0, {"enable_thinking": False}),
        (OPENS, 50, {"enable_thinking": True}),
        (CLOSES, 50, {"thinking": True}),
        (ALWAYS, 0, {}),
        (CHATML + "{{ reasoning_effort }}{{ 'none' }}", 0, {"reasoning_effort": "none"}),
        (CHATML + "{{ reasoning_effort }}", 0, {}),
        (STRIPS + "{{ reasoning_effort }}{{ 'none' }}", 50, {}),
        (STRIPS + "{{ thinking_budget }}", 50, {"thinking_budget": 50}),
        (STRIPS + "{% set thinking = 1 %}{{ thinking }}", 50, {}),
    ],
)
def test_switches_are_set_and_recorded_by_name(template: str, budget: int, switches: dict[str, object]) -> None:
    thinking = chat(template, "user", budget).thinking
    assert ({} if thinking is None else thinking.switches) == switches


def test_what_is_recorded() -> None:
    assert chat(CHATML, "user").thinking is None
    assert chat("", "off").thinking is None
    on, off = chat(CHOOSES, "user", 4096), chat(CHOOSES, "user")
    assert on.thinking is not None
    assert off.thinking is not None
    assert on.thinking.description == "at most 4,096 tokens, enable_thinking=true, <think> … </think>"
    assert off.thinking.description == "off, enable_thinking=false, <think> … </think>"
    assert on.thinking.forced == "\n</think>\n\n"
    assert [each.dialect("nvidia") for each in (on, off)] == ["nvidia+chat-user+think-4096", "nvidia+chat-user"]


@pytest.mark.parametrize(
    ("mark", "open", "close"),
    [
        ("<thought>", "<thought>", "</thought>"),
        ("</seed:think>", "<seed:think>", "</seed:think>"),
        ("[THINK]", "[THINK]", "[/THINK]"),
        ("◁/think▷", "◁think▷", "◁/think▷"),
        ("<|START_THINKING|>", "<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|channel>thought", "<|channel>thought", "<channel|>"),
        (
            "<|channel|>analysis<|message|>",
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
    ],
)
def test_tags_are_found_in_the_template(mark: str, open: str, close: str) -> None:
    asked = chat(f"{CHATML}{{% if false %}}{mark}{{% endif %}}", "user", 9)
    assert asked.thinking is not None
    assert (asked.thinking.open, asked.thinking.close) == (open, close)
    assert asked.thinking.forced is not None
    assert asked.thinking.forced.strip() == close
    assert asked.thinking.forced.startswith("\n") == close.startswith(("</", "<channel"))


def test_of_several_tags_the_prompt_or_the_user_decides() -> None:
    several = f"{{# <reasoning> #}}{STRIPS}"
    assert chat(several, "user").thinking is None
    with pytest.raises(UsageError, match="no tags of thought, or several kinds"):
        chat(several, "user", 9)
    for asked in (chat(f"{{# <reasoning> #}}{OPENS}", "user", 9), chat(several, "user", 9, ("<think>", "</think>"))):
        assert asked.thinking is not None
        assert asked.thinking.open == "<think>"
    given = chat(CHATML, "user", 9, ("((", "))")).render(QUESTION, "").thinking
    assert given is not None
    assert (given.open, given.close) == ("((", "))")


@pytest.mark.parametrize(
    ("template", "mode", "budget", "tags", "complaint"),
    [
        (CHATML, "off", 9, None, "--thinking 9: raw text has no thoughts; add --chat user, or leave it out"),
        (CHATML, "off", 0, ("a", "b"), "--think-tags: raw text has no thoughts; add --chat user, or leave it out"),
        (CHATML, "user", 9, None, "--thinking 9: the chat template of tiny has no tags of thought"),
        (CHATML, "user", 9, ("<a>", "<a> "), "--think-tags '<a>' '<a>': give two different tags"),
        (CLOSES.replace("thinking is defined and thinking", "x is defined"), "user", 9, None, "--thinking 9: the chat"),
    ],
)
def test_what_does_not_go_together_is_refused(
    template: str, mode: str, budget: int, tags: tuple[str, str] | None, complaint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        chat(template, mode, budget, tags)
    assert str(refused.value).startswith(complaint)
    assert "\n" not in str(refused.value)


@given(
    template=st.sampled_from(list(THINKING.values())),
    mode=st.sampled_from(["prefill", "user"]),
    budget=st.integers(0, 300),
    answer=st.integers(1, 50),
    opening=st.text(max_size=20),
)
def test_budgets_add_up(template: str, mode: str, budget: int, answer: int, opening: str) -> None:
    asked = chat(template, mode, budget)
    prompt, total = asked.render(QUESTION, opening), asked.budget(answer, opening)
    request = asked.request("a", prompt, total)
    repeated = len(asked.tokenizer.encode(opening)) if mode == "user" else 0
    assert request.generation_tokens == answer + repeated
    assert total == request.generation_tokens + (0 if request.thinking is None else request.thinking.most_tokens)
    if request.thinking is not None:
        assert request.thinking.budget_tokens == budget
        assert request.thinking.most_tokens >= budget + len(request.thinking.close_ids)


TOKENIZER = ScriptedTokenizer()
TEXT = st.text(st.sampled_from("ab \n<>/think"), max_size=30)
AFTER_PROMPT, OWN = (
    Thinking(99, "<think>", "</think>", tuple(TOKENIZER.encode("\n</think>\n\n")), opened=opened, stop=("<|end|>",))
    for opened in (True, False)
)


@given(thought=TEXT, answer=TEXT, thinking=st.sampled_from([AFTER_PROMPT, OWN]))
def test_what_is_written_in_parts_is_read_in_parts(thought: str, answer: str, thinking: Thinking) -> None:
    if "</think>" in thought or thought.strip().startswith("<think>"):
        return
    begun = "" if thinking.opened else "\n<think>\n"
    whole = read_response(f"{begun}{thought}</think>{answer}", thinking)
    assert (whole.thought, whole.answer, whole.end) == (thought.strip(), answer, "closed")
    if "</think>" not in answer:
        cut = read_response(f"{begun}{thought}{answer}<|end|>\nand then", thinking)
        assert (cut.answer, cut.end) == ("", "unclosed")
        assert "<|end|>" not in cut.thought


def test_a_response_without_a_thought_is_an_answer() -> None:
    assert read_response("It is </think> 2.", OWN).answer == "It is </think> 2."
    assert read_response("It is 2.", OWN).end == "absent"


@given(thought=TEXT, answer=TEXT)
def test_inserted_tokens_are_in_neither_text(thought: str, answer: str) -> None:
    if "</think>" in thought or thought.strip().startswith("<think>"):
        return
    written, after = TOKENIZER.encode(thought), TOKENIZER.encode(answer)
    texts = read_tokens([*written, *AFTER_PROMPT.close_ids], after, "forced", AFTER_PROMPT, TOKENIZER)
    assert texts == (thought.strip(), answer.lstrip())


def test_a_token_may_end_the_tag_and_begin_the_answer() -> None:
    tag = [*TOKENIZER.encode("a</think"), *TOKENIZER.encode("> 4")]
    assert read_tokens(tag, TOKENIZER.encode("2"), "closed", AFTER_PROMPT, TOKENIZER) == ("a", "42")
