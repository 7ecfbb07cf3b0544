"""A request that fails is an error of its own: the stream goes on, and memory that ran out is tried once more."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
import torch

from evalkit.errors import RequestFailedError
from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import activation_bytes_per_token
from model_adapters.engine.scheduling import memory_plan
from model_adapters.engine.scheduling.sequence import Generation
from model_adapters.failures import is_out_of_memory
from tests.model_adapters.engine.prompts import make_requests, random_prompt, transformers_generate
from tests.model_adapters.small_models import VOCAB_SIZE, small_model

OF_LIBRARIES = (
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
    "Triton Error [CUDA]: out of memory",
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 "
    "bytes. Error code 12 (Cannot allocate memory)",
)
OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    torch.AcceleratorError(
        "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in the CUDA documentation."
    ),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    *map(RuntimeError, OF_LIBRARIES),
)


def answers(engine: Engine, requests: list[Request]) -> dict[str, Generation]:
    found = list(engine.generate(requests))
    assert len(found) == len(requests)
    return {generation.request_id: generation for generation in found}


def fail_when(
    monkeypatch: pytest.MonkeyPatch, method: str, condition: Callable[..., bool], error: Exception
) -> list[tuple[Any, ...]]:
    """Let a method of the runner raise if the condition holds for its arguments; its calls are recorded."""
    original = getattr(ModelRunner, method)
    calls: list[tuple[Any, ...]] = []

    def wrapped(self: ModelRunner, *args: Any) -> Any:
        calls.append(args)
        if condition(*args):
            raise error
        return original(self, *args)

    monkeypatch.setattr(ModelRunner, method, wrapped)
    return calls


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_prefill_out_of_memory_is_retried_with_half_the_segment_and_half_the_slots(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = make_requests((130, 140, 150), budget=6)
    expected = {request.id: transformers_generate("olmo_hybrid", request) for request in requests}
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=2)
    calls = fail_when(monkeypatch, "prefill", lambda cache, slot, ids, segment: segment > 32 and len(ids) == 140, error)
    found = answers(engine, requests)
    assert {key: generation.token_ids for key, generation in found.items()} == expected
    assert [(len(ids), segment) for _, _, ids, segment in calls] == [(130, 64), (140, 64), (140, 32), (150, 32)]
    assert engine.plan is not None
    assert (engine.plan.segment_tokens, engine.plan.slots) == (32, 1)


def test_many_slots_make_room_before_segments_shrink(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = make_requests((130, 140, 150), budget=6)
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=200)
    failing = [True]
    error = OUT_OF_MEMORY[0]

    def once(cache: object, slot: int, ids: list[int], segment: int) -> bool:
        return len(ids) == 140 and bool(failing) and failing.pop()

    fail_when(monkeypatch, "prefill", once, error)
    found = answers(engine, requests)
    for request in requests:
        assert found[request.id].token_ids == transformers_generate("olmo_hybrid", request)
    assert engine.plan is not None
    assert (engine.plan.segment_tokens, engine.plan.slots) == (64, 150)
    assert capsys.readouterr().err == (
        "evalkit: memory ran out with 200 sequences of 160 tokens and passes of 64; continuing with 150 of 160 and "
        "passes of 64\n"
    )


def test_sizes_that_are_kept_are_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = make_requests((130, 140), budget=4)
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=2, batch_invariant=True)
    left = [OUT_OF_MEMORY[0]]
    fail_when(monkeypatch, "prefill", lambda *_: bool(left) and left.pop() is not None, OUT_OF_MEMORY[0])
    assert all(generation.error is None for generation in answers(engine, requests).values())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evalkit: memory ran out with 2 sequences of ")
    assert line.endswith(
        "and passes of 64, which --batch-invariant keeps; trying once more; if memory runs out again, use a smaller "
        "--batch or --segment-tokens"
    )


def test_out_of_memory_twice_is_an_error_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests((130, 140, 150), budget=6)
    engine = Engine(small_model("llama"), segment_tokens=64, slots=3)
    fail_when(monkeypatch, "prefill", lambda cache, slot, ids, segment: len(ids) == 140, OUT_OF_MEMORY[0])
    found = answers(engine, requests)
    failed = found.pop("1")
    assert (failed.finish_reason, failed.token_ids) == ("error", ())
    assert failed.error == "out of memory again with segments of 32 tokens"
    for request in (requests[0], requests[2]):
        assert found[request.id].token_ids == transformers_generate("llama", request)


def test_decode_out_of_memory_starts_its_sequences_again(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests((130, 140, 150, 60), budget=6)
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=4)
    steps = fail_when(monkeypatch, "decode", lambda cache, ids, places: len(ids) > 2, OUT_OF_MEMORY[0])
    found = answers(engine, requests)
    for request in requests:
        assert found[request.id].token_ids == transformers_generate("olmo_hybrid", request)
    assert [len(ids) for _, ids, _ in steps[:2]] == [4, 2]


def test_decode_out_of_memory_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(small_model("llama"), segment_tokens=64, slots=2)
    fail_when(monkeypatch, "decode", lambda *_: True, OUT_OF_MEMORY[1])
    found = answers(engine, make_requests((80, 79), budget=6))
    assert {generation.error for generation in found.values()} == {"out of memory again with segments of 32 tokens"}


def test_any_other_error_in_a_prompt_is_that_request_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests((60, 140, 70, 80), budget=6)
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=2)
    error = RuntimeError("shape mismatch\nin many lines")
    fail_when(monkeypatch, "prefill", lambda cache, slot, ids, segment: len(ids) == 140, error)
    found = answers(engine, requests)
    assert (found["1"].finish_reason, found["1"].error) == ("error", "RuntimeError: shape mismatch")
    for request in (requests[0], *requests[2:]):
        assert found[request.id].token_ids == transformers_generate("olmo_hybrid", request)


def test_any_other_error_in_a_step_is_that_of_the_sequences_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests((60, 70, 80, 90), budget=6)
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=2)
    fail_when(monkeypatch, "decode", lambda cache, ids, places: 61 in cache.lengths, ValueError("no such step"))
    found = answers(engine, requests)
    assert [found[str(index)].error for index in (0, 1)] == ["ValueError: no such step"] * 2
    for request in requests[2:]:
        assert found[request.id].token_ids == transformers_generate("olmo_hybrid", request)


def test_any_other_error_in_a_pass_of_branches_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = {"prefix_id": "a", "prefix_tokens": 20, "continuations": ((5,), (6,))}
    requests = [Request(str(i), random_prompt(20) + random_prompt(5 + i), 0, **shared) for i in range(3)]  # type: ignore[arg-type]
    engine = Engine(small_model("llama"), segment_tokens=64, slots=2)
    fail_when(monkeypatch, "branch", lambda *_: True, KeyError(3))
    assert {generation.error for generation in answers(engine, requests).values()} == {"KeyError: 3"}
    monkeypatch.undo()
    assert [generation.error for generation in answers(engine, requests).values()] == [None] * 3


def test_shorter_prompts_get_their_segments_and_slots_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory ran out for long prompts, prompts that need a quarter of the places are planned as before."""
    engine = Engine(small_model("llama"), slots=4)
    fail_when(monkeypatch, "prefill", lambda cache, slot, ids, segment: len(ids) > 500 < segment, OUT_OF_MEMORY[0])
    plans = []
    for tokens in (800, 100, 800):
        (found,) = engine.generate([Request("x", random_prompt(tokens), 4)])
        assert found.error is None
        assert engine.plan is not None
        plans.append((engine.plan.segment_tokens, engine.plan.slots))
    assert plans == [(448, 2), (112, 4), (448, 2)]


