"""With `batch_invariant`, answers in bf16 are the same bits alone, with others, in another order and after a resume.

The same comparison without the option fails.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.records import Request
from evalkit.running.model_options import Dtype, ModelOptions
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward import decode_graph
from model_adapters.engine.memory.cost import Needs, SlotCost
from model_adapters.engine.scheduling import executor, memory_plan
from model_adapters.engine.scheduling.memory_plan import EnginePlan, GivenSizes, plan_request
from model_adapters.engine.scheduling.work import Decode, Prefill
from model_adapters.memory_forecast import forecast_memory
from model_adapters.opening import check_options, open_model
from model_adapters.preflight import checks
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.engine.recorder import Refuser, Repeater
from tests.model_adapters.small_models import save_small_checkpoint, small_model

GIB = 2**30
HEADER = random_prompt(70)
ENDINGS = ((65,), (66, 67, 68), (69,))
REQUESTS = (
    *(Request(f"answer {tokens}", random_prompt(tokens), 6) for tokens in (350, 37, 1, 233, 64)),
    Request("long", random_prompt(1100), 3),
    *(
        Request(f"choice {tokens}", HEADER + random_prompt(tokens), 0, None, "header", len(HEADER), ENDINGS)
        for tokens in (11, 40)
    ),
    Request("continued", HEADER + random_prompt(90), 5, prefix_id="header", prefix_tokens=len(HEADER)),
    Request("scored", random_prompt(210), 0, scored_from=30),
)
FAMILIES = ("olmo_hybrid", "olmo3")
Bits = dict[str, list[bytes]]


def bits_of(
    family: str,
    requests: Sequence[Request],
    *,
    invariant: bool = True,
    recorder: Callable[[], Repeater] | None = None,
    **options: Any,
) -> Bits:
    """All numbers of each answer in bf16: the logits before every generated token, or log-probabilities."""
    model = small_model(family).to(torch.bfloat16)
    assert model.generation_config is not None
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    engine = Engine(model, **{"segment_tokens": 100, "slots": 3, "batch_invariant": invariant, **options})
    if recorder is not None:
        engine.executor.decoder = decode_graph.DecodeSteps(engine.runner, make_recorder=recorder, fixed=invariant)
    found: Bits = {request.id: [] for request in requests}
    newest: list[torch.Tensor] = []
    choose, run = decode_graph.greedy_choice, engine.executor.run

    def noting_choice(logits_BV: torch.Tensor) -> torch.Tensor:
        newest.append(logits_BV.clone())
        return choose(logits_BV)

    def noting_run(work: Any, *args: Any, **kwargs: Any) -> Any:
        result = run(work, *args, **kwargs)
        if isinstance(work, Prefill | Decode):
            for sequence, logits_V in zip(work.sequences, newest[-1], strict=False):
                found[sequence.request.id].append(logits_V.numpy().tobytes())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.executor, "run", noting_run)
        for module in (decode_graph, executor):
            patch.setattr(module, "greedy_choice", noting_choice)
        for generation in engine.generate(requests):
            assert generation.error is None
            numbers = [one.log_probability for one in generation.continuations or ()]
            numbers += generation.scores.log_probabilities if generation.scores else ()
            found[generation.request_id] += [torch.tensor(numbers, dtype=torch.float64).numpy().tobytes()]
    return found


def same(found: Bits, expected: Bits) -> bool:
    return all(found[name] == expected[name] for name in found)


@pytest.fixture(scope="module", params=FAMILIES)
def together(request: pytest.FixtureRequest) -> tuple[str, Bits]:
    """A family, and the answers to all requests in one run."""
    return request.param, bits_of(request.param, REQUESTS)


def test_an_answer_alone_is_the_answer_in_a_batch(together: tuple[str, Bits]) -> None:
    family, expected = together
    for request in REQUESTS:
        assert same(bits_of(family, [request]), expected), request.id


@settings(max_examples=5)
@given(
    order=st.permutations(REQUESTS),
    answered=st.integers(0, len(REQUESTS) - 1),
    recorder=st.sampled_from([None, Repeater, Refuser]),
)
def test_neither_order_nor_resume_nor_recording_changes_an_answer(
    together: tuple[str, Bits], order: list[Request], answered: int, recorder: Any
) -> None:
    """A resumed run asks what is left after the first answers; recording steps may also fail."""
    family, expected = together
    assert same(bits_of(family, order[answered:], recorder=recorder), expected)


def test_memory_for_prefixes_does_not_change_an_answer(
    together: tuple[str, Bits], monkeypatch: pytest.MonkeyPatch
) -> None:
    family, expected = together
    monkeypatch.setattr(memory_plan, "PREFIX_SHARE", 0.0)
    assert same(bits_of(family, REQUESTS[-4:]), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_the_option_all_of_this_differs(family: str) -> None:
    expected = bits_of(family, REQUESTS, invariant=False)
    for request in REQUESTS[1:4]:
        assert not same(bits_of(family, [request], invariant=False), expected), request.id
    assert not same(bits_of(family, REQUESTS[::-1], invariant=False), expected)
    assert not same(bits_of(family, REQUESTS[1:], invariant=False), expected)


def test_a_lack_of_memory_changes_no_shape() -> None:
    needs = Needs(SlotCost(2**20, 0, 0, 0), 2**16, on_gpu=True)
    sizes = GivenSizes(8192, 8, fixed=True)
    plan = plan_request(needs, 80 * GIB, 5000, sizes, kept_bytes=0)
    assert (plan.slots, plan.max_tokens, plan.pass_tokens) == (8, 5120, 8192)
    assert plan_request(needs, 80 * GIB, 5000, sizes, kept_bytes=0, ran_out=[plan]) == plan
    with pytest.raises(Exception, match=r"8 sequences of 5,120 tokens need 40\.00 GiB .* use --batch 5,"):
        plan_request(needs, 28 * GIB, 5000, sizes)
    # Prefixes get what the sequences leave.
    tight = plan_request(needs, 41 * GIB, 5000, sizes, kept_bytes=0)
    assert tight == EnginePlan(5120, 8, 5120, 8192, prefix_bytes=GIB // 2 - 8 * needs.activation_bytes_per_token)


def test_models_that_mix_rows_decode_one_sequence_at_a_time() -> None:
    model = small_model("qwen3_next").to(torch.bfloat16)
    shapes = Engine(model, batch_invariant=True).shapes
    assert str(shapes) == "decode steps of 1, segments of 1,024"
    with pytest.raises(UsageError, match="--batch 4: Qwen3NextForCausalLM gives each expert as many rows as choose it"):
        Engine(model, slots=4, batch_invariant=True)


def test_the_option_reaches_the_engine_and_the_record(tmp_path: Path) -> None:
    folder = str(save_small_checkpoint(tmp_path / "checkpoint", "olmo_hybrid"))
    options = ModelOptions(folder, device="cpu", dtype=Dtype.BFLOAT16, batch_invariant=True, batch_sequences=5)
    opened = open_model(options)
    (check,) = (check for check in opened.preflight if check.name == "batch invariance")
    assert (check.outcome, check.statement) == (
        "pass",
        "logits do not depend on neighbours (decode steps of 5, segments of 1,024)",
    )
    assert opened.make_adapter().describe().batch_invariant == "decode steps of 5, segments of 1,024"
    assert "5 × " in (forecast_memory(options, 3000) or "")
    assert open_model(ModelOptions(folder, device="cpu")).make_adapter().describe().batch_invariant == "no"
    with pytest.raises(UsageError, match="--batch-invariant cannot be required of a --server"):
        check_options(ModelOptions("m", server="http://127.0.0.1:1", batch_invariant=True))


def test_a_device_whose_rows_depend_on_their_neighbours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(save_small_checkpoint(tmp_path / "checkpoint", "llama"))
    original = checks.neighbours_logits

    def rounded_by_slot(*args: Any, slot: int) -> torch.Tensor:
        return original(*args, slot=slot) * (1 + slot * 2.0**-20)

    monkeypatch.setattr(checks, "neighbours_logits", rounded_by_slot)
    told = r"preflight stops at batch invariance: decode steps of 4, .* depend on neighbours by up to .*use --batch 1"
    with pytest.raises(UsageError, match=told):
        open_model(ModelOptions(folder, device="cpu", batch_invariant=True))
