"""Rendered prompts compared with transformers' apply_chat_template, token for token."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from evalkit.errors import UsageError
from evalkit.running.chat import Chat
from evalkit.running.model_options import ChatMode, ChatOptions
from model_adapters.chat_template import chat_template_of
from model_adapters.checkpoint import open_checkpoint
from model_adapters.tokenizer import HfTokenizer
from tests.chat_templates import TEMPLATES
from tests.model_adapters.small_models import BOS_ID, byte_tokenizer
from tests.suites.ruler import small_corpora

QUESTION, OPENING = "  What is the key? It is 12345.\n", " The key is"

HEADS = {"chatml": "<|im_start|>user\n", "llama": "<eos><|start_header_id|>user<|end_header_id|>\n\n"}
"""What stands before the question."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tokenizer of a model that comes with evalkit, with a token for BOS."""
    reference = open_checkpoint("reference:hybrid", trust_remote_code=False).folder
    shutil.copy(reference / "tokenizer.json", tmp_path)
    config = json.loads((reference / "tokenizer_config.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "<eos>"}), encoding="utf-8")
    return tmp_path


def theirs(folder: Path, mode: ChatMode, question: str, opening: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    if mode is ChatMode.PREFILL:
        messages.append({"role": "assistant", "content": opening.strip()})
    else:
        messages[0]["content"] += opening
    ids: list[int] = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages,
        tokenize=True,
        return_dict=False,
        add_generation_prompt=mode is ChatMode.USER,
        continue_final_message=mode is ChatMode.PREFILL,
    )
    return ids


def test_a_template_that_is_no_text_is_refused(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": 5}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"here: its tokenizer cannot be read \(chat_template is 5, not text"):
        HfTokenizer.from_folder(folder, name="here", trust_remote_code=False)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("mode", [ChatMode.PREFILL, ChatMode.USER])
def test_prompts_are_those_of_transformers(folder: Path, mode: ChatMode, template: str) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATES[template], encoding="utf-8")
    tokenizer = HfTokenizer.from_folder(folder, name="here", trust_remote_code=False)
    chat = Chat(tokenizer, ChatOptions(mode))
    assert chat.render(QUESTION, OPENING).token_ids == theirs(folder, mode, QUESTION, OPENING)
    suite = small_corpora.suite(tokenizer, chat=ChatOptions(mode))
    for key in suite.plan().keys:
        asked = suite.ask(key)
        question = asked.sample.prompt.partition(HEADS[template])[2].partition(chat.stop[0])[0]
        assert list(asked.requests[0].token_ids) == theirs(folder, mode, question, asked.sample.answer_prefix)


@pytest.mark.parametrize("after", ["", "<eos>", "<|turn|>user\n"])
def test_an_answer_ends_at_the_first_special_token_after_it(after: str) -> None:
    fast = byte_tokenizer()
    fast.add_special_tokens({"additional_special_tokens": ["<|end|>", "<|turn|>"]})
    fast.chat_template = (
        "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }} <|end|>{% endfor %}"
        f"{{% if add_generation_prompt %}}<|turn|>assistant\n{{% else %}}{after}{{% endif %}}"
    )
    tokenizer = HfTokenizer(fast.backend_tokenizer, name="here", chat_template=chat_template_of(fast))
    assert Chat(tokenizer, ChatOptions(ChatMode.USER)).stop == ("<|end|>",)


def test_bos_is_not_doubled(tmp_path: Path) -> None:
    fast = byte_tokenizer()
    fast.add_bos_token = True
    fast.chat_template = TEMPLATES["llama"]
    fast.save_pretrained(tmp_path)
    tokenizer = HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)
    ids = Chat(tokenizer, ChatOptions(ChatMode.USER)).render(QUESTION, OPENING).token_ids
    assert ids == theirs(tmp_path, ChatMode.USER, QUESTION, OPENING)
    assert ids.count(BOS_ID) == 1
    assert tokenizer.encode_prompt(QUESTION)[0] == BOS_ID
