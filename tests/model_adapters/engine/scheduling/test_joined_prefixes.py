"""Prefixes of several tasks are read in one pass, and continued from in one pass, with the results of a plain pass."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.continuation_scores import Branch, pass_tokens
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.passes import Pass
from model_adapters.engine.scheduling.memory_plan import EnginePlan
from model_adapters.engine.scheduling.prefix_store import PrefixStore, shared_caches, shared_passes
from model_adapters.engine.scheduling.scheduler import joined_passes
from model_adapters.engine.scheduling.sequence import Sequence
from model_adapters.engine.scheduling.work import ScoreBranches
from tests.model_adapters.engine.prompts import assert_scores, plain_scores, random_prompt
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import FAMILIES, small_model

HEADERS = tuple(random_prompt(tokens, seed=7) for tokens in (70, 75, 64, 90, 130))
ENDINGS = ((65,), random_prompt(7), (67,))
CHOICES = ((65,), (66,), (67,), (68,))


def questions(*, per_header: int) -> list[Request]:
    """Questions behind each header, the first of them without a text of its own."""
    return [
        Request(
            f"{number}/{index}",
            header + random_prompt(9 * index, seed=number),
            0,
            prefix_id=f"header {number}",
            prefix_tokens=len(header),
            continuations=ENDINGS if index % 2 else CHOICES,
        )
        for number, header in enumerate(HEADERS)
        for index in range(per_header)
    ]


def passes_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Number of rows of each pass from now on, and whether they are kept."""
    found: list[tuple[int, bool]] = []
    run = ModelRunner.run

    def noting(self: ModelRunner, step: Pass, id_1X: Any) -> Any:
        found.append((len(step.rows), step.rows[0].keeps))
        return run(self, step, id_1X)

    monkeypatch.setattr(ModelRunner, "run", noting)
    return found


