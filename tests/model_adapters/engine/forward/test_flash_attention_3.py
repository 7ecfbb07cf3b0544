"""FlashAttention 3 by PyTorch's function: on a GPU that function, in any version, and elsewhere a stand-in for it."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.attention import (
    _registry,
    activate_flash_attention_impl,
    current_flash_attention_impl,
    restore_flash_attention_impl,
    varlen,
)

from model_adapters.engine.forward import flash_attention_3 as module
from model_adapters.engine.forward import prefill_backends, slot_attention
from model_adapters.engine.forward.flash_attention_3 import (
    activate_flash_attention_3,
    ends,
    flash_attention_3,
    runs_flash_attention_3,
    windowed_flash_attention_3,
)
from model_adapters.engine.forward.prefill_backends import FusedKernel, WindowedKernel, find_fused, find_windowed
from model_adapters.engine.memory.layout import AttentionShape
from model_adapters.kernels.chunked_attention.reference import Attended, chunked_attention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
TOLERANCE = 5e-3 if DEVICE == "cuda" else 1e-5
SHAPE = AttentionShape(torch.device("cpu"), torch.float32, 4, 2, 16, 16)
HOPPER = AttentionShape(torch.device("cuda", 0), torch.bfloat16, 4, 2, 16, 16)

COUNTS = (1023, 1024)

Flat = tuple[torch.Tensor, torch.Tensor]


def torch_2_11(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> None:
    """The arguments of varlen_attn in PyTorch 2.11, which takes grouped heads as they are."""


def attended(named: dict[str, Any]) -> Flat:
    """Attention of sequences one after another, aligned to their last key: outputs [X, H, E], log-sum-exp [H, X]."""
    outs, lses = [], []
    (left, right), groups = named["window_size"], named["query"].shape[1] // named["key"].shape[1]
    rows = [torch.stack([named[name][:-1], named[name][1:]], 1).tolist() for name in ("cu_seq_q", "cu_seq_k")]
    for (first, last), (low, high) in zip(*rows, strict=True):
        assert last - first <= named["max_q"]
        assert high - low <= named["max_k"]
        q_HTD = named["query"][first:last].transpose(0, 1).double()
        k_HSD, v_HSE = (
            named[name][low:high].transpose(0, 1).repeat_interleave(groups, 0).double() for name in ("key", "value")
        )
        position_T1 = torch.arange(last - first)[:, None] + (high - low) - (last - first)
        key_S = torch.arange(high - low)
        seen_TS = (key_S >= position_T1 - left) if left >= 0 else torch.ones(last - first, high - low, dtype=torch.bool)
        if right >= 0:
            seen_TS = seen_TS & (key_S <= position_T1 + right)
        scores_HTS = (q_HTD @ k_HSD.transpose(1, 2) * named["scale"]).masked_fill(~seen_TS, -torch.inf)
        outs.append((scores_HTS.softmax(-1) @ v_HSE).transpose(0, 1))
        lses.append(scores_HTS.logsumexp(-1))
    return torch.cat(outs).to(named["query"].dtype), torch.cat(lses, dim=1).float()


def stand_in(like: Callable[..., Any], changed: Callable[[Flat], Flat] = lambda found: found) -> Callable[..., Any]:
    """A function with the arguments of `like` that computes what varlen_attn does; for CPUs, which PyTorch's is not."""
    signature = inspect.signature(like)

    def attend(*args: Any, **kwargs: Any) -> Flat:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        named = bound.arguments
        assert named["return_aux"].lse
        assert all(named[name].dtype == torch.int32 for name in ("cu_seq_q", "cu_seq_k"))
        if "enable_gqa" in named and not named["enable_gqa"] and named["query"].shape[1] != named["key"].shape[1]:
            raise ValueError("Expect query and key/value to have the same number of heads")
        attend.__dict__["pointers"] = [named[name].data_ptr() for name in ("query", "key", "value")]
        return changed(attended(named))

    attend.__dict__["__signature__"] = signature
    return attend


