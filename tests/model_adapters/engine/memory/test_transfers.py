"""Copies between host and device."""

import pytest
import torch

from model_adapters.engine.memory.transfers import to_device, to_host

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(5,), (1, 7), (0,)])
def test_there_and_back(device: str, shape: tuple[int, ...]) -> None:
    """The copy on the host stays as it is when the original changes."""
    x = torch.arange(torch.Size(shape).numel()).reshape(shape)
    there = to_device(x, torch.device(device))
    assert there.device.type == device
    back = to_host(there)
    there += 1
    if device == "cuda":
        assert back.is_pinned() or not x.numel()  # memory of no bytes is nowhere
        torch.cuda.synchronize()
    assert back.tolist() == torch.arange(x.numel()).reshape(shape).tolist()
