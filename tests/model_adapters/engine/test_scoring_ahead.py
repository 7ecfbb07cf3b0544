"""Passes over continuations that start before the scores of the pass ahead are read give the same scores, in order."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.fast_modules.choose import choose_kernels
from model_adapters.engine.forward.continuation_scores import BranchScores
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.token_scores import NOT_FINITE
from model_adapters.engine.scheduling.scheduler import FIRST_REQUESTS
from model_adapters.engine.scheduling.sequence import Generation
from model_adapters.engine.scheduling.work import ScoreBranches, UnreadScores, Work
from tests.model_adapters.engine.prompts import assert_scores, plain_scores, random_prompt
from tests.model_adapters.small_models import FAMILIES, small_model

ENDINGS = ((65,), random_prompt(3), (67,))
TEXTS = tuple(random_prompt(40 + 3 * index) for index in range(7))
HEADER = random_prompt(30)
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")


def questions(texts: Sequence[tuple[int, ...]] = TEXTS) -> list[Request]:
    return [Request(str(index), text, 0, continuations=ENDINGS) for index, text in enumerate(texts)]


def engine_of(family: str, *, reads_late: bool = True) -> Engine:
    """An engine whose passes hold one question with ENDINGS."""
    engine = Engine(small_model(family), segment_tokens=120, slots=2)
    engine.reads_late = reads_late
    return engine


class NoLooking(TorchDispatchMode):
    """Fails if the host asks for a number that is the result of a computation, which would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        looks = func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        if func is torch.ops.aten.index.Tensor:
            looks = any(index is not None and index.dtype == torch.bool for index in args[1])
        assert not looks, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


