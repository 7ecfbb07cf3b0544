"""What a Gated DeltaNet layer asks of the host in a pass: as many operators and launches for many rows as for one."""

import importlib.util
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model_adapters.engine.fast_modules.gated_delta_net import fast_forward, gated_delta_layers
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.memory.passes import Pass, running
from model_adapters.engine.memory.rows import Row
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transformers_cache import CacheView
from tests.model_adapters.small_models import small_model


class Counting(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed on this platform")
@pytest.mark.parametrize("family", ["olmo_hybrid", "qwen3_next"])
def test_many_rows_take_no_more_operators_than_one(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from model_adapters.kernels.causal_convolution import triton_convolution
    from model_adapters.kernels.elementwise import triton_elementwise
    from model_adapters.kernels.gated_delta import triton_prefill

    def convolution(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        launched["convolution"] += 1
        return x

    def rule(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        launched["rule"] += 1
        return v.clone(), None

    monkeypatch.setattr(triton_convolution, "convolve_segment", convolution)
    monkeypatch.setattr(triton_prefill, "prefill_gated_delta_rule", rule)
    monkeypatch.setattr(triton_elementwise, "rms_norm", lambda x, *_, **__: x)
    model = small_model(family)
    layer: Any = gated_delta_layers(model)[0]
    forward = fast_forward(layer)
    cache = SlottedCache(MemoryLayout.unmeasured(model.config), slots=12, max_tokens=99, device=model.device)
    many = [Row(slot, 9 * (slot % 2), 1 + 7 * slot) for slot in range(9)]
    many += [Row(10 + index % 2, 5, 3 + index, keeps=False) for index in range(6)]
    called = []
    for rows in ([Row(0, 0, 40)], [Row(0, 0, 40)], many):  # the first one allocates the states
        launched: Counter[str] = Counter()
        step = Pass(cache, rows)
        with torch.no_grad(), running(step), Counting() as counting:
            out = forward(torch.zeros(1, step.tokens, model.config.hidden_size), CacheView(step))
        assert out.shape == (1, step.tokens, model.config.hidden_size)
        called.append((counting.called, launched))
    assert called[2] == called[1]