@pytest.mark.parametrize("family", [*FAMILIES, "deepseek_v3", "bamba"])
def test_tasks_that_share_passes_are_scored_as_alone(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make: Callable[[], Any] = lambda: small_model(family) if family in FAMILIES else other_model(family)  # noqa: E731
    engine, requests = Engine(make(), segment_tokens=1024, slots=1), questions(per_header=3)
    passes = passes_of(engine, monkeypatch)
    found = {generation.request_id: generation for generation in engine.generate(requests)}
    # All headers in one pass; all questions that have a text in another.
    assert passes == [(5, True), (10, False)]
    plain = make()
    for request in requests:
        assert_scores(found[request.id].continuations, plain_scores(plain, request.token_ids, request.continuations))
    assert (engine.prefixes.read, engine.prefixes.continued) == (5, 15)
    assert engine.prefixes.tokens_saved == sum(map(len, HEADERS)) * 2


def test_the_last_questions_behind_a_header_wait_for_no_pass_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on gathered requests ends between headers, unless too many follow."""
    monkeypatch.setattr("model_adapters.engine.scheduling.scheduler.GATHERED_REQUESTS", 12)
    works: list[int] = []
    for per_header, expected in ((5, [15, 10]), (8, [15, 15, 10])):
        engine, requests = Engine(small_model("llama"), segment_tokens=4096, slots=1), questions(per_header=per_header)
        run = engine.executor.run

        def noting(work: Any, *args: Any, run: Callable[..., Any] = run, **options: Any) -> Any:
            if isinstance(work, ScoreBranches):
                works.append(len(work.sequences))
            return run(work, *args, **options)

        monkeypatch.setattr(engine.executor, "run", noting)
        assert len(list(engine.generate(requests))) == len(requests)
        assert works == expected
        works.clear()


def test_what_is_cached_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that are cached alone and together are continued from in one pass for each cache."""
    engine, requests = Engine(small_model("olmo_hybrid"), segment_tokens=1024, slots=1), questions(per_header=2)
    list(engine.generate(requests[:1]))
    list(engine.generate(requests[2:6]))
    passes = passes_of(engine, monkeypatch)
    found = {generation.request_id: generation for generation in engine.generate(requests)}
    assert [keeps for _, keeps in passes] == [True, False, False, False]
    plain = small_model("olmo_hybrid")
    for request in requests:
        assert_scores(found[request.id].continuations, plain_scores(plain, request.token_ids, request.continuations))
    assert engine.prefixes.read == len(HEADERS)


def test_a_shared_cache_is_counted_once_and_freed_with_its_last_prefix() -> None:
    runner = ModelRunner(small_model("llama"))
    store = PrefixStore(runner)
    plenty = 2**40
    store.read_together(HEADERS[:3], pass_tokens=1024, room_bytes=plenty)
    shared = 3 * runner.layout.cost.bytes(75)
    assert (store.nbytes, store.read) == (shared, 3)
    # The first two go, but their memory is that of the third.
    alone = store.cost_bytes(HEADERS[4])
    assert store.context(HEADERS[4], segment_tokens=1024, room_bytes=shared + alone) is not None
    assert store.nbytes == shared + alone
    assert store.context(HEADERS[3], segment_tokens=1024, room_bytes=shared + alone) is not None
    assert store.nbytes == alone + store.cost_bytes(HEADERS[3])
    # What does not fit together is left to be read alone.
    store.read_together(HEADERS[:3], pass_tokens=1024, room_bytes=shared - 1)
    assert store.read == 5


@given(st.lists(st.integers(1, 300), max_size=12), st.integers(1, 1000), st.integers(0, 2000))
def test_prefixes_share_passes_within_the_budget_and_caches_within_memory(
    lengths: list[int], budget: int, spare: int
) -> None:
    prefixes = [(*range(length), 1000 + index) for index, length in enumerate(lengths)]
    caches = list(shared_caches(prefixes, len, loose_bytes=spare))
    assert [prefix for together in caches for prefix in together] == sorted(prefixes, key=len)
    for together in caches:
        needed, longest = sum(map(len, together)), max(map(len, together))
        assert len(together) == 1 or len(together) * longest <= max(2 * needed, spare)
        passes = list(shared_passes(together, budget))
        assert [index for one in passes for index in one] == list(range(len(together)))
        assert all(len(one) == 1 or sum(len(together[index]) for index in one) <= budget for one in passes)


def test_prefixes_of_unlike_lengths_share_a_cache_if_memory_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their questions then share a pass, even if the prefixes themselves take several."""
    headers = [random_prompt(tokens, seed=7) for tokens in (300, 40, 280, 45, 33)]
    requests = [
        Request(f"{number}", header + random_prompt(5), 0, None, "x", len(header), CHOICES)
        for number, header in enumerate(headers)
    ]
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=512, slots=1)
    passes = passes_of(engine, monkeypatch)
    found = {generation.request_id: generation for generation in engine.generate(requests)}
    assert passes == [(4, True), (1, True), (5, False)]
    plain = small_model("olmo_hybrid")
    for request in requests:
        assert_scores(found[request.id].continuations, plain_scores(plain, request.token_ids, request.continuations))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(1, 200), min_size=1, max_size=4)), max_size=10),
    st.integers(1, 3),
)
def test_joined_passes_stay_within_a_pass_and_memory(batches: list[tuple[int, list[int]]], fitting: int) -> None:
    plan = EnginePlan(512, 1, 512, 512, prefix_bytes=130 * fitting)
    planned = [
        [
            Sequence(Request("x", HEADERS[at] + random_prompt(n), 0, None, "a", len(HEADERS[at]), CHOICES))
            if at
            else Sequence(Request("x", random_prompt(n), 0, continuations=CHOICES))
            for n in lengths
        ]
        for at, lengths in batches
    ]
    found = list(joined_passes(planned, plan, len))
    assert [sequence for joined in found for sequence in joined] == [one for batch in planned for one in batch]
    for joined in found:
        prefixes = {sequence.prefix for sequence in joined}
        if joined in planned:
            continue
        assert () not in prefixes
        assert len(prefixes) * max(map(len, prefixes)) <= 130 * fitting
        branches = [Branch.of(sequence.request, len(sequence.prefix)) for sequence in joined]
        assert sum(pass_tokens(len(branch.rows), branch.row_tokens) for branch in branches) <= 512
