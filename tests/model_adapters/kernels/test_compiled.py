"""Prefill kernels compile for a Hopper GPU without one: the interpreter accepts what a GPU's compiler does not."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed on this platform"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels' tests run on the GPU"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="this process interprets"),
]
HOPPER_SHARED_BYTES = 227 * 1024
"""Limit for one program."""


class HopperDriver:
    """The part of a GPU driver needed for compiling."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0


class Compiled:
    """Replaces a kernel: a launch compiles it but runs nothing."""

    def __init__(self, kernel: Any, found: dict[str, Any]) -> None:
        self._kernel, self._found = kernel, found

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: object, **options: object) -> None:
            self._found[self._kernel.__name__] = self._kernel.warmup(*args, grid=grid, **options)

        return launch


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Name -> the kernels compiled by launches, none of them from an earlier run's cache."""
    from triton.runtime import driver

    from model_adapters.kernels.causal_convolution import triton_convolution
    from model_adapters.kernels.gated_delta import triton_prefill
    from model_adapters.kernels.state_space import triton_scan

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # the default before Triton 3.10; 3.9 warns if unset
    found: dict[str, Any] = {}
    for module, name in (
        (triton_prefill, "prepare_chunks"),
        (triton_prefill, "scan_chunks"),
        (triton_convolution, "_convolve"),
        (triton_convolution, "_keep_last"),
        (triton_scan, "_written_states"),
        (triton_scan, "_pass_states"),
        (triton_scan, "_outputs"),
    ):
        monkeypatch.setattr(module, name, Compiled(getattr(module, name), found))
    # `reset_active` would require a real driver.
    monkeypatch.setattr(driver, "_active", HopperDriver())
    return found


@pytest.mark.parametrize(
    ("dtype", "key_size", "value_size"),
    [
        (torch.bfloat16, 96, 192),
        (torch.bfloat16, 256, 256),
        (torch.float16, 128, 128),
        (torch.float32, 24, 40),
    ],
)
def test_prefill_compiles_and_fits(
    compiled: dict[str, Any], dtype: torch.dtype, key_size: int, value_size: int
) -> None:
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    q = torch.zeros(1, 100, 2, key_size, dtype=dtype)
    v = torch.zeros(1, 100, 4, value_size, dtype=dtype)
    gate = torch.zeros(1, 100, 4)
    prefill_gated_delta_rule(q, q, v, log_decay_BTH=gate, beta_BTH=gate)
    assert set(compiled) == {"prepare_chunks", "scan_chunks"}
    assert_fit(compiled)


def test_convolution_compiles_with_wide_accesses(compiled: dict[str, Any]) -> None:
    from model_adapters.kernels.causal_convolution.triton_convolution import convolve_segment

    x, context = torch.zeros(1, 100, 512, dtype=torch.bfloat16), torch.zeros(1, 512, 4, dtype=torch.bfloat16)
    convolve_segment(x, torch.zeros(512, 4, dtype=torch.bfloat16), None, context_BCW=context)
    assert set(compiled) == {"_convolve", "_keep_last"}
    assert "ld.global.v2.b32" in compiled["_convolve"].asm["ptx"]
    assert_fit(compiled)


@pytest.mark.parametrize(
    ("dtype", "size", "state_size"),
    [(torch.bfloat16, 128, 256), (torch.float16, 64, 256), (torch.float32, 64, 128)],
)
def test_state_space_scan_compiles_and_fits(
    compiled: dict[str, Any], dtype: torch.dtype, size: int, state_size: int
) -> None:
    from model_adapters.kernels.state_space.triton_scan import scan_state_space

    keys = torch.zeros(1, 300, 2, state_size, dtype=dtype)
    scan_state_space(
        torch.zeros(1, 300, 4, size, dtype=dtype),
        keys,
        keys,
        steps_BTH=torch.zeros(1, 300, 4),
        rates_H=torch.zeros(4),
        skip_H=torch.zeros(4, dtype=dtype),
        initial_state_BHPN=None,
    )
    assert set(compiled) == {"_written_states", "_pass_states", "_outputs"}
    assert_fit(compiled)


