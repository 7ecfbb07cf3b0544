"""The conventions of chat: texts, stop strings, and templates that cannot be used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.running.chat import Chat
from evalkit.running.model_options import ChatMode, ChatOptions
from model_adapters.scripted import ScriptedTokenizer
from tests.chat_templates import CHATML, LLAMA, TEMPLATES

QUESTION, OPENING = "What is 1 + 1?\n", " The sum is"


HEADS = {CHATML: "user", LLAMA: "user<|end_header_id|>"}
"""What stands before the question, without spaces."""


def chat(mode: str, template: str | None = CHATML, *, adds_bos: bool = False) -> Chat:
    return Chat(ScriptedTokenizer(adds_bos=adds_bos, chat_template=template), ChatOptions(ChatMode(mode)), model="tiny")


@pytest.mark.parametrize(
    ("mode", "template", "text", "opening"),
    [
        ("off", CHATML, f"{QUESTION}{OPENING}", OPENING),
        ("prefill", CHATML, f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\nThe sum is", "The sum is"),
        ("user", CHATML, f"<|im_start|>user\n{QUESTION}{OPENING}<|im_end|>\n<|im_start|>assistant\n", ""),
        (
            "prefill",
            LLAMA,
            "<|start_header_id|>user<|end_header_id|>\n\nWhat is 1 + 1?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nThe sum is",
            "The sum is",
        ),
    ],
)
def test_conventions(mode: str, template: str, text: str, opening: str) -> None:
    asked = chat(mode, template)
    prompt = asked.render(QUESTION, OPENING)
    assert (prompt.text, prompt.opening) == (text, opening)
    assert prompt.token_ids == asked.tokenizer.encode(text)


def test_without_an_opening_prefill_is_user() -> None:
    assert chat("prefill").render(QUESTION, "") == chat("user").render(QUESTION, "")


def test_only_raw_text_gets_the_tokenizers_own_bos() -> None:
    raw, templated = chat("off", adds_bos=True), chat("user", adds_bos=True)
    assert raw.render(QUESTION, "").token_ids == raw.tokenizer.encode_prompt(QUESTION)
    prompt = templated.render(QUESTION, "")
    assert prompt.token_ids == templated.tokenizer.encode(prompt.text)


@given(
    question=st.text(min_size=1).filter(str.strip) | st.sampled_from(["user", "im", "<|", "\n."]),
    opening=st.text(),
    mode=st.sampled_from(["off", "prefill", "user"]),
    template=st.sampled_from(list(TEMPLATES.values())),
)
def test_a_question_is_found_where_it_is_said_to_be(question: str, opening: str, mode: str, template: str) -> None:
    prompt = chat(mode, template).render(question, opening)
    first = len(question) - len(question.lstrip())
    assert prompt.text[prompt.question_start + first :].startswith(question.strip())
    assert prompt.text[: prompt.question_start + first].rstrip().endswith(HEADS[template] if mode != "off" else "")
    assert prompt.text.endswith(prompt.opening)


def test_an_answer_ends_with_its_turn() -> None:
    assert chat("off").stop == ()
    assert chat("prefill").stop == chat("user").stop == ("<|im_end|>",)
    assert chat("user", LLAMA).stop == ("<|eot_id|>",)
    assert chat("user", "{% for message in messages %}{{ message.content }}{% endfor %}").stop == ()


def test_an_answer_may_repeat_its_opening_in_a_turn_of_its_own() -> None:
    user, opening = chat("user"), " The\nsum is"
    assert user.answer("\nthe SUM  is 2.", opening) == " 2."
    assert user.answer("2, the sum is 2.", opening) == "2, the sum is 2."
    assert user.answer("2", "") == "2"
    assert user.budget(9, opening) == 9 + len(user.tokenizer.encode(opening))
    for other in (chat("prefill"), chat("off")):
        assert other.answer("The sum is 2.", opening) == "The sum is 2."
        assert other.budget(9, opening) == 9


def test_dialects_name_the_convention_and_digests_the_template() -> None:
    assert [chat(mode).dialect("nvidia") for mode in ("off", "prefill", "user")] == [
        "nvidia", "nvidia+chat-prefill", "nvidia+chat-user",
    ]  # fmt: skip
    assert chat("off").template_sha256 is None
    digests = [chat(mode, template).template_sha256 for mode in ("prefill", "user") for template in TEMPLATES.values()]
    assert digests[:2] == digests[2:]
    assert len(set(digests)) == 2


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (
            None,
            "--chat user: the tokenizer of tiny has no chat template; use --chat off, or add its chat_template.jinja",
        ),
        ("{{ messages[0].content | upper }}", "tiny: its chat template changes what it is given; use --chat off"),
        ("{{ raise_exception('no users') }}", "tiny: its chat template failed: no users; use --chat off"),
        ("{% if %}", "tiny: its chat template failed: "),
        ("{{ 1 / 0 }}", "tiny: its chat template failed: "),
        ("{% if messages[1] %}{{ 1 / 0 }}{% endif %}{{ messages[0].content }}", "tiny: its chat template failed: "),
    ],
)
def test_templates_that_cannot_be_used_are_refused(template: str | None, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        chat("user", template)
    assert str(refused.value).startswith(complaint)
    assert "\n" not in str(refused.value)


def test_a_template_that_asks_for_the_date_gives_the_same_prompt_every_day() -> None:
    dated = "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d') }}\n" + CHATML
    assert chat("user", dated).render("a", "").text.startswith("26 Jul 2024 2024-07-26\n<|im_start|>")
