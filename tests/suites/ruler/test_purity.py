"""A sample is a function of its key, the dialect, the corpora and the tokenizer, and of nothing else."""

import hashlib
import random
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import Sample, SampleKey
from model_adapters.scripted import ScriptedTokenizer
from suites.ruler import TASKS
from suites.ruler.suite import RulerSuite
from tests.suites.ruler import small_corpora
from tests.suites.ruler.tokenizers_for_tests import CharacterTokenizer, LongTextsCostMore
from tests.support import run_python

KEYS = st.builds(
    SampleKey,
    task=st.sampled_from(TASKS),
    ctx=st.integers(512, 2500),
    index=st.integers(0, 1000),
    seed=st.integers(0, 2**50),
)


def made_by(suite: RulerSuite, key: SampleKey) -> Sample | None:
    try:
        return suite.ask(key).sample
    except SampleDoesNotFitError:
        return None


@given(st.lists(KEYS, min_size=2, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_samples_do_not_depend_on_what_else_is_asked_in_which_order(
    keys: list[SampleKey], shuffler: random.Random
) -> None:
    tokenizer = ScriptedTokenizer()
    alone = {
        key: made_by(small_corpora.suite(tokenizer, ctxs=(key.ctx,), tasks=(key.task,), seed=key.seed), key)
        for key in keys
    }
    everything = small_corpora.suite(tokenizer, ctxs=(512, 4096), samples=9)
    shuffled = list(keys)
    shuffler.shuffle(shuffled)
    assert {key: made_by(everything, key) for key in shuffled} == alone
    assert {key: made_by(everything, key) for key in keys} == alone


@given(KEYS)
@settings(max_examples=60)
def test_what_is_asked_does_not_depend_on_the_tokenizer(key: SampleKey) -> None:
    tokenizers = (ScriptedTokenizer(), ScriptedTokenizer(adds_bos=True), CharacterTokenizer(), LongTextsCostMore())
    asked = [made_by(small_corpora.suite(tokenizer), key) for tokenizer in tokenizers]
    told = [sample for sample in asked if sample is not None]
    for sample in told[1:]:
        assert sample.targets == told[0].targets
        assert sample.depths == told[0].depths
        assert sample.answer_prefix == told[0].answer_prefix
        assert sample.prompt.rpartition("\n")[2] == told[0].prompt.rpartition("\n")[2]
        assert needles(sample)[: len(sample.depths)] == needles(told[0])[: len(told[0].depths)]


def needles(sample: Sample) -> list[str]:
    """The requested sentences."""
    found = re.findall(r"One of the special magic [^:]*: [\w-]+\.", sample.prompt)
    return sorted(sentence for sentence in found if any(target in sentence for target in sample.targets))


@given(KEYS)
@settings(max_examples=20)
def test_global_generators_are_left_alone(key: SampleKey) -> None:
    before, numpy_before = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr, index]  # MT19937's state is a tuple with its key
    made_by(small_corpora.suite(ScriptedTokenizer()), key)
    assert random.getstate() == before
    assert np.random.get_state()[1].tobytes() == numpy_before  # type: ignore[union-attr, index]  # as above


def test_neighbouring_keys_give_other_samples() -> None:
    suite = small_corpora.suite(ScriptedTokenizer())
    for task in TASKS:
        keys = [SampleKey(task, ctx, index, seed) for ctx in (1024, 1025) for index in (0, 1) for seed in (0, 1)]
        samples = [suite.ask(key).sample for key in keys]
        assert len({sample.prompt for sample in samples}) == len(keys), task


def test_another_process_with_another_hash_seed_makes_the_same_prompts() -> None:
    program = "from tests.suites.ruler.test_purity import digest; print(digest())"
    told = {run_python("-c", program, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
    assert told == {f"{digest()}\n"}


def digest() -> str:
    """One digest over all tasks at two lengths."""
    suite = small_corpora.suite(ScriptedTokenizer())
    prompts = [suite.ask(SampleKey(task, ctx, 3, 42)).sample.prompt for task in TASKS for ctx in (1024, 4096)]
    return hashlib.sha256("\0".join(prompts).encode()).hexdigest()
