"""In half precision the expected values come from an fp32 pass, and the error of transformers' own code is measured."""

import pytest
import torch
from transformers import PreTrainedModel

from model_adapters.preflight.full_precision import in_full_precision
from model_adapters.preflight.gaps import ALLOWED_LOSS, logit_gap
from model_adapters.preflight.reference_pass import plain_trace, reference
from model_adapters.preflight.trace import Trace
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import FAMILIES, small_model

PROMPT = random_prompt(60)
MODELS = [*FAMILIES, "jetmoe", "hrm_text", "gemma4_text", "bamba"]


def make(family: str) -> PreTrainedModel:
    return small_model(family) if family in FAMILIES else other_model(family)


@pytest.mark.parametrize("family", MODELS)
def test_a_model_in_half_precision_is_raised_layer_by_layer(family: str) -> None:
    model = make(family).bfloat16()
    before = [(parameter.dtype, parameter.data_ptr()) for parameter in model.parameters()]
    found = reference(model, PROMPT)
    assert [(parameter.dtype, parameter.data_ptr()) for parameter in model.parameters()] == before
    exact = plain_trace(make(family).bfloat16().float(), PROMPT)
    assert logit_gap(found.truth.logits_TV, exact.logits_TV) < 1e-4
    assert not found.is_exact
    loss = logit_gap(plain_trace(model, PROMPT).logits_TV, exact.logits_TV)
    assert loss > 1e-3
    assert found.bounds.logits == pytest.approx(max(0.01, ALLOWED_LOSS * loss), rel=1e-2)


def test_in_fp32_there_is_one_pass() -> None:
    found = reference(make("llama"), PROMPT)
    assert found.is_exact
    assert found.bounds.logits == 1e-4


def test_an_error_leaves_no_layer_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama").bfloat16()
    monkeypatch.setattr(type(model.model.layers[1].mlp), "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), in_full_precision(model):
        model(torch.tensor([PROMPT]))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(("family", "picks"), [("qwen3_next", True), ("llama", False)])
def test_only_models_that_pick_experts_are_rounded_otherwise(family: str, picks: bool) -> None:
    model = make(family).bfloat16()
    found = reference(model, PROMPT)
    own, bound = plain_trace(model, PROMPT), found.bounds.logits
    far = Trace((), found.truth.logits_TV + 10)
    far.logits_TV[:, 0] += 100
    assert found.compare("kernels", "far away", far, range(len(PROMPT))).outcome == "stop"
    assert (found.bounds.logits > bound) == picks
    assert found.compare("kernels", "its own", own, range(len(PROMPT))).outcome == "pass"
    # The perturbation of embeddings is removed afterwards.
    torch.testing.assert_close(plain_trace(model, PROMPT).logits_TV, own.logits_TV, rtol=0, atol=0)
