"""A run's memory is forecast before weights are read, and agrees with the engine's later use."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import Request
from evalkit.running.model_options import ModelOptions
from model_adapters import memory_forecast
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import Needs, rounded_length
from model_adapters.engine.scheduling import memory_plan
from model_adapters.engine.scheduling.memory_plan import GivenSizes, fit_plan, longest_fitting, plannable_bytes
from model_adapters.engine.scheduling.room import RoomMaker
from model_adapters.engine.scheduling.sequence import Sequence
from model_adapters.loading import load_model
from model_adapters.memory_forecast import forecast_memory
from tests.model_adapters.families.recipes import build
from tests.model_adapters.small_models import FAMILIES, save_small_checkpoint, small_model

GIB = 2**30


def needs_on_gpu(family: str) -> Needs:
    return replace(ModelRunner(small_model(family).to(torch.bfloat16)).needs, on_gpu=True)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 2 GiB free, wherever it is measured."""
    monkeypatch.setattr(memory_forecast, "available_bytes", lambda place: 2 * GIB)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ctx", [256, 270])
def test_the_forecast_is_the_plan_that_the_engine_makes(family: str, ctx: int, tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", family)
    line = forecast_memory(ModelOptions(str(folder), device="cpu", dtype="float32", batch_sequences=2), ctx)
    loaded = load_model(ModelOptions(str(folder), device="cpu", dtype="float32"))
    weights = sum(parameter.nbytes for parameter in loaded.model.parameters())
    engine = Engine(loaded.model, slots=2)
    list(engine.generate([Request("0", tuple(range(200)), ctx - 200)]))
    assert engine.plan is not None
    assert engine.cache is not None
    kept = (engine.cache.kv_bytes + engine.cache.state_bytes) / engine.plan.slots
    assert line.startswith(f"memory: {weights / GIB:.2f} GiB of weights, 2 × {kept / GIB:.2f} GiB of KV cache")
    assert f"at {engine.plan.max_tokens:,} tokens, " in line
    assert f"for a segment of {engine.plan.segment_tokens:,}" in line


@pytest.mark.usefixtures("free")
def test_what_is_said_to_fit_is_not_refused_by_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a length whose rounded length does not fit: then both plan for the length itself."""
    folder = save_small_checkpoint(tmp_path / "checkpoint", "llama")
    model = load_model(ModelOptions(str(folder), device="cpu", dtype="float32")).model
    weights = sum(parameter.nbytes for parameter in model.parameters())
    needs = ModelRunner(model).needs
    longest = longest_fitting(needs, plannable_bytes(2 * GIB - weights, on_gpu=False))
    assert rounded_length(longest) > longest
    line = forecast_memory(ModelOptions(str(folder), device="cpu", dtype="float32", segment_tokens=256), longest)
    assert f"1 × 1.80 GiB of KV cache and states at {longest:,} tokens" in line
    monkeypatch.setattr(memory_plan, "available_bytes", lambda place: 2 * GIB - weights)
    plan = memory_plan.choose_plan(needs, torch.device("cpu"), longest, GivenSizes(256))
    assert plan.max_tokens == longest
    assert "are missing" in forecast_memory(ModelOptions(str(folder), device="cpu", dtype="float32"), longest + 1)


@pytest.mark.usefixtures("free")
def test_a_context_too_long_for_the_host_is_reported_and_not_refused(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "llama")
    line = forecast_memory(ModelOptions(str(folder), device="cpu", dtype="float32"), 2**23)
    assert "8,388,608 tokens need 4.00 GiB" in line
    assert "GiB are missing" in line


@pytest.mark.usefixtures("free")
def test_a_context_too_long_for_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "llama")
    monkeypatch.setattr(memory_forecast, "find_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(memory_forecast, "taken_bytes", lambda place: 0)
    with pytest.raises(UsageError, match=r"0\.00 GiB of weights, 8,388,608 tokens need 2\.00 GiB .* would fit"):
        forecast_memory(ModelOptions(str(folder), device="cuda", dtype="bfloat16"), 2**23)
    assert "at least 256 × " in forecast_memory(ModelOptions(str(folder), device="cuda", dtype="bfloat16"), 2**12)


@pytest.mark.usefixtures("free")
def test_a_gpu_that_another_process_has_just_left_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ModelOptions(
        str(save_small_checkpoint(tmp_path / "checkpoint", "llama")), device="cuda", dtype="bfloat16", batch_sequences=1
    )
    free, taken, pauses = iter([0, 0, 2 * GIB, 2 * GIB]), [60 * GIB], list[float]()
    monkeypatch.setattr(memory_forecast, "find_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(memory_forecast, "available_bytes", lambda place: next(free, 0))
    monkeypatch.setattr(memory_forecast, "taken_bytes", lambda place: taken[0])
    monkeypatch.setattr(memory_forecast.time, "sleep", pauses.append)
    capsys.readouterr()
    assert "1 × " in forecast_memory(options, 2**12)
    assert capsys.readouterr().err.splitlines() == [
        f"evalkit: 60.00 GiB of cuda are taken by others, too much for this run; trying again in {seconds} s"
        for seconds in (1, 2)
    ]
    # It does not wait for ever, and not at all if nobody else is there.
    for taken[0], waited in ((60 * GIB, [1, 2, 4, 8]), (GIB, [])):
        pauses.clear()
        with pytest.raises(UsageError, match="4,096 tokens need"):
            forecast_memory(options, 2**12)
        assert pauses == waited


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("in_one_piece", [False, True])
def test_the_longest_that_is_said_to_fit_does_and_one_more_does_not(family: str, in_one_piece: bool) -> None:
    needs = replace(needs_on_gpu(family), in_one_piece=in_one_piece)
    given = GivenSizes(None if in_one_piece else 256)
    free = plannable_bytes(GIB, on_gpu=True)
    longest = longest_fitting(needs, free)
    assert fit_plan(needs, free, longest, given).slots == 1
    with pytest.raises(Exception, match=f"{longest:,} tokens would fit"):
        fit_plan(needs, free, longest + 1, given)


def test_prompts_that_are_read_in_one_piece_are_forecast_with_its_activations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for families that continue from a state by single tokens only."""
    model = build("mamba")
    model.save_pretrained(tmp_path / "checkpoint")
    runner = ModelRunner(model)
    needs, weights = runner.needs, runner.needs.weights_bytes
    options = ModelOptions(str(tmp_path / "checkpoint"), device="cpu", dtype="float32")
    maker, sequence = RoomMaker(runner, needs, GivenSizes()), Sequence(Request("0", (1,), 8191))

    def forecast(segment_tokens: int) -> str:
        """Beside a slot of 8,192 tokens there is memory for a segment of so many."""
        needed = needs.slot.bytes(8192) + segment_tokens * needs.activation_bytes_per_token
        available = int(needed / (1 - memory_plan.SPARE_SHARE)) + 1
        monkeypatch.setattr(memory_plan, "available_bytes", lambda place: available)
        monkeypatch.setattr(memory_forecast, "available_bytes", lambda place: available + weights)
        return forecast_memory(options, 8192)

    assert "1 × 0.00 GiB of KV cache and states at 8,192 tokens" in forecast(8192)
    assert maker.make(sequence, kept_bytes=0, ran_out=()).plan.segment_tokens == 8192
    assert "8,192 tokens need" in forecast(8191)
    with pytest.raises(RequestFailedError, match="8,191 tokens would fit"):
        maker.make(sequence, kept_bytes=0, ran_out=())


def test_nothing_fits_into_nothing() -> None:
    needs = needs_on_gpu("llama")
    assert longest_fitting(needs, -5) == 0