def watch_works(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the works that are run from now on; passes over continuations must not look at their results."""
    works: list[str] = []
    run = engine.executor.run

    def noting(work: Work, *args: Any, **options: Any) -> Any:
        works.append(type(work).__name__)
        with NoLooking() if isinstance(work, ScoreBranches) else nullcontext():
            return run(work, *args, **options)

    monkeypatch.setattr(engine.executor, "run", noting)
    return works


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_starts_before_the_one_ahead_of_it_is_read(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across the limit on gathered requests too; at most one pass waits to be read when another starts."""
    monkeypatch.setattr("model_adapters.engine.scheduling.scheduler.GATHERED_REQUESTS", 3)
    engine = engine_of(family)
    works = watch_works(engine, monkeypatch)
    found = list(engine.generate(questions()))
    assert works == ["MakeRoom", "ScoreBranches", *["ScoreBranches", "ReadScores"] * (len(TEXTS) - 1), "ReadScores"]
    at_once = engine_of(family, reads_late=False)
    works = watch_works(at_once, monkeypatch)
    assert [one.continuations for one in at_once.generate(questions())] == [one.continuations for one in found]
    assert works == ["MakeRoom", *["ScoreBranches", "ReadScores"] * len(TEXTS)]
    for one, text in zip(found, TEXTS, strict=True):
        assert_scores(one.continuations, plain_scores(small_model(family), text, ENDINGS))
        assert one.prefill_seconds > 0


def test_a_device_with_little_to_do_waits_for_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are made while it works on the first pass; a device that does not work ahead gains nothing by that."""
    pulled: list[str] = []
    before_passes: list[int] = []

    def stream() -> Iterator[Request]:
        for index in range(3 * FIRST_REQUESTS + 3):
            pulled.append(str(index))
            yield Request(str(index), random_prompt(8, seed=index), 0, continuations=ENDINGS)

    late = [FIRST_REQUESTS, 3 * FIRST_REQUESTS, 3 * FIRST_REQUESTS + 3]
    for reads_late, expected in ((True, late), (False, late[-1:])):
        engine = Engine(small_model("llama"), segment_tokens=4000, slots=2)
        engine.reads_late = reads_late
        run = engine.executor.run

        def noting(work: Work, *args: Any, run: Callable[..., Any] = run, **options: Any) -> Any:
            if isinstance(work, ScoreBranches):
                before_passes.append(len(pulled))
            return run(work, *args, **options)

        monkeypatch.setattr(engine.executor, "run", noting)
        pulled.clear(), before_passes.clear()
        assert len(list(engine.generate(stream()))) == len(pulled)
        assert before_passes == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_starting_a_pass_never_waits_for_a_gpu(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(family).to("cuda", torch.bfloat16)
    assert choose_kernels(model) == ()
    engine = Engine(model, segment_tokens=120, slots=2)
    list(engine.generate(questions()))  # kernels are compiled and checked
    run = engine.executor.run

    def strict(work: Work, *args: Any, **options: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error" if isinstance(work, ScoreBranches) else "default")
        try:
            return run(work, *args, **options)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(engine.executor, "run", strict)
    assert [one.error for one in engine.generate(questions())] == [None] * len(TEXTS)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_results_and_their_order_do_not_depend_on_when_they_are_read(data: st.DataObject) -> None:
    """Among requests that are scored in a slot, behind a prefix, or refused."""
    requests = []
    for index in range(data.draw(st.integers(2, 9))):
        text = random_prompt(data.draw(st.sampled_from([5, 40, 66, 120])), seed=index)
        kind = data.draw(st.sampled_from(["plain", "plain", "prefix", "prefix", "tokens", "refused"]))
        options: dict[str, Any] = {"scored_from": 1} if kind == "tokens" else {"continuations": ENDINGS}
        if kind == "prefix":
            text, options = HEADER + text, options | {"prefix_id": "a", "prefix_tokens": len(HEADER)}
        requests.append(Request(str(index), () if kind == "refused" else text, 0, **options))
    found = []
    for reads_late in (False, True):
        engine = engine_of("llama", reads_late=reads_late)
        answers = [
            (one.request_id, one.continuations, one.scores, one.error, one.finish_reason)
            for one in engine.generate(requests)
        ]
        prefixes = engine.prefixes
        found.append((answers, prefixes.read, prefixes.continued, prefixes.tokens_saved))
    assert found[0] == found[1]
    assert len(found[0][0]) == len(requests)


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, error: Exception) -> None:
    """Let one call of a method raise."""
    original, calls = getattr(owner, method), []

    def fragile(self: Any, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == call:
            raise error
        return original(self, *args)

    monkeypatch.setattr(owner, method, fragile)


@pytest.mark.parametrize(("owner", "method"), [(ModelRunner, "branch"), (BranchScores, "read")])
@pytest.mark.parametrize("error", [KeyError("x"), OUT_OF_MEMORY])
def test_a_pass_that_fails_costs_no_score_of_the_others(
    owner: type, method: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass fails when it is started or when it is read, each time while another one is in flight."""
    engine = engine_of("olmo_hybrid")
    fail_once(monkeypatch, owner, method, 3, error)
    found = {one.request_id: one for one in engine.generate(questions())}
    assert len(found) == len(TEXTS)
    for index, text in enumerate(TEXTS):
        one = found[str(index)]
        if index == 2 and isinstance(error, KeyError):
            assert (one.error, one.continuations) == ("KeyError: 'x'", None)
        else:
            assert_scores(one.continuations, plain_scores(small_model("olmo_hybrid"), text, ENDINGS))


@pytest.mark.parametrize("prefix", [(), HEADER])
def test_a_request_that_fails_costs_no_score_of_those_in_its_pass(
    prefix: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ModelRunner._on_device

    def fragile(self: ModelRunner, token_ids: Sequence[int]) -> torch.Tensor:
        if bytes(TEXTS[2]) in bytes(token_ids):
            raise KeyError("x")
        return original(self, token_ids)

    monkeypatch.setattr(ModelRunner, "_on_device", fragile)
    engine = Engine(small_model("llama"), segment_tokens=1000, slots=2)
    engine.reads_late = True
    works = watch_works(engine, monkeypatch)
    shared: dict[str, Any] = {"prefix_id": "a", "prefix_tokens": len(prefix)} if prefix else {}
    requests = [replace(one, token_ids=prefix + one.token_ids, **shared) for one in questions()]
    found = {one.request_id: one for one in engine.generate(requests)}
    assert works.count("ScoreBranches") < len(TEXTS)
    assert (found["2"].error, found["2"].continuations) == ("KeyError: 'x'", None)
    for index, text in enumerate(TEXTS):
        if index != 2:
            one = found[str(index)]
            assert_scores(one.continuations, plain_scores(small_model("llama"), prefix + text, ENDINGS))


def test_scores_that_are_not_finite_are_an_error_of_their_request(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of("llama")
    poisoned = next(token_id for token_id in range(256) if not any(token_id in (*text, *ENDINGS[1]) for text in TEXTS))
    with torch.no_grad():
        engine.runner.model.get_input_embeddings().weight[poisoned] = torch.nan
    found = list(engine.generate(questions([*TEXTS[:2], (*TEXTS[2], poisoned), *TEXTS[3:]])))
    assert [one.error for one in found] == [None, None, NOT_FINITE, *[None] * (len(TEXTS) - 3)]


def test_scores_in_flight_keep_no_cached_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of("llama")
    kept: list[Any] = []
    run = engine.executor.run

    def noting(work: Work, *args: Any, **options: Any) -> Any:
        result = run(work, *args, **options)
        if isinstance(result, UnreadScores):
            context = engine.prefixes.context(HEADER, segment_tokens=120, room_bytes=0)
            assert context is not None
            kept.append(weakref.ref(context.cache))
            del context
            engine.prefixes.clear()
            assert kept[-1]() is None
        return result

    monkeypatch.setattr(engine.executor, "run", noting)
    shared: dict[str, Any] = {"prefix_id": "a", "prefix_tokens": len(HEADER), "continuations": ENDINGS}
    found: list[Generation] = list(
        engine.generate([Request(str(index), HEADER + text, 0, **shared) for index, text in enumerate(TEXTS[:2])])
    )
    assert len(kept) == 2
    for one, text in zip(found, TEXTS, strict=False):
        assert_scores(one.continuations, plain_scores(small_model("llama"), HEADER + text, ENDINGS))


def test_a_stream_that_is_abandoned_with_a_pass_in_flight_leaves_nothing_behind() -> None:
    engine = engine_of("olmo_hybrid")
    for _ in engine.generate(questions()):
        break
    found = list(engine.generate(questions(TEXTS[3:])))
    for one, text in zip(found, TEXTS[3:], strict=True):
        assert_scores(one.continuations, plain_scores(small_model("olmo_hybrid"), text, ENDINGS))
