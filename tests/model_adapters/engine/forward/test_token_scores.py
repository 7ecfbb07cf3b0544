"""Log-probabilities from segments and blocks equal those of one plain forward pass."""

from collections.abc import Sequence

import pytest
import torch
from transformers import GraniteConfig, GraniteForCausalLM, PreTrainedModel

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward import token_scores
from model_adapters.engine.scheduling.sequence import Generation
from tests.model_adapters.small_models import FAMILIES, small_model

LENGTH = 301


def ids(length: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def plain(model: PreTrainedModel, token_ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of all tokens but the first, from one forward pass of transformers."""
    id_1T = torch.tensor([token_ids])
    with torch.no_grad():
        logits = model(input_ids=id_1T, use_cache=False).logits[0].float()
    return logits.log_softmax(-1)[:-1].gather(1, id_1T[0, 1:, None])[:, 0]


def score(model: PreTrainedModel, requests: list[Request], segment_tokens: int = 64) -> dict[str, Generation]:
    engine = Engine(model, segment_tokens=segment_tokens, slots=2)
    return {generation.request_id: generation for generation in engine.generate(requests)}


def values(generation: Generation) -> torch.Tensor:
    assert generation.scores is not None
    return torch.tensor(generation.scores.log_probabilities)


@pytest.mark.parametrize("segment_tokens", [1000, 64, 37])
@pytest.mark.parametrize("family", FAMILIES)
def test_segments_and_blocks_change_nothing(family: str, segment_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    token_ids = ids(LENGTH)
    expected = plain(small_model(family), token_ids)
    model = small_model(family)
    monkeypatch.setattr(token_scores, "LOGITS_BYTES", 4 * model.config.vocab_size * 23)
    # Start at the first token, inside a segment, at a segment's edge, and at the last token.
    starts = [1, 30, 63, 64, 65, 75, LENGTH - 1]
    found = score(model, [Request(str(start), tuple(token_ids), 0, start) for start in starts], segment_tokens)
    for start in starts:
        torch.testing.assert_close(values(found[str(start)]), expected[start - 1 :], atol=1e-4, rtol=0)
        assert (found[str(start)].finish_reason, found[str(start)].token_ids) == ("stop", ())


def test_scoring_and_generating_mix_in_one_stream() -> None:
    token_ids = ids(100)
    expected = plain(small_model("olmo_hybrid"), token_ids)
    generate = [Request(f"g{index}", tuple(ids(40 + index, index)), 6) for index in range(3)]
    alone = score(small_model("olmo_hybrid"), generate)
    scored = [Request(f"s{index}", tuple(token_ids), 0, 1) for index in range(3)]
    mixed = score(small_model("olmo_hybrid"), [generate[0], scored[0], scored[1], generate[1], generate[2], scored[2]])
    for request in generate:
        assert mixed[request.id].token_ids == alone[request.id].token_ids
        assert mixed[request.id].scores is None
    for request in scored:
        torch.testing.assert_close(values(mixed[request.id]), expected, atol=1e-4, rtol=0)


def test_what_a_model_does_to_its_logits_is_done() -> None:
    config = GraniteConfig(
        vocab_size=288,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=0.05,
    )
    torch.manual_seed(0)
    model = GraniteForCausalLM(config).eval()
    expected = plain(model, ids(50))
    (found,) = score(model, [Request("x", tuple(ids(50)), 0, 1)]).values()
    torch.testing.assert_close(values(found), expected, atol=1e-4, rtol=0)


def test_greedy_means_every_scored_token_is_the_first_choice() -> None:
    prompt = ids(20)
    model = small_model("llama")
    (generated,) = Engine(model, segment_tokens=64).generate([Request("g", tuple(prompt), 5)])
    text = prompt + list(generated.token_ids)
    other = [*text[:-1], (text[-1] + 1) % 256]
    found = score(model, [Request("a", tuple(text), 0, len(prompt)), Request("b", tuple(other), 0, len(prompt))])
    greedy = {name: generation.scores.is_greedy for name, generation in found.items() if generation.scores}
    assert greedy == {"a": True, "b": False}


@pytest.mark.parametrize("scored_from", [0, 20, 21])
def test_a_first_token_without_context_is_refused(scored_from: int) -> None:
    (refused,) = score(small_model("llama"), [Request("x", tuple(ids(20)), 0, scored_from)]).values()
    assert refused.error == f"token {scored_from} of 20 cannot be the first to be scored"


def test_values_that_are_not_finite_are_an_error_and_leave_no_trace() -> None:
    model = small_model("olmo_hybrid")
    clean = [token_id if token_id != 7 else 8 for token_id in ids(30)]
    expected = plain(small_model("olmo_hybrid"), clean)
    with torch.no_grad():
        model.get_input_embeddings().weight[7] = float("nan")
    bad, good = Request("bad", (7, *clean), 0, 1), Request("good", tuple(clean), 0, 1)
    engine = Engine(model, segment_tokens=64, slots=1)
    failed, scored = engine.generate([bad, good])
    assert failed.error == "the log-probabilities are not finite"
    assert failed.scores is None
    torch.testing.assert_close(values(scored), expected, atol=1e-4, rtol=0)


def test_memory_running_out_is_tried_again_with_smaller_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    expected = plain(small_model("llama"), ids(90))
    engine = Engine(model, segment_tokens=64, slots=1)
    segments = engine.runner.segments
    tried: list[int] = []

    def short_of_memory(cache: object, slot: int, token_ids: Sequence[int], segment_tokens: int, **more: int) -> object:
        tried.append(segment_tokens)
        if segment_tokens > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return segments(cache, slot, token_ids, segment_tokens, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.runner, "segments", short_of_memory)
    (found,) = engine.generate([Request("x", tuple(ids(90)), 0, 1)])
    assert tried == [64, 32]
    torch.testing.assert_close(values(found), expected, atol=1e-4, rtol=0)
