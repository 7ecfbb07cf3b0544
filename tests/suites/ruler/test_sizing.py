"""Prompts fill their length, are never over it, and are hardly ever counted twice."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import SampleKey
from evalkit.running.protocols import Tokenizer
from model_adapters.scripted import ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from suites.corpora import embedded_essays
from suites.ruler import TASKS, RulerCorpora, RulerSettings, RulerSuite
from tests.suites.counting_tokenizer import CountingTokenizer
from tests.suites.ruler import small_corpora
from tests.suites.ruler.tokenizers_for_tests import CharacterTokenizer, LongTextsCostMore

TOKENIZERS: dict[str, Tokenizer] = {
    "scripted": ScriptedTokenizer(),
    "with BOS": ScriptedTokenizer(adds_bos=True),
    "characters": CharacterTokenizer(),
    "superadditive": LongTextsCostMore(),
}
SUITES = {
    (name, dialect): small_corpora.suite(tokenizer, dialect=dialect)
    for name, tokenizer in TOKENIZERS.items()
    for dialect in ("nvidia", "olmes")
}
NEEDLES = tuple(task for task in TASKS if task.startswith("niah"))


@given(
    name=st.sampled_from(list(TOKENIZERS)),
    dialect=st.sampled_from(["nvidia", "olmes"]),
    task=st.sampled_from(TASKS),
    ctx=st.integers(512, 6000),
    index=st.integers(0, 10**6),
    seed=st.integers(-(10**12), 10**12),
)
@settings(max_examples=150)
def test_no_prompt_is_over_its_length(name: str, dialect: str, task: str, ctx: int, index: int, seed: int) -> None:
    suite = SUITES[name, dialect]
    try:
        asked = suite.ask(SampleKey(task, ctx, index, seed))
    except SampleDoesNotFitError:
        return
    sample, (request,) = asked.sample, asked.requests
    assert list(request.token_ids) == TOKENIZERS[name].encode_prompt(sample.prompt)
    assert sample.prompt_tokens == len(request.token_ids)
    assert sample.prompt_tokens + sample.generation_tokens <= ctx
    assert request.generation_tokens == sample.generation_tokens


@pytest.mark.parametrize("name", ["scripted", "with BOS", "characters"])
@pytest.mark.parametrize("task", TASKS)
def test_prompts_fill_their_length(name: str, task: str) -> None:
    # One token per character, so these prompts hold a quarter of the text; lengths are scaled accordingly.
    ctx = 16_384 if name == "characters" else 4096
    suite = SUITES[name, "nvidia"]
    samples = [suite.ask(SampleKey(task, ctx, index, 7)).sample for index in range(4)]
    fill = sum(sample.prompt_tokens + sample.generation_tokens for sample in samples) / len(samples) / ctx
    assert fill >= (0.98 if task == "niah_multikey_3" else 0.99 if task in NEEDLES else 0.97)


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_prompt_is_tokenised_once_and_its_parts_once(task: str) -> None:
    tokenizer = CountingTokenizer()
    suite = small_corpora.suite(tokenizer)
    sample = suite.ask(SampleKey(task, 8192, 0, 42)).sample
    lengths = [len(text) for text in tokenizer.texts]
    assert sum(length > 0.9 * len(sample.prompt) for length in lengths) <= 2
    assert sum(lengths) < 2.3 * len(sample.prompt)


def test_counts_of_a_corpus_are_kept_for_the_next_sample() -> None:
    tokenizer = CountingTokenizer()
    suite = small_corpora.suite(tokenizer)
    for index in range(8):
        suite.ask(SampleKey("niah_single_2", 4096, index, 42))
    tokenizer.texts.clear()
    sample = suite.ask(SampleKey("niah_single_2", 4096, 8, 42)).sample
    assert sum(map(len, tokenizer.texts)) < 1.3 * len(sample.prompt)


def test_what_cannot_fit_says_by_how_much() -> None:
    with pytest.raises(SampleDoesNotFitError, match=r"smallest prompt has \d+ tokens of 392"):
        SUITES["scripted", "nvidia"].ask(SampleKey("cwe", 512, 0, 42))


@pytest.mark.shared_data
@pytest.mark.parametrize("definition", ["allenai_dolma2", "gpt2"])
def test_fill_rates_of_real_tokenizers(shared_data: Path, definition: str) -> None:
    tokenizer = HfTokenizer.from_file(shared_data / "tokenizers" / f"{definition}.tokenizer.json")
    corpora = RulerCorpora(embedded_essays, RulerCorpora.embedded().squad, RulerCorpora.embedded().hotpotqa)
    suite = RulerSuite(RulerSettings.of(ctx=(4096,), samples=3), tokenizer, corpora)
    totals: dict[str, int] = dict.fromkeys(TASKS, 0)
    for key in suite.plan().keys:
        sample = suite.ask(key).sample
        assert sample.prompt_tokens == len(tokenizer.encode(sample.prompt))
        assert sample.prompt_tokens + sample.generation_tokens <= 4096
        totals[key.task] += sample.prompt_tokens + sample.generation_tokens
    fills = {task: total / 3 / 4096 for task, total in totals.items()}
    assert all(fills[task] >= 0.99 for task in NEEDLES if task != "niah_multikey_3"), fills
    assert fills["niah_multikey_3"] >= 0.98
    assert min(fills.values()) >= 0.97, fills
