"""The greedy choice among logits: with a Triton kernel where it has passed its check, and with PyTorch elsewhere."""

import torch

from model_adapters.kernels.compiling import verdicts_kept
from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.trial import random_sample, trial

_SAMPLE_ROWS, _SAMPLE_LOGITS = 7, 5_000


def greedy_choice(logits_BV: torch.Tensor) -> torch.Tensor:
    """The greedy token of each sequence, -1 if its logits are not finite; does not wait for the device."""
    if logits_BV.dtype == torch.float32 and logits_BV.is_contiguous() and _has_kernel(logits_BV.device):
        from model_adapters.kernels.greedy_choice.triton_choice import choose

        return choose(logits_BV)
    return reference(logits_BV)


def reference(logits_BV: torch.Tensor) -> torch.Tensor:
    """The same with PyTorch: the first of the largest logits."""
    best_B = logits_BV.max(dim=-1)
    return torch.where(best_B.values.isfinite(), best_B.indices, -1)


def sample_logits(device: torch.device) -> torch.Tensor:
    """Rows for every rule: with NaN, ∞ or nothing but -∞, the largest logit twice, equal logits, and plain ones."""
    logits_BV = random_sample((_SAMPLE_ROWS, _SAMPLE_LOGITS), device, torch.float32)
    logits_BV[1, 4_321], logits_BV[2, 17], logits_BV[3] = torch.nan, torch.inf, -torch.inf
    logits_BV[4, 4_500] = logits_BV[4, 300] = logits_BV.nan_to_num(posinf=0.0).max() + 1
    logits_BV[5] = 0.0
    return logits_BV


@verdicts_kept(maxsize=4)
def _has_kernel(device: torch.device) -> bool:
    if device.type != "cuda":
        return False

    def kernel(logits_BV: torch.Tensor) -> torch.Tensor:
        from model_adapters.kernels.greedy_choice.triton_choice import choose

        return choose(logits_BV)

    def check() -> str | None:
        return trial(kernel, reference, [(sample_logits(device),)], torch.float64)  # ids are equal or wrong

    return checked_once(device, "greedy choice", "", check) is None
