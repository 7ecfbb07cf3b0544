"""Every suite tokenizes the prompts that it asks once: not again to request, to judge or to count.

Of a prompt behind a shared prefix, only the rest may be tokenized instead.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.records import Asked, Completion, ContinuationScore, Request
from evalkit.running.protocols import Suite
from suites import context_extension, lm_eval_tasks, mmlu, ruler, state_tracking, text_loss
from suites.ruler.prepared import PreparedWriter
from suites.text_loss.sources import EssayText
from tests.suites.counting_tokenizer import CountingTokenizer
from tests.suites.lm_eval_tasks.own_tasks import KINDS, write_tasks
from tests.suites.mmlu.small_data import write_mmlu
from tests.suites.numbered_prose import numbered_essays
from tests.suites.ruler import small_corpora

PROSE = numbered_essays(3000)
Build = Callable[[CountingTokenizer, Path], Suite[Any]]


def ruler_suite(tokenizer: CountingTokenizer, _: Path) -> Suite[Asked]:
    return small_corpora.suite(tokenizer, ctxs=(1024, 4096), samples=2)


def prepared_suite(tokenizer: CountingTokenizer, folder: Path) -> Suite[Asked]:
    native = small_corpora.suite(tokenizer, ctxs=(1024,), tasks=("vt", "qa_1"), samples=3)
    with PreparedWriter(folder) as writer:
        for key in native.plan().keys:
            writer.write(native.ask(key).sample)
    tokenizer.texts.clear()
    return ruler.build(ruler.RulerSettings.of(ctx=(1024,), tasks=("vt", "qa_1"), data=folder), tokenizer)


def mmlu_suite(tokenizer: CountingTokenizer, folder: Path) -> Suite[Any]:
    data = write_mmlu(folder, ["anatomy", "virology"], test=30)
    return mmlu.build(mmlu.MmluSettings.of(subjects=["anatomy", "virology"], data=data), tokenizer)


def tracking_suite(tokenizer: CountingTokenizer, _: Path) -> Suite[Asked]:
    settings = state_tracking.StateTrackingSettings.of(ctx=(0, 2048), updates=(4, 16), samples=2)
    return state_tracking.build(settings, tokenizer, PROSE)


def loss_suite(tokenizer: CountingTokenizer, folder: Path) -> Suite[Any]:
    settings = text_loss.TextLossSettings.of(ctx=256, overlap=40, samples=20)
    return text_loss.build(settings, tokenizer, EssayText(PROSE))


def extension_suite(tokenizer: CountingTokenizer, folder: Path) -> Suite[Any]:
    data = write_mmlu(folder, ["virology"], test=3)
    settings = replace(
        context_extension.ExtensionSettings.of(ctx=2048, tasks=("niah_single_1",), samples=3, windows=3),
        ctxs=(1024, 2048),
        mmlu=mmlu.MmluSettings.of(subjects=["virology"], data=data),
    )
    return context_extension.build(settings, tokenizer, source=EssayText(PROSE), corpora=small_corpora.CORPORA)


def lm_eval_suite(tokenizer: CountingTokenizer, folder: Path) -> Suite[Asked]:
    settings = lm_eval_tasks.LmEvalSettings.of(tasks=KINDS, include_path=write_tasks(folder))
    return lm_eval_tasks.build(settings, tokenizer)


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize(
    "build",
    [ruler_suite, prepared_suite, mmlu_suite, tracking_suite, loss_suite, extension_suite, lm_eval_suite],
)
def test_a_prompt_is_tokenized_once(build: Build, tmp_path: Path, *, adds_bos: bool) -> None:
    tokenizer = CountingTokenizer(adds_bos=adds_bos)
    suite = build(tokenizer, tmp_path)
    keys = suite.plan().keys
    planned, asked_texts = Counter(tokenizer.texts), Counter[str]()
    prompts: list[tuple[str, str]] = []
    for key in keys:
        tokenizer.texts.clear()
        asked = suite.ask(key)
        asked_texts.update(tokenizer.texts)
        prompts += [
            (tokenizer.decode(request.token_ids), tokenizer.decode(request.token_ids[request.prefix_tokens :]))
            for request in asked.requests
        ]
        tokenizer.texts.clear()
        completion = Completion.joined(asked.sample.id, [answer(request) for request in asked.requests])
        suite.judge(asked, completion)
        assert not tokenizer.texts, "judging tokenizes nothing"
    assert prompts
    for prompt, rest in prompts:
        if prompt:
            assert asked_texts[prompt] == 1 or (asked_texts[prompt], asked_texts[rest]) == (0, 1)
    # Texts are tokenized once to cut them into windows, before any request; of prepared files, the longest prompt is.
    early = sum(planned[prompt] for prompt, _ in prompts)
    windows = sum(key.task in ("text", "long_text", "short_text") for key in keys)
    assert early == (2 if build is prepared_suite else windows)


def answer(request: Request) -> Completion:
    scored = 0 if request.scored_from is None else len(request.token_ids) - request.scored_from
    continuations = tuple(ContinuationScore(-1.0, is_greedy=False) for _ in request.continuations)
    return Completion(
        request_id=request.id,
        text="some answer",
        prompt_tokens=len(request.token_ids),
        completion_tokens=2,
        finish_reason="stop",
        prefill_seconds=0.1,
        decode_seconds=0.1,
        log_probabilities=(-1.0,) * scored if scored else None,
        continuations=continuations or None,
    )