@pytest.fixture(params=["installed", "2.11"] if DEVICE == "cpu" else ["GPU"])
def function(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's function on a GPU; elsewhere stand-ins with the arguments of the installed version and of 2.11."""
    if DEVICE == "cpu":
        like = varlen.varlen_attn if request.param == "installed" else torch_2_11
        monkeypatch.setattr(varlen, "varlen_attn", stand_in(like))


def qkv(T: int, S: int, *, B: int = 1, H: int = 4, G: int = 2, D: int = 16) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values as the engine has them: in memory as [B, T, H, D], or one sequence's as a cache's."""
    generator = torch.Generator().manual_seed(B * T + S)
    sizes = (B, T, H, D), (B, S + 30, G, D), (B, S + 30, G, D)
    q, k, v = (torch.randn(size, generator=generator).to(DEVICE, DTYPE).transpose(1, 2) for size in sizes)
    if B == 1:
        k, v = k.contiguous(), v.contiguous()
        return q, k[:, :, :S], v[:, :, :S]
    return q, *(x[:, :, :S].transpose(1, 2).contiguous().transpose(1, 2) for x in (k, v))


def agree(found: Attended, expected: Attended) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert float((one.double() - other.double()).norm() / other.double().norm()) <= TOLERANCE


@pytest.mark.usefixtures("function")
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize(("B", "T", "S"), [(1, 7, 7), (3, 5, 5), (1, 1, 1), (4, 1, 1), (1, 300, 300)])
def test_causal_attention(B: int, T: int, S: int, heads: int, kv_heads: int) -> None:
    q, k, v = qkv(T, S, B=B, H=heads, G=kv_heads)
    agree(flash_attention_3(q, k, v, True, 0.3), chunked_attention(q, k, v, query_offset=0, scale=0.3))


@pytest.mark.usefixtures("function")
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize(("B", "T", "S"), [(1, 7, 130), (2, 9, 20), (1, 1, 40), (1, 60, 33)])
def test_full_attention(B: int, T: int, S: int, heads: int, kv_heads: int) -> None:
    q, k, v = qkv(T, S, B=B, H=heads, G=kv_heads)
    agree(flash_attention_3(q, k, v, False, 0.3), chunked_attention(q, k, v, query_offset=S, scale=0.3))


@pytest.mark.usefixtures("function")
@pytest.mark.parametrize(
    ("T", "S", "window", "old"), [(7, 150, 40, 0), (60, 60, 1, 0), (9, 30, 99, 0), (20, 50, 17, 30)]
)
def test_windows(T: int, S: int, window: int, old: int) -> None:
    q, k, v = qkv(T, S)
    before = (k[:, :, :old].clone(), v[:, :, :old].clone()) if old else None
    found = windowed_flash_attention_3(q, k[:, :, old:], v[:, :, old:], window, 0.3, before)
    expected, lse = chunked_attention(q, k, v, query_offset=S - T, window=window, scale=0.3)
    agree((found, lse), (expected, lse))


@pytest.mark.skipif(DEVICE != "cpu", reason="looks into the stand-in")
@pytest.mark.parametrize("B", [1, 3])
def test_nothing_is_copied(monkeypatch: pytest.MonkeyPatch, B: int) -> None:
    watched = stand_in(varlen.varlen_attn)
    monkeypatch.setattr(varlen, "varlen_attn", watched)
    tensors = qkv(6, 6, B=B)
    flash_attention_3(*tensors, True, 0.3)
    assert watched.__dict__["pointers"] == [x.data_ptr() for x in tensors]


def test_offsets_are_kept_for_the_next_layer() -> None:
    device = torch.device(DEVICE)
    assert ends(3, 5, device).tolist() == [0, 5, 10, 15]
    assert ends(3, 5, device) is ends(3, 5, device)


@pytest.fixture
def no_verdicts() -> Iterator[None]:
    for kept in (find_fused, find_windowed):
        kept.cache_clear()
    yield
    for kept in (find_fused, find_windowed):
        kept.cache_clear()


@pytest.mark.usefixtures("no_verdicts")
@pytest.mark.parametrize(
    ("changed", "fused", "windowed"),
    [
        (lambda found: found, True, True),
        (lambda found: (found[0], found[1].T), False, False),
        (lambda found: (found[0], found[1] + 0.7), False, True),
        (lambda found: (found[0].flip(0), found[1]), False, False),
    ],
    ids=["right", "transposed", "log-sum-exp off", "outputs off"],
)
def test_a_function_that_does_something_else_is_not_used(
    monkeypatch: pytest.MonkeyPatch, changed: Callable[[Flat], Flat], fused: bool, windowed: bool
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", stand_in(varlen.varlen_attn, changed))
    full, sliding = (
        FusedKernel("FlashAttention 3", flash_attention_3),
        WindowedKernel("FlashAttention 3", windowed_flash_attention_3),
    )
    monkeypatch.setattr(prefill_backends, "_KERNELS", {"cpu": (full,)})
    monkeypatch.setattr(prefill_backends, "_WINDOWED", {"cpu": (sliding,)})
    assert find_fused(SHAPE) == ((full,) if fused else ())
    assert find_windowed(SHAPE, True) == (sliding if windowed else None)


@pytest.mark.usefixtures("no_verdicts")
def test_a_window_off_by_one_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    right = stand_in(varlen.varlen_attn)

    def wider(*args: Any, window_size: tuple[int, int], **kwargs: Any) -> Flat:
        found: Flat = right(*args, window_size=(window_size[0] + 1, window_size[1]), **kwargs)
        return found

    wider.__dict__["__signature__"] = inspect.signature(varlen.varlen_attn)
    monkeypatch.setattr(varlen, "varlen_attn", wider)
    sliding = WindowedKernel("FlashAttention 3", windowed_flash_attention_3)
    monkeypatch.setattr(prefill_backends, "_WINDOWED", {"cpu": (sliding,)})
    assert find_windowed(SHAPE, True) is None


@pytest.fixture
def capability(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the major compute capability of every GPU; version 3 is not active before and after."""
    _restore()

    def pretend(major: int) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, 0))

    yield pretend
    _restore()


