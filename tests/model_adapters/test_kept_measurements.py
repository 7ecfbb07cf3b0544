"""What was measured of a loaded model is taken by later processes that would measure the same, and by no others."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from evalkit.cache import cache_folder
from evalkit.errors import UsageError
from evalkit.records import Request
from evalkit.running.model_options import ModelOptions
from model_adapters import kept_files, kept_measurements
from model_adapters.engine import engine
from model_adapters.engine.forward import activations, model_runner
from model_adapters.engine.forward.activations import measured_needs
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.layout import AttentionCall, AttentionShape, LayerMemory, MemoryLayout
from model_adapters.kernels import kernel_cache
from model_adapters.kernels.kernel_cache import Agreements, checked_once
from model_adapters.loading import LoadedModel, load_model
from model_adapters.module_patches import patches_of
from model_adapters.opening import open_loaded
from model_adapters.transformers_adapter import TransformersAdapter
from tests.model_adapters.small_models import save_small_checkpoint

ENVIRONMENT = {"gpu": "H100", "code": "1"}
CPU = torch.device("cpu")
ALL = ["layout", "first position", "continues"]

Process = Callable[..., TransformersAdapter]
"""Makes the adapter of a model as a new process does."""


@pytest.fixture
def options(tmp_path: Path) -> ModelOptions:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "olmo_hybrid")
    return ModelOptions(str(folder), device="cpu", skip_preflight=True, segment_tokens=64)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str | int]:
    """What was measured, in order: names, and sizes of segments, whose activations take 1,000 bytes per token."""
    measured = list[str | int]()

    def noted(name: str, function: str) -> None:
        own = getattr(model_runner, function)

        def measure(*args: Any) -> Any:
            measured.append(name)
            return own(*args)

        monkeypatch.setattr(model_runner, function, measure)

    for name, function in zip(ALL, ("measure_memory", "first_position", "continues_from_states"), strict=True):
        noted(name, function)

    def activation_bytes(_: ModelRunner, tokens: int) -> int:
        measured.append(tokens)
        return 1000 * tokens

    monkeypatch.setattr(activations, "activation_bytes", activation_bytes)
    monkeypatch.setattr(engine, "needs_of", measured_needs)
    monkeypatch.setattr(kept_measurements, "reserve_is_full", lambda _: True)
    return measured


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, measured: list[str | int]) -> Process:
    monkeypatch.setattr(kernel_cache, "REMEMBERED_DEVICES", ("cpu",))

    def run(
        options: ModelOptions,
        environment: Mapping[str, str | None] = ENVIRONMENT,
        rejected: str = "",
        change: Callable[[LoadedModel], object] = lambda _: None,
    ) -> TransformersAdapter:
        found = Agreements(environment)
        monkeypatch.setattr(kernel_cache, "_agreements", lambda _: found)
        if rejected:
            checked_once(CPU, rejected, "", lambda: "is off")
        before = len(measured)
        loaded = load_model(options)
        del measured[before:]  # measured without weights, for the forecast
        change(loaded)
        adapter = open_loaded(options, loaded, loaded.identity).make_adapter()
        assert isinstance(adapter, TransformersAdapter)
        return adapter

    return run


def files() -> list[Path]:
    return sorted((cache_folder() / "kernels" / "measured").glob("*"))


def answer(adapter: TransformersAdapter) -> tuple[int, ...]:
    (completion,) = adapter.generate([Request("one", tuple(range(40, 190)), 8)])
    assert completion.error is None
    return completion.token_ids


def test_a_later_process_measures_nothing_and_answers_the_same(
    process: Process, options: ModelOptions, measured: list[str | int]
) -> None:
    first = process(options)
    assert measured == [*ALL, 64]
    second = process(options)
    assert measured == [*ALL, 64]
    runners = first._engine.runner, second._engine.runner
    assert runners[0].layout == runners[1].layout
    assert runners[0]._first_position == runners[1]._first_position
    mixers = [[name for name, module in runner.model.named_modules() if module in runner._mixers] for runner in runners]
    assert mixers[0] == mixers[1] != []
    assert answer(first) == answer(second)


def test_activations_are_those_that_were_measured(
    process: Process, options: ModelOptions, measured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = list[Any]()
    monkeypatch.setattr(engine, "needs_of", lambda *args: needs.append(measured_needs(*args)) or needs[-1])
    for _ in range(2):
        process(options)
    assert needs[0] == needs[1]
    assert needs[0].activation_bytes_per_token == 1100


def test_other_segments_are_measured_and_added(
    process: Process, options: ModelOptions, measured: list[str | int]
) -> None:
    process(options)
    process(replace(options, segment_tokens=32))
    assert measured == [*ALL, 64, 32]
    for tokens in (32, 64):
        process(replace(options, segment_tokens=tokens))
    assert measured == [*ALL, 64, 32]
    assert len(files()) == 1


def test_activations_are_measured_while_memory_is_scarce(
    process: Process, options: ModelOptions, measured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process(options)
    monkeypatch.setattr(kept_measurements, "reserve_is_full", lambda _: False)
    process(replace(options, segment_tokens=32))
    process(options)
    assert measured == [*ALL, 64, 32, 64]
    monkeypatch.setattr(kept_measurements, "reserve_is_full", lambda _: True)
    process(replace(options, segment_tokens=32))
    assert measured == [*ALL, 64, 32, 64]


def _place_another(loaded: LoadedModel) -> None:
    layer: Any = loaded.model.model.layers[0].mlp  # type: ignore[union-attr,index]
    own = layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = own(x)
        return result

    patches_of(loaded.model).place(layer, "forward", forward)


def test_another_function_of_a_module_is_told_apart(
    process: Process, options: ModelOptions, measured: list[str | int]
) -> None:
    process(options)
    for _ in range(2):
        process(options, change=_place_another)
        assert measured == 2 * [*ALL, 64]
    process(options)
    assert measured == 2 * [*ALL, 64]


def test_another_gpu_code_and_dtype_are_told_apart(
    process: Process, options: ModelOptions, measured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process(options)
    process(options, {**ENVIRONMENT, "gpu": "H200"})
    process(replace(options, dtype="bfloat16"))
    monkeypatch.setattr(kept_files, "code_digest", lambda: "another")
    process(options)
    assert measured == 4 * [*ALL, 64]


def _no_layout(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "layout": {**content["layout"], "layers": [[]] * 3 + [3]}}


def _other_mixers(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "mixers": ["model.layers.99"]}


def _of_another(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "subject": {**content["subject"], "code": "another"}}


@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff", _no_layout, _other_mixers, _of_another])
def test_a_damaged_file_costs_a_measurement(
    process: Process,
    options: ModelOptions,
    measured: list[str | int],
    damaged: bytes | Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    process(options)
    (file,) = files()
    whole = file.read_bytes()
    file.write_bytes(damaged if isinstance(damaged, bytes) else json.dumps(damaged(json.loads(whole))).encode())
    for _ in range(2):
        process(options)
        assert measured == 2 * [*ALL, 64]
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_a_measurement(
    process: Process,
    options: ModelOptions,
    measured: list[str | int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    for count in (1, 2):
        process(options)
        assert measured == count * [*ALL, 64]


def test_other_kernels_are_measured_again(process: Process, options: ModelOptions, measured: list[str | int]) -> None:
    process(options)
    process(options, rejected="norm")  # now one is missing
    assert measured == 2 * [*ALL, 64]
    process(options, rejected="norm")  # as it was
    process(replace(options, segment_tokens=32))  # or has not run yet
    assert measured == [*2 * [*ALL, 64], 32]
    Agreements(ENVIRONMENT).add("norm ")  # the name of a kernel and its shape
    process(options)  # it runs again
    assert measured == [*2 * [*ALL, 64], 32, *ALL, 64]


def test_kernels_that_have_to_be_checked_again_are_measured_again(
    process: Process, options: ModelOptions, measured: list[str | int]
) -> None:
    """The next check may reject one, and what runs instead takes other memory."""
    Agreements(ENVIRONMENT).add("norm ")
    process(options)
    process(options)
    assert measured == [*ALL, 64]
    Agreements(ENVIRONMENT).path.unlink()
    process(options)
    assert measured == 2 * [*ALL, 64]


def test_nothing_is_added_once_other_kernels_run(
    process: Process, options: ModelOptions, measured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process(options)
    (file,) = files()
    before = file.read_bytes()

    def rejecting(_: ModelRunner, tokens: int) -> int:
        checked_once(CPU, "norm", "", lambda: "is off")
        return tokens

    with monkeypatch.context() as changed:
        changed.setattr(activations, "activation_bytes", rejecting)
        process(replace(options, segment_tokens=32))
    assert file.read_bytes() == before


def test_a_model_that_cannot_run_keeps_nothing(
    process: Process, options: ModelOptions, measured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(model: object) -> int:
        raise UsageError("cannot be run")

    monkeypatch.setattr(model_runner, "first_position", refused)
    with pytest.raises(UsageError, match="cannot be run"):
        process(options)
    assert files() == []


def test_libraries_that_choose_kernels_in_each_process_are_measured_by_each(
    process: Process, options: ModelOptions, measured: list[str | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process(options)
    process(options, change=lambda _: monkeypatch.setitem(sys.modules, "fla", ModuleType("fla")))
    assert measured == 2 * [*ALL, 64]


def test_nothing_is_kept_on_a_cpu(options: ModelOptions) -> None:
    loaded = load_model(options)
    open_loaded(options, loaded, loaded.identity).make_adapter()
    assert files() == []


def test_a_layout_is_taken_to_another_gpu_of_the_kind() -> None:
    shape = AttentionShape(torch.device("cuda:0"), torch.bfloat16, 4, 2, 64, 64)
    layout = MemoryLayout((LayerMemory(kv_bytes=8),), calls=(AttentionCall(0, True, shape),))
    moved = kept_measurements._on(torch.device("cuda:1"), layout)
    assert moved.calls[0].shape == shape._replace(device=torch.device("cuda:1"))
    assert kept_measurements._on(torch.device("cuda:0"), moved) == layout
