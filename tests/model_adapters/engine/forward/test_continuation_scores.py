"""Continuations are scored as one plain forward pass over prompt and continuation scores them."""

from collections.abc import Sequence

import pytest
from transformers import PreTrainedModel

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward import token_scores
from model_adapters.engine.forward.continuation_scores import Branch, passes, pays_alone
from model_adapters.engine.memory.allocation_counter import AllocationCounter
from tests.model_adapters.engine.prompts import assert_scores, plain_scores, random_prompt
from tests.model_adapters.preflight.other_families import OTHER_FAMILIES, other_model
from tests.model_adapters.small_models import FAMILIES, VOCAB_SIZE, small_model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("segment_tokens", [64, 1024])
def test_continuations_of_one_and_of_many_tokens(family: str, segment_tokens: int) -> None:
    """Score in one pass over all of them, or in a slot if a pass is too small for the longest."""
    prompt = random_prompt(150)
    continuations = ((5,), random_prompt(90), (6,), random_prompt(9), random_prompt(66), random_prompt(40))
    expected = plain_scores(small_model(family), prompt, continuations)
    engine = Engine(small_model(family), segment_tokens=segment_tokens, slots=2)
    (found,) = engine.generate([Request("x", prompt, 0, continuations=continuations)])
    assert_scores(found.continuations, expected)
    assert (found.finish_reason, found.token_ids, found.scores) == ("stop", (), None)


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_every_family_branches(family: str) -> None:
    """Also for state spaces, latent attention and experts, with and without a prefix."""
    prefix, continuations = random_prompt(75), ((5,), (6,), random_prompt(9))
    texts = [random_prompt(tokens, seed=tokens) for tokens in (1, 30, 12)]
    requests = [
        Request(f"{name}{index}", prefix + text, 0, prefix_id=name, prefix_tokens=tokens, continuations=continuations)
        for index, text in enumerate(texts)
        for name, tokens in (("header", 75), ("nothing", 0))
    ]
    engine = Engine(other_model(family), segment_tokens=512, slots=2)
    for found in engine.generate(requests):
        asked = next(request for request in requests if request.id == found.request_id)
        assert_scores(found.continuations, plain_scores(other_model(family), asked.token_ids, continuations))


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_to_few_shapes_changes_nothing(family: str) -> None:
    """Sizes as on a GPU."""
    prefix, continuations = random_prompt(70), ((5,), random_prompt(9))
    engine = Engine(small_model(family), segment_tokens=512, slots=1)
    engine.runner.row_multiple = 32
    for tokens in (7, 32, 40):
        prompt = prefix + random_prompt(tokens)
        request = Request("x", prompt, 0, prefix_id="a", prefix_tokens=70, continuations=continuations)
        (found,) = engine.generate([request])
        assert_scores(found.continuations, plain_scores(small_model(family), prompt, continuations))


