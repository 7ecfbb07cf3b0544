"""lm-eval's tasks through a chat template: our suite and our lm-eval model against lm-eval's own `hf` model."""

from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.records import Asked, Completion, Request
from evalkit.running.answering import sample_record
from evalkit.running.model_options import ChatMode, ChatOptions
from model_adapters.chat_template import chat_template_of
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedReply, ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from suites.lm_eval_tasks import LmEvalSettings, LmEvalSuite, build, load_tasks
from tests.chat_templates import CHATML, LLAMA, NO_SYSTEM, OPENS
from tests.model_adapters.small_models import byte_tokenizer, small_model
from tests.suites.lm_eval_tasks.own_tasks import write_task, write_tasks

KINDS = ("colours", "weather", "pronoun", "last_word", "sums", "begun", "begun_open")
"""All of lm-eval's kinds but whole texts, and two tasks that state the beginning of an answer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    rows = [{"question": f"Which letter is number {n}?", "answer": n} for n in range(4)]
    metric = {"aggregation": "mean", "higher_is_better": True}
    choices: dict[str, Any] = {"doc_to_text": "{{question}}", "doc_to_target": "answer", "num_fewshot": 2}
    choices |= {"fewshot_split": "dev", "gen_prefix": "The best answer is", "description": "Letters."}
    write_task(
        folder,
        "begun",
        {"test": rows, "dev": rows},
        output_type="multiple_choice",
        doc_to_choice=list("ABCD"),
        metric_list=[{"metric": "acc", **metric}],
        **choices,
    )
    write_task(
        folder,
        "begun_open",
        {"test": rows, "dev": rows},
        output_type="generate_until",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 12},
        metric_list=[{"metric": "exact_match", **metric}],
        **{**choices, "doc_to_target": "{{answer}}"},
    )
    return folder


def settings_of(folder: Path, *tasks: str, multiturn: bool | None = None) -> LmEvalSettings:
    return LmEvalSettings.of(tasks=tasks or KINDS, include_path=folder, fewshot_as_multiturn=multiturn)


def evaluated(lm: Any, settings: LmEvalSettings) -> dict[str, Any]:
    from lm_eval.evaluator import evaluate

    results = evaluate(
        lm,
        load_tasks(settings).task_dict(),
        bootstrap_iters=0,
        apply_chat_template=True,
        fewshot_as_multiturn=settings.multiturn,
    )
    assert results is not None
    return dict(results)


@pytest.mark.parametrize(("template", "multiturn"), [(LLAMA, None), (NO_SYSTEM, False)])
def test_prompts_and_answers_are_lm_evals(folder: Path, template: str, multiturn: bool | None) -> None:
    from lm_eval.models.huggingface import HFLM

    from model_adapters.lm_eval_bridge import EvalkitLM

    theirs_tokenizer = byte_tokenizer()
    theirs_tokenizer.chat_template = template
    tokenizer = HfTokenizer(
        theirs_tokenizer.backend_tokenizer,
        name="bytes",
        text_start=theirs_tokenizer.bos_token_id,
        chat_template=chat_template_of(theirs_tokenizer),
    )
    settings = settings_of(folder, multiturn=multiturn)
    adapter = TransformersAdapter(small_model("llama"), tokenizer, SCRIPTED_IDENTITY)
    lm = EvalkitLM(adapter, max_tokens=None)
    ours = evaluated(lm, settings)
    hf = HFLM(pretrained=small_model("llama"), tokenizer=theirs_tokenizer, batch_size=4)
    theirs = evaluated(hf, settings)
    assert lm.chat_template(True) == hf.chat_template(True) == template
    for task in KINDS:
        for here, there in zip(ours["samples"][task], theirs["samples"][task], strict=True):
            assert here["prompt_hash"] == there["prompt_hash"]
            assert here["arguments"] == there["arguments"]
            for left, right in zip(here["resps"], there["resps"], strict=True):
                assert left[0] == (right[0] if isinstance(right[0], str) else pytest.approx(right[0], abs=1e-3))
    suite = build(settings, tokenizer, chat=ChatOptions(ChatMode.PREFILL))
    asked = [suite.ask(key) for key in suite.plan().keys]
    assert figures_of(suite, asked, adapter) == pytest.approx(reported(ours["results"]))
    # A sample of lm-eval's is there once per filter.
    documents = {(task, each["doc_id"]): each for task in KINDS for each in theirs["samples"][task]}
    assert len(documents) == len(asked)
    for one in asked:
        document = documents[one.sample.key.task, one.sample.key.index]
        assert sent(one) == [encoded(hf, arguments) for arguments in document["arguments"]]


def figures_of(suite: LmEvalSuite, asked: list[Asked], adapter: TransformersAdapter) -> dict[str, float | None]:
    """The numbers of our suite, without storing a run."""
    found = {answer.request_id: answer for answer in adapter.generate(r for one in asked for r in one.requests)}
    wholes = [Completion.joined(one.sample.id, [found[request.id] for request in one.requests]) for one in asked]
    records = [sample_record(one, whole, suite.judge(one, whole)) for one, whole in zip(asked, wholes, strict=True)]
    return {figure.label: figure.value for figure in suite.summarize(records).figures}


def reported(results: dict[str, Any]) -> dict[str, float]:
    """lm-eval's numbers, named as our figures."""
    return {
        f"{task}/{key.removesuffix(',none')}": value
        for task, metrics in results.items()
        for key, value in metrics.items()
        if "," in key and "_stderr" not in key
    }


