"""The scan's kernels inside transformers' Mamba-2 layers."""

from typing import Any

import pytest
import torch

from model_adapters.engine.engine import Engine
from model_adapters.engine.fast_modules import state_space
from model_adapters.engine.fast_modules.state_space import find_scan_fault, place_scan, scan_layers
from model_adapters.engine.forward.model_runner import GPU_ROW_MULTIPLE
from model_adapters.module_patches import patches_of
from tests.model_adapters.engine.prompts import make_requests
from tests.model_adapters.families.recipes import build
from tests.model_adapters.kernels.gated_delta.cases import DEVICE
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import small_model

FAMILIES = ("mamba2", "bamba", "granitemoehybrid")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scan_agrees_with_the_familys_own(family: str) -> None:
    layers = scan_layers(other_model(family).to(DEVICE))
    assert len(layers) >= 3
    assert find_scan_fault(layers[0], torch.float32) is None
    assert scan_layers(small_model("olmo_hybrid")) == []


def test_a_wrong_scan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = state_space._triton_scan

    def wrong(*args: Any, **kwargs: Any) -> Any:
        out, final = right(*args, **kwargs)
        return out * 1.01, final

    monkeypatch.setattr(state_space, "_triton_scan", wrong)
    fault = find_scan_fault(scan_layers(other_model("mamba2").to(DEVICE))[0], torch.float32)
    assert fault == "is off by 1.0e-02 of its size, more than 1e-03"


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("mamba2", {"num_hidden_layers": 2}),
        ("granitemoehybrid", {"num_hidden_layers": 2, "layer_types": ["mamba", "attention"]}),
    ],
)
def test_the_engine_answers_as_generate_does(
    family: str, layers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(family, **layers).to(DEVICE)
    requests = make_requests((5, 35), 2)
    prompts = [torch.tensor([request.token_ids], device=DEVICE) for request in requests]
    expected = [
        model.generate(ids, max_new_tokens=request.generation_tokens, do_sample=False)[0, ids.shape[1] :].tolist()
        for ids, request in zip(prompts, requests, strict=True)
    ]
    scanned: list[int] = []
    fast = state_space._triton_scan

    def counted(x_BTHP: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        scanned.append(x_BTHP.shape[1])
        return fast(x_BTHP, *args, **kwargs)

    monkeypatch.setattr(state_space, "_triton_scan", counted)
    place_scan(scan_layers(model)[0], patches_of(model))
    engine = Engine(model, slots=2, segment_tokens=GPU_ROW_MULTIPLE)
    answers = {one.request_id: list(one.token_ids) for one in engine.generate(requests)}
    patches_of(model).clear()
    assert max(scanned) == GPU_ROW_MULTIPLE  # a shorter segment is padded to it on a GPU
    assert answers == {request.id: tokens for request, tokens in zip(requests, expected, strict=True)}
