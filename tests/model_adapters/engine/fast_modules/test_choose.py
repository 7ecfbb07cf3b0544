"""Choosing kernels without a GPU, and adding and removing patches."""

import sys
import time
from typing import Any

import pytest
import torch

from evalkit.errors import UsageError
from model_adapters.engine.fast_modules import choose
from model_adapters.engine.fast_modules.choose import choose_kernels, gdn_kernel
from model_adapters.module_patches import ModulePatches, patches_of
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import small_model

RULE, CONVOLUTION = "torch_chunk_gated_delta_rule", "causal_conv1d_fn"


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("triton", "--gdn-kernel triton needs a CUDA device, but the model is on cpu; use torch"),
        ("fla", "--gdn-kernel fla needs a CUDA device, but the model is on cpu; use torch"),
        ("trition", "--gdn-kernel 'trition' is unknown; write one of auto, triton, fla, torch"),
    ],
)
def test_what_cannot_be_had_is_one_line(wanted: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_kernels(small_model("olmo_hybrid"), wanted)
    assert str(caught.value) == line


HANDLE = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\nmore of it")


@pytest.mark.parametrize("failures", [1, 3])
def test_a_gpu_that_another_process_has_just_left_is_tried_again(
    failures: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries, pauses = iter(range(9)), list[float]()
    inner = choose._choose

    def busy(*args: Any) -> tuple[str, ...]:
        if next(tries) < failures:
            raise HANDLE
        return inner(*args)

    monkeypatch.setattr(choose, "_choose", busy)
    monkeypatch.setattr(time, "sleep", pauses.append)
    model = small_model("olmo_hybrid")
    assert choose_kernels(model) == ()
    assert gdn_kernel(model) == "torch"
    assert pauses == [1, 2, 4][:failures]
    first, *others = capsys.readouterr().err.splitlines()
    assert len(others) == failures - 1
    assert first == (
        "evalkit: memory ran out (CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`); "
        "trying again in 1 s"
    )


def test_a_gpu_that_stays_full_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> tuple[str, ...]:
        raise HANDLE

    monkeypatch.setattr(choose, "_choose", full)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    told = r"memory ran out on cpu while kernels were checked \(.*: CUBLAS_STATUS_ALLOC_FAILED .*\), also after 15 s"
    with pytest.raises(UsageError, match=told) as caught:
        choose_kernels(small_model("llama"))
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> tuple[str, ...]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(choose, "_choose", broken)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("slept"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        choose_kernels(small_model("llama"))


@pytest.mark.parametrize("wanted", ["auto", "torch"])
def test_a_processor_runs_pytorch_without_a_word(wanted: str) -> None:
    hybrid, llama = small_model("olmo_hybrid"), small_model("llama")
    assert choose_kernels(hybrid, wanted) == ()
    assert choose_kernels(llama, wanted) == ()
    assert (gdn_kernel(hybrid), gdn_kernel(llama)) == ("torch", None)


def test_torch_is_not_what_the_library_found_installed() -> None:
    model = small_model("olmo_hybrid")
    code = sys.modules[type(model).__module__]
    library = choose._LIBRARY.get((code.__name__, RULE), getattr(code, RULE))
    choose_kernels(model, "torch")
    assert getattr(code, RULE) is library.__wrapped__
    choose._set_rules(model, library=True)
    assert getattr(code, RULE) is library
    choose_kernels(model, "torch")


def test_a_family_without_the_rule_keeps_its_library_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    model = other_model("mamba2")
    code = sys.modules[type(model).__module__]
    library = choose._LIBRARY.get((code.__name__, CONVOLUTION), getattr(code, CONVOLUTION))
    monkeypatch.setattr(type(model), "device", property(lambda _: torch.device("cuda")))
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda _: None)
    choose_kernels(model, "torch")
    assert getattr(code, CONVOLUTION) is library.__wrapped__
    choose_kernels(model, "auto")
    assert getattr(code, CONVOLUTION) is library


def test_another_choice_takes_the_place_of_the_first() -> None:
    model = small_model("olmo_hybrid")
    layer = model.model.layers[0].linear_attn
    patches_of(model).place(layer, "forward", lambda *_, **__: None)
    choose_kernels(model, "torch")
    assert "forward" not in vars(layer)


def test_patches_stand_in_until_they_are_off() -> None:
    layer, patches = torch.nn.Linear(2, 2), ModulePatches()
    x = torch.ones(1, 2)
    own = layer(x)
    patches.place(layer, "forward", lambda x: x + 1)
    patches.place(layer, "forward", lambda x: x + 2)
    assert torch.equal(layer(x), x + 2)
    with patches.off():
        assert torch.equal(layer(x), own)
    assert torch.equal(layer(x), x + 2)
    patches.clear()
    assert torch.equal(layer(x), own)
    assert "forward" not in vars(layer)


def test_a_function_of_a_python_module_comes_back() -> None:
    code = sys.modules[__name__]
    own, patches = code.RULE, ModulePatches()
    patches.place(code, "RULE", lambda: "fast", own)
    with patches.off():
        assert own == code.RULE
    assert code.RULE() == "fast"  # type: ignore[operator]  # patched
    patches.clear()
    assert own == code.RULE


def test_patches_belong_to_one_model() -> None:
    first, second = small_model("llama"), small_model("llama")
    assert patches_of(first) is patches_of(first)
    assert patches_of(first) is not patches_of(second)
