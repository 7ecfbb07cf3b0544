"""A cached prefix gives the same results as reading the whole prompt, wherever the prefix ends."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.scheduling.prefix_store import PrefixStore
from model_adapters.engine.scheduling.sequence import Generation
from tests.model_adapters.engine.prompts import assert_scores, plain_scores, random_prompt, transformers_generate
from tests.model_adapters.small_models import FAMILIES, VOCAB_SIZE, small_model

CHOICES = ((65,), (66,), (67,), (68,))
ENDINGS = (*CHOICES[:2], random_prompt(7), random_prompt(3, seed=1))


def answers(engine: Engine, requests: Sequence[Request]) -> dict[str, Generation]:
    found = {generation.request_id: generation for generation in engine.generate(requests)}
    assert len(found) == len(requests)
    return found


def asking(
    name: str,
    prefix: tuple[int, ...],
    text: tuple[int, ...],
    continuations: tuple[tuple[int, ...], ...] = CHOICES,
    prefix_id: str = "header",
) -> Request:
    return Request(name, prefix + text, 0, prefix_id=prefix_id, prefix_tokens=len(prefix), continuations=continuations)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix_tokens", [0, 1, 63, 64, 65, 128, 260])
def test_log_likelihoods_are_those_of_a_plain_pass(family: str, prefix_tokens: int) -> None:
    """Prefixes that end just before, at and after the edges of segments and chunks, and beyond olmo3's window."""
    prefix = random_prompt(prefix_tokens)
    requests = [
        asking(str(index), prefix, random_prompt(tokens, seed=index), continuations)
        for index, (tokens, continuations) in enumerate(
            [(20, CHOICES), (64, ENDINGS), (1, CHOICES), (33, ENDINGS), (90, CHOICES)]
        )
    ]
    plain = small_model(family)
    found = answers(Engine(small_model(family), segment_tokens=256, slots=2), requests)
    whole = answers(
        Engine(small_model(family), segment_tokens=256, slots=2),
        [Request(one.id, one.token_ids, 0, continuations=one.continuations) for one in requests],
    )
    for request in requests:
        expected = plain_scores(plain, request.token_ids, request.continuations)
        assert_scores(found[request.id].continuations, expected)
        assert_scores(whole[request.id].continuations, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_that_is_the_whole_prompt(family: str) -> None:
    prefix = random_prompt(130)
    requests = [
        asking("choices", prefix, ()),
        asking("endings", prefix, (), ENDINGS),
        Request("scored", prefix + random_prompt(20), 0, 130, prefix_id="header", prefix_tokens=130),
        Request("generated", prefix, 6, prefix_id="header", prefix_tokens=130),
    ]
    engine = Engine(small_model(family), segment_tokens=64, slots=2)
    found = answers(engine, requests)
    plain = small_model(family)
    assert_scores(found["choices"].continuations, plain_scores(plain, prefix, CHOICES))
    assert_scores(found["endings"].continuations, plain_scores(plain, prefix, ENDINGS))
    assert found["generated"].token_ids == transformers_generate(family, requests[-1])
    scores = found["scored"].scores
    assert scores is not None
    (expected,) = plain_scores(plain, prefix, [random_prompt(20)])
    assert sum(scores.log_probabilities) == pytest.approx(expected.log_probability, abs=1e-3)
    assert (engine.prefixes.read, engine.prefixes.continued, engine.prefixes.tokens_saved) == (1, 4, 3 * 130)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_and_scoring_continue_a_prefix(family: str) -> None:
    prefix, text = random_prompt(210), random_prompt(40, seed=3)
    generated = [
        Request(f"g{index}", prefix + random_prompt(10 + index), 5, prefix_id="a", prefix_tokens=210)
        for index in range(3)
    ]
    scored = [
        # From the first token after the prefix, a later one, and one inside it: then the prefix cannot be used.
        Request(f"s{scored_from}", prefix + text, 0, scored_from, prefix_id="a", prefix_tokens=210)
        for scored_from in (210, 225, 100)
    ]
    engine = Engine(small_model(family), segment_tokens=64, slots=2)
    found = answers(engine, [generated[0], scored[0], generated[1], *scored[1:], generated[2]])
    for request in generated:
        assert found[request.id].token_ids == transformers_generate(family, request)
    plain = small_model(family)
    for request in scored:
        scores, scored_from = found[request.id].scores, request.scored_from
        assert scores is not None
        id_1T = torch.tensor([request.token_ids])
        with torch.no_grad():
            log_probability_TV = plain(id_1T, use_cache=False).logits[0].float().log_softmax(-1)
        expected = log_probability_TV[:-1].gather(1, id_1T[0, 1:, None])[:, 0][scored_from - 1 :]  # type: ignore[operator]
        torch.testing.assert_close(torch.tensor(scores.log_probabilities), expected, atol=1e-4, rtol=0)
    assert (engine.prefixes.read, engine.prefixes.continued) == (1, 5)


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_interleaved_prefixes_are_told_apart_by_their_tokens(family: str) -> None:
    """Also if they have the same prefix id."""
    prefixes = {name: random_prompt(tokens, seed=tokens) for name, tokens in (("a", 140), ("b", 70))}
    requests = [
        asking(f"{name}{index}", prefixes[name], random_prompt(20 + index), ENDINGS, prefix_id="the same")
        for index in range(3)
        for name in prefixes
    ]
    engine = Engine(small_model(family), segment_tokens=256, slots=2)
    found = answers(engine, requests)
    for request in requests:
        expected = plain_scores(small_model(family), request.token_ids, request.continuations)
        assert_scores(found[request.id].continuations, expected)
    assert (engine.prefixes.read, engine.prefixes.continued) == (2, 6)


@lru_cache(maxsize=2)
def shared_model(family: str) -> PreTrainedModel:
    """One model for all examples of a property test."""
    return small_model(family)


@lru_cache(maxsize=2)
def shared_engine(family: str) -> Engine:
    """One engine for requests that are answered one by one and share nothing."""
    return Engine(small_model(family), segment_tokens=64, slots=1)


def poisoned(family: str) -> PreTrainedModel:
    """A model whose logits are NaN after the last id of its vocabulary."""
    model = small_model(family)
    with torch.no_grad():
        model.get_input_embeddings().weight[VOCAB_SIZE - 1] = float("nan")
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_request_without_numbers_leaves_its_neighbours_and_the_prefix_alone(family: str) -> None:
    prefix = random_prompt(150)
    good = [asking(str(index), prefix, random_prompt(20 + 9 * index), ENDINGS) for index in range(4)]
    bad = asking("bad", prefix, (*random_prompt(12), VOCAB_SIZE - 1, *random_prompt(12)), ENDINGS)
    alone = asking("alone", prefix, (VOCAB_SIZE - 1, *random_prompt(150)), ENDINGS)
    engine = Engine(poisoned(family), segment_tokens=256, slots=2)
    found = answers(engine, [good[0], bad, good[1], alone, *good[2:]])
    assert found.pop("bad").error == found.pop("alone").error == "the log-probabilities are not finite"
    for request in good:
        expected = plain_scores(small_model(family), request.token_ids, request.continuations)
        assert_scores(found[request.id].continuations, expected)
    assert engine.prefixes.read == 1


def test_a_prefix_without_numbers_fails_its_requests_only() -> None:
    bad = asking("bad", (VOCAB_SIZE - 1, *random_prompt(30)), random_prompt(5))
    good = asking("good", random_prompt(30), random_prompt(5))
    found = answers(Engine(poisoned("olmo_hybrid"), segment_tokens=256, slots=2), [bad, good])
    assert found["bad"].error == "the log-probabilities are not finite"
    assert_scores(found["good"].continuations, plain_scores(small_model("olmo_hybrid"), good.token_ids, CHOICES))


@pytest.mark.parametrize("fails", ["read", "branch"])
def test_memory_running_out_costs_no_answer(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [asking(str(index), random_prompt(150), random_prompt(20 + index)) for index in range(5)]
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=256, slots=2)
    original, calls = getattr(engine.runner, fails), []

    def short_of_memory(*args: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*args)

    monkeypatch.setattr(engine.runner, fails, short_of_memory)
    found = answers(engine, requests)
    for request in requests:
        assert_scores(
            found[request.id].continuations, plain_scores(small_model("olmo_hybrid"), request.token_ids, CHOICES)
        )
    assert engine.plan is not None
    assert (engine.plan.segment_tokens, engine.plan.slots) == (96, 1)


def test_memory_running_out_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(small_model("llama"), segment_tokens=256, slots=2)

    def out_of_memory(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name in ("branch", "read"):
        monkeypatch.setattr(engine.runner, name, out_of_memory)
    found = answers(engine, [asking(str(index), random_prompt(50), random_prompt(20)) for index in range(2)])
    assert {one.error for one in found.values()} == {"out of memory again with segments of 40 tokens"}


def test_the_least_recently_used_prefixes_go_first() -> None:
    runner = Engine(small_model("olmo_hybrid")).runner
    store = PrefixStore(runner)
    a, b, c = (random_prompt(100, seed=seed) for seed in range(3))
    room_bytes = 2 * store.cost_bytes(a)

    def use(token_ids: tuple[int, ...]) -> None:
        assert store.context(token_ids, segment_tokens=64, room_bytes=room_bytes) is not None
        assert store.nbytes <= room_bytes

    for prefix, read in ((a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4)):
        use(prefix)
        assert store.read == read
    assert store.nbytes == room_bytes
    assert store.context(random_prompt(300), segment_tokens=64, room_bytes=room_bytes) is None
    assert store.nbytes == room_bytes


def test_a_prefix_that_memory_cannot_keep_is_read_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [asking(str(index), random_prompt(150), random_prompt(20 + index)) for index in range(3)]
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=256, slots=2)
    monkeypatch.setattr(PrefixStore, "context", lambda *_, **__: None)
    found = answers(engine, requests)
    for request in requests:
        assert_scores(
            found[request.id].continuations, plain_scores(small_model("olmo_hybrid"), request.token_ids, CHOICES)
        )


def test_requests_are_pulled_a_few_passes_at_a_time() -> None:
    pulled = []

    def stream() -> Iterator[Request]:
        for index in range(300):
            pulled.append(index)
            yield asking(str(index), random_prompt(50), random_prompt(20 + index % 5))

    generations = Engine(small_model("llama"), segment_tokens=512, slots=2).generate(stream())
    next(generations)
    assert 32 <= len(pulled) <= 81
    assert len(list(generations)) == 299


@st.composite
def streams(draw: st.DrawFn) -> list[Request]:
    """Requests of all kinds over a few prefixes, in arbitrary order."""
    prefixes = [
        random_prompt(tokens, seed=seed)
        for seed, tokens in enumerate(draw(st.lists(st.integers(0, 90), min_size=1, max_size=3)))
    ]
    requests = []
    for index in range(draw(st.integers(1, 8))):
        prefix = draw(st.sampled_from(prefixes))
        text = random_prompt(draw(st.integers(0 if prefix else 1, 40)), seed=index)
        named = (
            {"prefix_id": draw(st.sampled_from(["x", "y"])), "prefix_tokens": len(prefix)}
            if draw(st.booleans())
            else {}
        )
        kind = draw(st.sampled_from(["generate", "score", "continue"])) if len(prefix + text) > 1 else "continue"
        if kind == "continue":
            lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
            continuations = tuple(random_prompt(length, seed=place) for place, length in enumerate(lengths))
            requests.append(Request(str(index), prefix + text, 0, continuations=continuations, **named))
        elif kind == "score":
            scored_from = draw(st.integers(1, len(prefix + text) - 1))
            requests.append(Request(str(index), prefix + text, 0, scored_from, **named))
        else:
            requests.append(Request(str(index), prefix + text, draw(st.integers(1, 3)), **named))
    return requests


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
@given(requests=streams(), segment_tokens=st.sampled_from([32, 64, 200]), slots=st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_sharing_and_batching_change_nothing(
    family: str, requests: list[Request], segment_tokens: int, slots: int
) -> None:
    """Any requests in any order give the same results as each request alone."""
    model = shared_model(family)
    found = answers(Engine(model, segment_tokens=segment_tokens, slots=slots), requests)
    for request in requests:
        bare = Request(
            request.id,
            request.token_ids,
            request.generation_tokens,
            request.scored_from,
            continuations=request.continuations,
        )
        (alone,) = shared_engine(family).generate([bare])
        one = found[request.id]
        assert (one.error, one.token_ids) == (None, alone.token_ids)
        if alone.scores is not None:
            assert one.scores is not None
            assert one.scores.log_probabilities == pytest.approx(alone.scores.log_probabilities, abs=1e-4)
        if alone.continuations is not None:
            assert_scores(one.continuations, alone.continuations)
