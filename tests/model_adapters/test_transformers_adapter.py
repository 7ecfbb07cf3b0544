"""The adapter for a checkpoint on disk: texts, finish reasons, and records of how it ran."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evalkit.records import Completion, EngineDescription, Request
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import LoadedModel, load_model
from model_adapters.transformers_adapter import TransformersAdapter
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import BOS_ID, EOS_ID, FAMILIES, save_small_checkpoint

TEXT = "One of the special magic numbers for long-context is: 7489201. "


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedModel:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "olmo_hybrid")
    return load_model(ModelOptions(str(folder), device="cpu", dtype="float32"))


def request(loaded: LoadedModel, text: str, budget: int, key: str = "0") -> Request:
    return Request(key, tuple(loaded.tokenizer.encode_prompt(text)), budget)


def adapter_of(loaded: LoadedModel) -> TransformersAdapter:
    return TransformersAdapter(loaded.model, loaded.tokenizer, loaded.identity, segment_tokens=50, batch_sequences=2)


def reference_text(loaded: LoadedModel, asked: Request) -> tuple[str, int]:
    input_ids = torch.tensor([asked.token_ids])
    output = loaded.model.generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        max_new_tokens=asked.generation_tokens,
        do_sample=False,
    )
    new = output[0, len(asked.token_ids) :].tolist()
    return loaded.tokenizer.decode([token_id for token_id in new if token_id != EOS_ID]), len(new)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_is_what_transformers_generates(family: str, tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", family)
    loaded = load_model(ModelOptions(str(folder), device="cpu", dtype="float32"))
    asked = [request(loaded, TEXT * repeats, 12, str(repeats)) for repeats in (1, 4, 2)]
    # Before the adapter is made, which changes the model.
    expected = {one.id: reference_text(loaded, one) for one in asked}
    completions = list(adapter_of(loaded).generate(asked))
    assert {one.request_id: (one.text, one.completion_tokens) for one in completions} == expected
    for one in completions:
        assert one.error is None
        assert one.prompt_tokens == len(asked[[a.id for a in asked].index(one.request_id)].token_ids)


@pytest.mark.parametrize(
    ("family", "attention"),
    [
        ("mamba2", None),
        ("bert", "flash (CPU)"),
        ("gemma3n_text", "flash (CPU)"),
        ("nemotron_h", "flash (CPU)"),
        # Their keys and values have different sizes.
        ("kimi_linear", "chunked reference"),
        ("deepseek_v3", "chunked reference"),
    ],
)
def test_what_ran_can_be_described(family: str, attention: str | None, loaded: LoadedModel) -> None:
    """For any names of sizes in a family's configuration, or none."""
    adapter = TransformersAdapter(other_model(family), loaded.tokenizer, loaded.identity)
    assert [completion.error for completion in adapter.generate([request(loaded, TEXT, 2)])] == [None]
    assert adapter.describe().attention == attention
    memory = adapter.memory()
    assert (memory.kv_bytes or 0) + (memory.state_bytes or 0) > 0


def speak(monkeypatch: pytest.MonkeyPatch, pick: Callable[[], int]) -> None:
    """Make both prefill and decode pick other tokens."""
    for module in ("scheduling.executor", "forward.decode_graph"):
        monkeypatch.setattr(f"model_adapters.engine.{module}.greedy_choice", lambda logits_BV: torch.tensor([pick()]))


def test_the_stop_token_is_counted_and_not_shown(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = iter([72, 105, EOS_ID])
    speak(monkeypatch, lambda: next(spoken))
    (completion,) = adapter_of(loaded).generate([request(loaded, TEXT, 9)])
    assert completion.finish_reason == "stop"
    assert completion.completion_tokens == 3
    assert completion.text == loaded.tokenizer.decode([72, 105])


def test_special_tokens_are_left_out_of_the_text(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    speak(monkeypatch, lambda: BOS_ID)
    (completion,) = adapter_of(loaded).generate([request(loaded, TEXT, 3)])
    assert (completion.text, completion.completion_tokens, completion.finish_reason) == ("", 3, "length")


def test_failed_requests_are_completions_with_an_error(loaded: LoadedModel) -> None:
    bad, good = Request("bad", (), 5), request(loaded, TEXT, 2, "good")
    found: dict[str, Completion] = {one.request_id: one for one in adapter_of(loaded).generate([bad, good])}
    assert (found["bad"].finish_reason, found["bad"].text, found["bad"].error) == ("error", "", "the prompt is empty")
    assert found["good"].error is None


def test_it_says_how_it_ran(loaded: LoadedModel) -> None:
    adapter = adapter_of(loaded)
    assert adapter.identity is loaded.identity
    assert adapter.tokenizer is loaded.tokenizer
    assert adapter.describe().segment_tokens is None
    assert adapter.memory().kv_bytes is None
    list(adapter.generate([request(loaded, TEXT, 1)]))
    assert adapter.describe() == EngineDescription(
        engine="evalkit",
        device="cpu",
        dtype="float32",
        attention="flash (CPU)",
        gdn_kernel="torch",
        batch_invariant="no",
        segment_tokens=50,
        batch_sequences=2,
        max_tokens=64,
    )
    memory = adapter.memory()
    # KV cache of 4 heads of 16 in fp32, for two slots of 64 places.
    assert memory.kv_bytes == 2 * 4 * 16 * 4 * 64 * 2
    assert memory.weights_bytes == sum(parameter.nbytes for parameter in loaded.model.parameters())
    assert (memory.peak_bytes or 0) > (memory.weights_bytes or 0)
    assert memory.method == "peak resident set of the process"


def test_continuations_and_what_their_prefix_saved(loaded: LoadedModel) -> None:
    header = tuple(loaded.tokenizer.encode_prompt(TEXT))
    choices = tuple((token_id,) for token_id in loaded.tokenizer.encode("ABCD"))
    requests = [
        Request(
            str(index),
            header + tuple(loaded.tokenizer.encode(f"Question {index}?")),
            0,
            prefix_id="header",
            prefix_tokens=len(header),
            continuations=choices,
        )
        for index in range(3)
    ]
    adapter = adapter_of(loaded)
    assert adapter.describe().prefixes_read == 0
    for completion in adapter.generate(requests):
        assert (completion.text, completion.completion_tokens, completion.finish_reason) == ("", 0, "stop")
        assert completion.log_probabilities is None
        assert completion.continuations is not None
        assert len({one.log_probability for one in completion.continuations}) == len(choices)
        assert all(one.log_probability < 0 for one in completion.continuations)
    described = adapter.describe()
    assert (described.prefixes_read, described.prefix_requests) == (1, 3)
    assert described.prefix_tokens_saved == 2 * len(header)
