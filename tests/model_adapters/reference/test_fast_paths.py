"""The functions that training uses give the same results and gradients as transformers' own."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from model_adapters.reference import fast_paths
from model_adapters.reference.architecture import KINDS, WINDOW_TOKENS, make_config

TOKENS = 2 * WINDOW_TOKENS


@pytest.mark.usefixtures("transformers_restored")
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_the_plain_model(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(make_config(kind, 128))
    for name, parameter in model.named_parameters():
        if name.endswith("q_proj.weight"):
            # Attention of fresh weights is almost uniform, so a wrong window would not be noticed.
            parameter.data.mul_(20.0)
    token_ids_BT = torch.randint(2, 128, (2, TOKENS))

    def run(**masks: dict[str, None]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        logits = model(token_ids_BT, use_cache=False, **masks).logits
        logits[:, 1:].logsumexp(-1).mean().backward()
        return logits.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    plain_logits, plain_gradients = run()
    fast_paths.install(model)
    logits, gradients = run(attention_mask=fast_paths.masks())
    assert (logits - plain_logits).abs().max() < 1e-4
    for ours, theirs in zip(gradients, plain_gradients, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm() + 1e-6


def test_a_window_that_does_not_divide_the_row_is_refused() -> None:
    q = torch.zeros(1, 1, WINDOW_TOKENS + 1, 8)
    with pytest.raises(ValueError, match="513 tokens are no multiple of the window of 512"):
        fast_paths._windowed(q, q, q, window=WINDOW_TOKENS, scaling=1.0)
