"""MMLU through a chat template: prompts, token ids and log-probabilities of lm-eval's own `hf` model."""

from collections.abc import Iterable
from itertools import groupby, product
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalkit.records import Asked
from evalkit.running.model_options import ChatMode, ChatOptions, ModelOptions
from model_adapters.chat_template import chat_template_of
from model_adapters.checkpoint import open_checkpoint
from model_adapters.loading import load_model
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from suites.mmlu import MmluSettings, MmluSuite, build
from suites.mmlu.prompt import ANSWER
from tests.chat_templates import CHATML, LLAMA, NO_SYSTEM
from tests.model_adapters.small_models import BOS_ID, byte_tokenizer, small_model
from tests.suites.mmlu.lm_eval_mmlu import task_over
from tests.suites.mmlu.small_data import write_mmlu

CHATS = (ChatMode.USER, ChatMode.PREFILL)
WITHOUT_ANSWER = {
    "mc": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\n",
    "cloze": "Question: {{question.strip()}}\n",
}
"""lm-eval's questions without `Answer:`, which `gen_prefix` states instead."""


def task_of(variant: str, mode: ChatMode, subject: str, data: Path, cache: Path) -> Any:
    prefill = {"doc_to_text": WITHOUT_ANSWER[variant], "gen_prefix": ANSWER} if mode is ChatMode.PREFILL else {}
    return task_over(variant, subject, data, cache, **prefill)


def by_document(task: Any, lm: Any, *, multiturn: bool, limit: int | None = None) -> list[list[Any]]:
    """lm-eval's instances through the template of its model."""
    task.build_all_requests(
        limit=limit, apply_chat_template=True, fewshot_as_multiturn=multiturn, chat_template=lm.apply_chat_template
    )
    return [list(group) for _, group in groupby(task.instances, lambda instance: instance.doc_id)]


def asked_of(suite: MmluSuite) -> list[Asked]:
    return [suite.ask(key) for key in suite.plan().keys]


def assert_same(asked: Iterable[Asked], documents: list[list[Any]], lm: Any) -> None:
    """The text and the token ids of every question are lm-eval's."""
    for one, instances in zip(asked, documents, strict=True):
        assert {instance.args[0] for instance in instances} == {one.sample.prompt}
        (request,) = one.requests
        for instance, tokens in zip(instances, request.continuations, strict=True):
            assert (list(request.token_ids), list(tokens)) == lm._encode_pair(*instance.args)


def hf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mmlu(tmp_path_factory.mktemp("mmlu"), ["virology"], test=3)


@pytest.mark.parametrize("mode", CHATS)
@pytest.mark.parametrize("variant", WITHOUT_ANSWER)
def test_prompts_and_nats_are_lm_evals(data: Path, tmp_path: Path, variant: str, mode: ChatMode) -> None:
    lm = hf(small_model("llama"), byte_tokenizer())
    task = task_of(variant, mode, "virology", data, tmp_path)
    adapter = None
    for template, multiturn in product((CHATML, LLAMA, NO_SYSTEM), (True, False)):
        # The second tokenizer is ours, because it is changed in place. It writes BOS itself, as some templates do.
        lm.tokenizer, tokenizer = (byte_tokenizer(), byte_tokenizer())
        for each in (lm.tokenizer, tokenizer):
            each.add_bos_token, each.chat_template = True, template
        ours = HfTokenizer(tokenizer.backend_tokenizer, name="bytes", chat_template=chat_template_of(tokenizer))
        assert ours.encode_prompt("") == [BOS_ID]
        settings = MmluSettings.of(
            data=data, subjects=["virology"], variant=variant, fewshot_as_multiturn=None if multiturn else False
        )
        suite = build(settings, ours, chat=ChatOptions(mode))
        asked, documents = asked_of(suite), by_document(task, lm, multiturn=multiturn)
        assert_same(asked, documents, lm)
        assert suite.dialect == f"5-shot {variant}+chat-{mode}" + ("" if multiturn else "-single-turn")
        adapter = adapter or TransformersAdapter(small_model("llama"), ours, SCRIPTED_IDENTITY)
        assert_same_nats(adapter, asked, documents, lm)


@pytest.mark.shared_data
@pytest.mark.parametrize("mode", CHATS)
def test_real_questions_have_lm_evals_nats(real_mmlu: Path, tmp_path: Path, mode: ChatMode) -> None:
    loaded = load_model(ModelOptions("reference:hybrid", device="cpu", dtype="float32"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        open_checkpoint("reference:hybrid", trust_remote_code=False).folder
    )
    tokenizer.chat_template = CHATML
    ours = HfTokenizer(tokenizer.backend_tokenizer, name="reference", chat_template=chat_template_of(tokenizer))
    lm = hf(loaded.model, tokenizer)
    whole = build(MmluSettings.of(data=real_mmlu, subjects=["formal_logic"]), ours, chat=ChatOptions(mode))
    task = task_of("mc", mode, "formal_logic", real_mmlu, tmp_path)
    asked, documents = asked_of(whole), by_document(task, lm, multiturn=True)
    assert_same(asked, documents, lm)
    theirs = [[nats for nats, _ in lm.loglikelihood(one, disable_tqdm=True)] for one in documents[:3]]
    adapter = TransformersAdapter(loaded.model, loaded.tokenizer, SCRIPTED_IDENTITY)
    assert nats_of(adapter, asked[:3]) == [pytest.approx(expected, abs=1e-3) for expected in theirs]
    assert all(one.requests[0].prefix_tokens > len(one.requests[0].token_ids) // 2 for one in asked)


def assert_same_nats(adapter: TransformersAdapter, asked: list[Asked], documents: list[list[Any]], lm: Any) -> None:
    theirs = [[nats for nats, _ in lm.loglikelihood(one, disable_tqdm=True)] for one in documents]
    assert nats_of(adapter, asked) == [pytest.approx(expected, abs=1e-3) for expected in theirs]


def nats_of(adapter: TransformersAdapter, asked: list[Asked]) -> list[list[float]]:
    found = {answer.request_id: answer.continuations or () for answer in adapter.generate(a.requests[0] for a in asked)}
    return [[score.log_probability for score in found[one.sample.id]] for one in asked]


@pytest.mark.parametrize("template", [CHATML, LLAMA])
@pytest.mark.parametrize("mode", [ChatMode.OFF, *CHATS])
def test_the_right_choice_is_marked_in_the_prompt(data: Path, mode: ChatMode, template: str) -> None:
    tokenizer = ScriptedTokenizer(chat_template=template)
    suite = build(MmluSettings.of(data=data, subjects=["virology"]), tokenizer, chat=ChatOptions(mode))
    for asked in asked_of(suite):
        ((start, end),) = asked.sample.evidence
        assert asked.sample.prompt[start:end].startswith(f"{asked.sample.targets[0]}. virology test choice")
        assert asked.sample.prompt[end] in "\n<"
        assert asked.sample.prompt.endswith(asked.sample.answer_prefix)