Tokens = tuple[list[int], list[int]]
"""Of a context, and of its continuation; the latter is empty if the answer is open."""


def sent(asked: Asked) -> list[Tokens]:
    return [
        (list(request.token_ids), list(continuation))
        for request in asked.requests
        for continuation in request.continuations or ((),)
    ]


def encoded(hf: Any, arguments: tuple[str, Any]) -> Tokens:
    """What lm-eval's model makes of a request."""
    context, continuation = arguments
    if context == "":
        return [hf.prefix_token_id], hf.tok_encode(continuation, add_special_tokens=False)
    if isinstance(continuation, dict):
        return hf.tok_batch_encode([context])[0][0].tolist(), []
    before, after = hf._encode_pair(context, continuation)
    return before, after


def test_what_has_no_form_in_a_convention_is_refused(folder: Path) -> None:
    tokenizer = ScriptedTokenizer(chat_template=CHATML)
    with pytest.raises(UsageError, match=r"--chat user: task begun states the beginning of an answer .* prefill"):
        build(settings_of(folder, "sums", "begun"), tokenizer, chat=ChatOptions(ChatMode.USER))
    with pytest.raises(UsageError, match="--chat prefill: task prose scores whole texts, which have no turns"):
        build(settings_of(folder, "prose"), tokenizer, chat=ChatOptions(ChatMode.PREFILL))


def test_tasks_without_a_beginning_have_one_form(folder: Path) -> None:
    tokenizer = ScriptedTokenizer(chat_template=CHATML)
    plain = settings_of(folder, *KINDS[:5])
    suites = [build(plain, tokenizer, chat=ChatOptions(mode)) for mode in (ChatMode.USER, ChatMode.PREFILL)]
    first, second = ([suite.ask(key) for key in suite.plan().keys] for suite in suites)
    assert first == second
    assert [suite.dialect for suite in suites] == [
        "each task's own shots+chat-user", "each task's own shots+chat-prefill",
    ]  # fmt: skip


def test_a_thought_that_the_template_opens_is_closed(folder: Path) -> None:
    from model_adapters.lm_eval_bridge import EvalkitLM

    template = CHATML.replace("assistant\n' }}", "assistant\n<ponder>\n' }}")
    tokenizer = ScriptedTokenizer(chat_template=template)
    options = ChatOptions(ChatMode.USER, tags=("<ponder>", "</ponder>"))
    lm = EvalkitLM(ScriptedAdapter({}, tokenizer=tokenizer), max_tokens=None, chat=options)
    suite = build(settings_of(folder, "sums"), tokenizer, chat=options)
    text = lm.apply_chat_template([{"role": "user", "content": "0 + 0 ="}])
    assert text == suite.ask(suite.plan().keys[0]).sample.prompt
    assert text.partition("<ponder>")[2].strip() == "</ponder>"


def test_open_answers_follow_a_thought(folder: Path) -> None:
    tokenizer = ScriptedTokenizer(chat_template=OPENS)
    suite = build(settings_of(folder, "sums"), tokenizer, chat=ChatOptions(ChatMode.USER, 64))
    assert suite.dialect == "each task's own shots+chat-user+think-64"
    asked = [suite.ask(key) for key in suite.plan().keys]
    for one in asked:
        (request,) = one.requests
        assert request.thinking is not None
        assert one.sample.prompt.endswith("<|im_start|>assistant\n<think>\n")
        assert one.sample.generation_tokens == request.generation_tokens + request.thinking.most_tokens
    right = {one.sample.id: ScriptedReply(one.sample.targets[0], thought="99\n\n9 Q:") for one in asked}
    answers = {one.request_id: one for one in ScriptedAdapter(right, tokenizer=tokenizer).generate(_requests(asked))}
    assert {suite.judge(one, answers[one.sample.id]).value for one in asked} == {1.0}
    off = build(settings_of(folder, "sums"), tokenizer, chat=ChatOptions(ChatMode.USER))
    (request,) = off.ask(off.plan().keys[0]).requests
    assert request.thinking is None
    assert off.ask(off.plan().keys[0]).sample.prompt.endswith("<think>\n\n</think>\n\n")
    for task in ("colours", "begun_open"):
        with pytest.raises(UsageError, match=f"--thinking 64: task {task} has no place for a thought"):
            build(settings_of(folder, task), tokenizer, chat=ChatOptions(ChatMode.PREFILL, 64))


def _requests(asked: list[Asked]) -> list[Request]:
    return [request for one in asked for request in one.requests]