def test_a_continuation_that_is_greedy_is_called_so() -> None:
    prompt = random_prompt(30)
    (generated,) = Engine(small_model("llama")).generate([Request("g", prompt, 4)])
    greedy = generated.token_ids
    other = (*greedy[:3], (greedy[3] + 1) % 256)
    request = Request("x", prompt, 0, continuations=(greedy, greedy[:1], other, ((greedy[0] + 1) % 256,)))
    (found,) = Engine(small_model("llama")).generate([request])
    assert found.continuations is not None
    assert [one.is_greedy for one in found.continuations] == [True, True, False, False]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("x", (), 0, continuations=((1,),)), "the prompt is empty"),
        (Request("x", (1, 2), 0, continuations=((1,), ())), "continuation 2 of 2 is empty"),
        (
            Request("x", (1, 2), 0, 1, continuations=((1,),)),
            "a request cannot have both continuations and log-probabilities of the prompt; send two requests",
        ),
        (
            Request("x", (1, 2), 0, continuations=((VOCAB_SIZE,),)),
            f"the prompt has token ids outside the model's vocabulary of {VOCAB_SIZE}",
        ),
        (
            Request("x", (1, 2), 0, prefix_id="a", prefix_tokens=3, continuations=((1,),)),
            "a shared prefix of 3 tokens is not part of a prompt of 2",
        ),
        (
            Request("x", (1, 2), 0, continuations=((1,), (1, 2, 3))),
            "2 prompt tokens and 2 of a continuation exceed the limit of 3 tokens",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(request_: Request, message: str) -> None:
    good = Request("good", (1, 2), 0, continuations=((1, 2), (3,)))
    refused, found = Engine(small_model("llama"), max_tokens=3).generate([request_, good])
    assert (refused.finish_reason, refused.error, refused.continuations) == ("error", message, None)
    assert_scores(found.continuations, plain_scores(small_model("llama"), (1, 2), good.continuations))


def peak_bytes(model: PreTrainedModel, requests: list[Request]) -> int:
    """Peak allocation, KV cache included, while requests are answered after a warm-up request of their kind."""
    engine = Engine(model, segment_tokens=1024, slots=1)
    list(engine.generate(requests))
    counter = AllocationCounter()
    with counter:
        assert all(found.error is None for found in engine.generate(requests))
    return counter.peak_bytes


def test_logits_are_held_for_a_block_of_positions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, block_bytes = 20_000, 2 * 2**20
    model = small_model("olmo_hybrid", vocab_size=vocabulary)
    request = Request("x", random_prompt(20), 0, continuations=(random_prompt(900), (5,)))
    monkeypatch.setattr(token_scores, "LOGITS_BYTES", block_bytes)
    in_blocks = peak_bytes(model, [request])
    monkeypatch.setattr(token_scores, "LOGITS_BYTES", 2**40)
    at_once = peak_bytes(model, [request])
    assert at_once > 900 * vocabulary * 4
    assert in_blocks < at_once - 900 * vocabulary * 4 + 4 * block_bytes


def test_what_texts_share_is_not_copied_for_each() -> None:
    def requests(prefix_tokens: int) -> list[Request]:
        prefix = random_prompt(prefix_tokens)
        return [
            Request(
                str(index),
                prefix + random_prompt(30 + index),
                0,
                prefix_id="header",
                prefix_tokens=prefix_tokens,
                continuations=((5,), (6,)),
            )
            for index in range(16)
        ]

    short, long = (peak_bytes(small_model("llama"), requests(tokens)) for tokens in (100, 3000))
    keys_and_values = 2 * 2 * 16 * 4 * (3000 - 100)  # for one layer: two heads of 16 in fp32
    assert long - short < keys_and_values


@pytest.mark.parametrize(("family", "passes_"), [("olmo_hybrid", [16, 16, 8]), ("olmo3", [16, 16, 8])])
def test_branches_of_like_length_go_through_one_pass(
    family: str, passes_: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(small_model(family), segment_tokens=1024, slots=1)
    branch, rows = engine.runner.branch, []

    def counted(cache: object, slot: int, texts: Sequence[Sequence[int]]) -> object:
        rows.append((len(texts), max(map(len, texts))))
        return branch(cache, slot, texts)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.runner, "branch", counted)
    requests = [
        Request(str(index), random_prompt(40 + index % 20), 0, continuations=((5,), (6,), (7,))) for index in range(40)
    ]
    list(engine.generate(requests))
    assert [count for count, _ in rows] == passes_
    assert [tokens for _, tokens in rows] == sorted(tokens for _, tokens in rows)


def test_passes_hold_no_more_than_their_budget() -> None:
    branches = [Branch(random_prompt(tokens), ((1,), (2, 3))) for tokens in (300, 5, 64, 90, 1, 200, 64)]
    found = list(passes(branches, 256))
    assert sorted(index for batch in found for index in batch) == list(range(len(branches)))
    for batch in found:
        longest = max(branches[index].row_tokens for index in batch)
        assert len(batch) == 1 or max(longest, 64) * len(batch) <= 256


def test_a_long_text_with_several_endings_is_read_once() -> None:
    """If all have one token there is only one row, however long the text."""
    endings = tuple(random_prompt(5, seed=seed) for seed in range(4))
    long = random_prompt(800)
    assert pays_alone(Branch(long, endings), 8192, on_gpu=False)
    assert not pays_alone(Branch(long[:80], endings), 8192, on_gpu=False)
    assert not pays_alone(Branch(long, endings), 8192, on_gpu=True)
    assert not pays_alone(Branch(long, ((1,), (2,), (3,))), 8192, on_gpu=False)
    assert pays_alone(Branch(long, ((1,), (2,), (3,))), 512, on_gpu=True)