def poison(model: torch.nn.Module, token_id: int) -> None:
    """Make one token's embedding NaN, and with it all later states."""
    with torch.no_grad():
        model.get_input_embeddings().weight[token_id] = float("nan")  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_nan_logits_are_an_error_and_leave_nothing_behind(family: str) -> None:
    """The poisoned sequence is in a batch with others, and its slot is reused."""
    bad_id = VOCAB_SIZE - 1
    model = small_model(family)
    poison(model, bad_id)
    good = make_requests((60, 250, 70, 90), budget=5)
    bad = Request("bad", (*random_prompt(300), bad_id, *random_prompt(20)), 9)
    requests = [good[0], bad, *good[1:]]
    found = answers(Engine(model, segment_tokens=64, slots=2), requests)
    failed = found.pop("bad")
    assert failed.finish_reason == "error"
    assert failed.error == "the logits are not finite after 0 new tokens"
    for request in good:
        assert found[request.id].token_ids == transformers_generate(family, request)


def test_nan_in_the_middle_of_a_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests((60, 70), budget=8)
    original = ModelRunner.decode
    steps = 0

    def decode(self: ModelRunner, *args: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        logits_BV = original(self, *args)
        if steps == 3:
            logits_BV[0, 5] = float("nan")
        return logits_BV

    engine = Engine(small_model("llama"), slots=2)
    monkeypatch.setattr(ModelRunner, "decode", decode)
    found = answers(engine, requests)
    assert found["0"].error == "the logits are not finite after 3 new tokens"
    assert found["1"].token_ids == transformers_generate("llama", requests[1])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("x", random_prompt(95), 6), "95 prompt tokens and a budget of 6 exceed the limit of 100 tokens"),
        (Request("x", (), 6), "the prompt is empty"),
        (
            Request("x", (1, 2, VOCAB_SIZE), 6),
            f"the prompt has token ids outside the model's vocabulary of {VOCAB_SIZE}",
        ),
        (Request("x", (1, -1), 6), f"the prompt has token ids outside the model's vocabulary of {VOCAB_SIZE}"),
        (Request("x", (1, 2), 0), "the generation budget is 0 tokens"),
    ],
)
def test_requests_that_cannot_run_are_errors(request_: Request, message: str) -> None:
    good = Request("good", random_prompt(90), 10)
    found = answers(Engine(small_model("llama"), max_tokens=100), [request_, good])
    assert (found["x"].finish_reason, found["x"].error) == ("error", message)
    assert found["good"].token_ids == transformers_generate("llama", good)


def test_a_prompt_that_memory_cannot_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama")
    cost = ModelRunner(model).layout.cost.bytes(1024)
    activations = 64 * activation_bytes_per_token(model.config, torch.float32)
    monkeypatch.setattr(memory_plan, "available_bytes", lambda device: (cost + activations) * 2)
    good, long = Request("good", random_prompt(90), 10), Request("long", random_prompt(4000), 10)
    found = answers(Engine(model, segment_tokens=64), [good, long, Request("again", good.token_ids, 10)])
    assert found["good"].token_ids == found["again"].token_ids == transformers_generate("llama", good)
    error = found["long"].error
    assert error is not None
    assert error.startswith("4,010 tokens need 0.00 GiB for KV cache and states")
    assert "\n" not in error


def test_what_counts_as_out_of_memory() -> None:
    assert all(map(is_out_of_memory, (*OUT_OF_MEMORY, MemoryError())))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_out_of_memory(RequestFailedError("out of memory"))


def test_a_lack_of_memory_that_ends_in_another_error_counts() -> None:
    """Fail like a recording that ran out of memory."""
    error = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    error.__context__ = OUT_OF_MEMORY[0]
    assert is_out_of_memory(error)
