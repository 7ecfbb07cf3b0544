"""Choices and log-probabilities are those of lm-eval's own `hf` model, on the same weights and real questions."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalkit.records import Sample
from evalkit.running.model_options import ModelOptions
from model_adapters.checkpoint import open_checkpoint
from model_adapters.loading import load_model
from model_adapters.scripted import SCRIPTED_IDENTITY
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from suites.mmlu import MmluSettings, build
from tests.model_adapters.small_models import byte_tokenizer, small_model

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast, HfTokenizer]


def tiny_hybrid() -> Loaded:
    tokenizer = byte_tokenizer()
    return small_model("olmo_hybrid"), tokenizer, HfTokenizer(tokenizer.backend_tokenizer, name="bytes")


def reference() -> Loaded:
    loaded = load_model(ModelOptions("reference:hybrid", device="cpu", dtype="float32"))
    folder = open_checkpoint("reference:hybrid", trust_remote_code=False).folder
    return loaded.model, PreTrainedTokenizerFast.from_pretrained(folder), loaded.tokenizer


def of_hf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, samples: list[Sample]) -> list[list[float]]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    instances = [
        Instance("loglikelihood", {}, (sample.prompt, f" {letter}"), index, metadata=("mmlu", number, 1))
        for number, sample in enumerate(samples)
        for index, letter in enumerate("ABCD")
    ]
    found = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2).loglikelihood(instances, disable_tqdm=True)
    return [[nats for nats, _ in found[4 * n : 4 * n + 4]] for n in range(len(samples))]


@pytest.mark.shared_data
@pytest.mark.parametrize("make", [tiny_hybrid, reference])
def test_every_choice_is_hfs(real_mmlu: Path, make: Callable[[], Loaded]) -> None:
    model, hf_tokenizer, tokenizer = make()
    settings = MmluSettings.of(data=real_mmlu, subjects=["global_facts", "formal_logic"], samples=3)
    suite = build(settings, tokenizer)
    asked = [suite.ask(key) for key in suite.plan().keys]
    samples = [one.sample for one in asked]
    theirs = of_hf(model, hf_tokenizer, samples)
    requests = [one.requests[0] for one in asked]
    # Everything except the question itself is read once.
    assert all(request.prefix_tokens > len(request.token_ids) // 2 for request in requests)
    adapter = TransformersAdapter(model, tokenizer, SCRIPTED_IDENTITY)
    found = {completion.request_id: completion.continuations or () for completion in adapter.generate(requests)}
    for sample, expected in zip(samples, theirs, strict=True):
        ours = [score.log_probability for score in found[sample.id]]
        assert ours == pytest.approx(expected, abs=1e-4)
        assert ours.index(max(ours)) == expected.index(max(expected))