def _restore() -> None:
    if current_flash_attention_impl() is not None:
        restore_flash_attention_impl()


def pretend_package(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    (folder / f"{module.VERSION_3_MODULE}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    # With an entry to restore, what the test imports is forgotten after it.
    monkeypatch.setitem(sys.modules, module.VERSION_3_MODULE, ModuleType(module.VERSION_3_MODULE))
    del sys.modules[module.VERSION_3_MODULE]


def test_version_3_is_not_looked_for_without_a_hopper_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: Callable[[int], None]
) -> None:
    pretend_package(tmp_path, monkeypatch, "raise AssertionError")
    capability(10)
    assert activate_flash_attention_3(torch.device("cpu")) is None
    assert activate_flash_attention_3(HOPPER.device) is None
    assert not runs_flash_attention_3(HOPPER.device)


@pytest.mark.skipif(importlib.util.find_spec(module.VERSION_3_MODULE) is not None, reason="it is installed")
def test_version_3_is_not_needed(capability: Callable[[int], None]) -> None:
    capability(9)
    assert activate_flash_attention_3(HOPPER.device) is None
    assert current_flash_attention_impl() is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('undefined symbol: x')", "ImportError: undefined symbol: x"),
        ("", f"RuntimeError: Module '{module.VERSION_3_MODULE}' does not expose FA3 forward kernels"),
    ],
)
def test_a_package_that_does_not_work_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: Callable[[int], None], code: str, reason: str
) -> None:
    pretend_package(tmp_path, monkeypatch, code)
    capability(9)
    assert activate_flash_attention_3(HOPPER.device) == f"FlashAttention 3 is installed but not used ({reason})"
    assert not runs_flash_attention_3(HOPPER.device)


class _Active:
    def remove(self) -> None:
        """Nothing was registered."""


@pytest.mark.usefixtures("no_verdicts")
def test_version_3_is_used_for_segments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: Callable[[int], None]
) -> None:
    pretend_package(tmp_path, monkeypatch, "")
    monkeypatch.setitem(_registry._FLASH_ATTENTION_IMPLS, module.VERSION_3, lambda: _Active())
    for check in ("_fused_agrees", "_windowed_agrees"):
        monkeypatch.setattr(prefill_backends, check, lambda kernel, shape: True)
    capability(9)

    def names() -> tuple[list[str], list[str | None]]:
        fused = [kernel and kernel.name for kernel in (slot_attention._pick_kernel(HOPPER, count) for count in COUNTS)]
        windowed = [kernel and kernel.name for kernel in (find_windowed(HOPPER, count >= 1024) for count in COUNTS)]
        return [*map(str, fused)], windowed

    assert names() == (["flash", "cuDNN"], ["Triton", "Triton"])
    assert activate_flash_attention_3(HOPPER.device) is None
    find_fused.cache_clear()
    find_windowed.cache_clear()
    assert names() == (["flash", "FlashAttention 3"], ["Triton", "FlashAttention 3"])
    # It is active in the whole process, but other GPUs have no such kernels.
    capability(10)
    find_fused.cache_clear()
    find_windowed.cache_clear()
    assert names() == (["flash", "cuDNN"], ["Triton", "Triton"])


@pytest.mark.usefixtures("no_verdicts")
def test_verdicts_say_whether_version_3_was_active(
    monkeypatch: pytest.MonkeyPatch, capability: Callable[[int], None]
) -> None:
    monkeypatch.setitem(_registry._FLASH_ATTENTION_IMPLS, module.VERSION_3, lambda: _Active())
    checked: list[str] = []
    monkeypatch.setattr(prefill_backends, "checked_once", lambda device, name, *_: checked.append(name))
    capability(9)
    find_fused(HOPPER)
    activate_flash_attention_impl(module.VERSION_3)
    find_fused.cache_clear()
    find_fused(HOPPER)
    assert len(checked) == len(set(checked)) == 7
