"""FlashAttention 3 from an installed vLLM, under the name of its own package, for measurements without that package.

    PYTHONPATH=benchmarks/flash_attention_3 python benchmarks/beside_vllm.py evalkit --shape olmo3-7b

vLLM's wheel has FlashAttention 3's kernels behind an operator of its own, with other arguments at the end. PyTorch
imports this module when FlashAttention 3 is activated, and calls `torch.ops.flash_attn_3.fwd`.
"""

import importlib.util
from pathlib import Path
from typing import Any

import torch

LIBRARY = "vllm_flash_attn/_vllm_fa3_C.abi3.so"
SCALE = 23
BEFORE_CHUNK, BEHIND_CHUNK, END = 27, 28, 34
"""Places among the arguments of FlashAttention 3; vLLM's operator has no chunk, and four arguments after the others."""


def vllm_arguments(*arguments: Any) -> tuple[Any, ...]:
    """The arguments of vLLM's operator for those of FlashAttention 3."""
    if len(arguments) != END:
        raise TypeError(f"{len(arguments)} arguments; this version of PyTorch calls another FlashAttention 3")
    scale = arguments[0].shape[-1] ** -0.5 if arguments[SCALE] is None else arguments[SCALE]
    shared = *arguments[:SCALE], scale, *arguments[SCALE + 1 : BEFORE_CHUNK], *arguments[BEHIND_CHUNK:]
    sinks, context_ranks, context_rank, context_keys = None, 1, 0, None
    return *shared, sinks, context_ranks, context_rank, context_keys


def forward(*arguments: Any) -> Any:
    """FlashAttention 3's forward pass by vLLM's operator."""
    return torch.ops._vllm_fa3_C.fwd(*vllm_arguments(*arguments))


def backward(*_: Any) -> Any:
    """Nothing that is measured needs it, but PyTorch looks for it."""
    raise NotImplementedError("vLLM has no backward pass of FlashAttention 3")


_vllm = importlib.util.find_spec("vllm")
if _vllm is None or _vllm.origin is None:
    raise ImportError("vllm is not installed")
torch.ops.load_library(str(Path(_vllm.origin).parent / LIBRARY))
torch.ops.flash_attn_3.fwd = forward
torch.ops.flash_attn_3.bwd = backward