@pytest.mark.parametrize(("key_size", "value_size", "old"), [(128, 128, 0), (80, 48, 0), (128, 128, 128)])
def test_windowed_attention_compiles_with_the_copy_engine(
    compiled: dict[str, Any], monkeypatch: pytest.MonkeyPatch, key_size: int, value_size: int, old: int
) -> None:
    from model_adapters.kernels.chunked_attention import triton_prefill

    monkeypatch.setattr(triton_prefill, "_attend", Compiled(triton_prefill._attend, compiled))
    monkeypatch.setattr(triton_prefill, "_has_descriptors", lambda *tensors: True)
    q, k, v = (torch.zeros(1, 2, 300, size, dtype=torch.bfloat16) for size in (key_size, key_size, value_size))
    before = (k[:, :, :old], v[:, :, :old]) if old else None
    triton_prefill.prefill_attention(q, k, v, query_offset=old, window=100, before=before)
    assert "cp.async.bulk.tensor" in compiled["_attend"].asm["ptx"]
    assert_fit(compiled)


def assert_fit(compiled: dict[str, Any]) -> None:
    for kernel in compiled.values():
        assert kernel.asm["cubin"]
        assert kernel.metadata.shared <= HOPPER_SHARED_BYTES


def test_decode_kernels_load_weights_before_they_wait(
    compiled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the kernel before, and only then the inputs that it wrote."""
    from model_adapters.kernels.elementwise import triton_elementwise, triton_norm_rotate, triton_rotary
    from model_adapters.kernels.key_value.places import TokenPlaces
    from model_adapters.kernels.vector_product import triton_vector_product

    for module, name in (
        (triton_vector_product, "_vector_product"),
        (triton_vector_product, "_gated_vector_product"),
        (triton_elementwise, "_rms_norm"),
        (triton_rotary, "_tables"),
        (triton_norm_rotate, "_norm_rotate_store"),
    ):
        monkeypatch.setattr(module, name, Compiled(getattr(module, name), compiled))
        monkeypatch.setattr(module, "overlap", lambda device: {"OVERLAPS": True, "launch_pdl": True})
    x, weight = torch.zeros(3840, dtype=torch.bfloat16), torch.zeros(64, 3840, dtype=torch.bfloat16)
    triton_vector_product.vector_product(x, weight)
    triton_vector_product.gated_vector_product(x, weight[:32], weight[32:])
    triton_rotary.rotary_tables(torch.zeros(1, 1, dtype=torch.long), torch.zeros(64), scaling=1.2, dtype=torch.float32)
    triton_elementwise.rms_norm(x, x, epsilon=1e-6)
    q, kv = x.view(1, -1), x[: 2 * 128].view(1, -1)
    cache, position = torch.zeros(1, 2, 100, 128, dtype=x.dtype), torch.zeros(1, dtype=torch.long)
    triton_norm_rotate.norm_rotate_store(
        q,
        kv,
        kv,
        q_weight_X=x,
        k_weight_Y=kv[0],
        epsilon=1e-6,
        head_size=128,
        cos_sin=(kv[:, :128].contiguous(),) * 2,
        places=TokenPlaces(cache, cache, position),
    )
    assert len(compiled) == 5
    for kernel in compiled.values():
        assembly = kernel.asm["ptx"]
        waits, starts = (assembly.index(f"griddepcontrol.{name}") for name in ("wait", "launch_dependents"))
        assert assembly.index("ld.global") < starts < waits < assembly.rindex("ld.global")
        assert waits < assembly.index("st.global")
        assert kernel.metadata.launch_pdl


@pytest.mark.parametrize(("heads", "splits"), [(30, 8), (8, 33)])
def test_parts_of_decode_attention_are_published_before_they_are_merged(
    heads: int, splits: int, compiled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread counts a program after all its warps have stored, and all wait for its answer."""
    from model_adapters.kernels.chunked_attention import triton_decode

    for name in ("_attend_split", "_merge_splits"):
        monkeypatch.setattr(triton_decode, name, Compiled(getattr(triton_decode, name), compiled))
    q, kv = torch.zeros(1, heads, 128, dtype=torch.bfloat16), torch.zeros(1, heads, 100, 128, dtype=torch.bfloat16)
    counts = torch.tensor([100])
    launch = triton_decode.choose_decode_attention_launch(
        sequences=1, key_heads=heads, head_size=128, dtype=q.dtype, device=torch.device("cpu")
    )
    assert launch.splits == splits
    triton_decode.decode_attention(q, kv, kv, key_counts_B=counts)
    assert_fit(compiled)
    assembly = compiled["_attend_split"].asm["ptx"]
    if splits == 33:  # more than one program merges quickly
        assert "atom." not in assembly
        assert "_merge_splits" in compiled
        return
    assert list(compiled) == ["_attend_split"]
    stored, merged = assembly.split("atom.global.gpu.acq_rel.add")
    assert "bar.sync" in stored[stored.rindex("st.global") :]
    assert "bar.sync" in merged[: merged.index("ld.global")]
