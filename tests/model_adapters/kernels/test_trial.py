"""A kernel replaces its reference only if it agrees on every sample; a lack of memory does not count."""

import pytest
import torch

from model_adapters.kernels.trial import LAYER_TOLERANCE, gap, trial

ONES = torch.ones(100)


def tried(factor: float, dtype: torch.dtype) -> str | None:
    return trial(lambda x: (factor * x.double()).to(x.dtype), lambda x: x, [(ONES.to(dtype),)], dtype)


def test_the_gap_is_relative() -> None:
    expected = torch.tensor([3.0, 4.0])
    assert gap(expected * 1.25, expected) == 0.25
    assert gap(1e-3 * expected, 1e-3 * expected) == 0.0


def test_what_a_number_format_allows() -> None:
    assert tried(1 + 5e-6, torch.float32) is None
    assert tried(1 + 5e-5, torch.float32) == "is off by 5.0e-05 of its size, more than 1e-05"
    assert tried(1.01, torch.bfloat16) is None
    assert tried(1.05, torch.bfloat16) is not None
    found = trial(lambda x: x, lambda x: x, [(ONES,)], torch.float64, tolerance=LAYER_TOLERANCE)
    assert found == "takes float32, float16, bfloat16, and not float64"


def test_every_sample_and_every_result_counts() -> None:
    def kernel(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x if len(x) > 1 else 2 * x

    samples = [(ONES,), (ONES[:1],)]
    assert trial(kernel, lambda x: (x, x), samples[:1], torch.float32) is None
    assert trial(kernel, lambda x: (x, x), samples, torch.float32) == "is off by 1.0e+00 of its size, more than 1e-05"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (torch.full((100,), torch.nan), "is off by nan of its size, more than 1e-05"),
        (ONES[:99], "gives the shape torch.Size([99]) instead of torch.Size([100])"),
        (ONES.double(), "gives the dtype torch.float64 instead of torch.float32"),
    ],
)
def test_what_never_agrees(wrong: torch.Tensor, reason: str) -> None:
    assert trial(lambda _: wrong, lambda x: x, [(ONES,)], torch.float32) == reason


def test_an_error_is_a_reason_and_a_lack_of_memory_is_none() -> None:
    def failing(error: Exception) -> str | None:
        def kernel(_: torch.Tensor) -> torch.Tensor:
            raise error

        return trial(kernel, lambda x: x, [(ONES,)], torch.float32)

    refused = failing(RuntimeError("PassManager::run failed\nat line 3"))
    assert refused == "does not run here (RuntimeError: PassManager::run failed)"
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")):
        with pytest.raises(type(error)):
            failing(error)
