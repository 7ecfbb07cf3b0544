"""One optimisation step: forward and backward of a batch, on a GPU as a CUDA graph for each row length."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_adapters.reference import fast_paths
from model_adapters.reference.batches import Batch

PEAK_RATES = {"hybrid": 2e-3, "transformer": 1e-3}
"""Highest learning rate of a training from fresh weights, by kind."""
CONTINUED_RATE_SHARE = 0.25
"""Share of that rate if a checkpoint is trained further, so that its weights stay near their minimum."""
CLIP_NORM = 1.0
WARMUP = 0.02
"""Share of a phase in which the learning rate rises."""


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then a cosine to zero at `progress` 1."""
    if progress < WARMUP:
        return peak * progress / WARMUP
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARMUP) / (1 - WARMUP))))


@dataclass(frozen=True, slots=True)
class Inputs:
    """A batch on the device; P scored positions."""

    token_ids_BT: Tensor
    positions_P: Tensor
    targets_P: Tensor
    weights_P: Tensor

    @staticmethod
    def of(batch: Batch, device: torch.device) -> "Inputs":
        arrays = (batch.token_ids_BT, batch.positions_P, batch.targets_P, batch.weights_P)
        return Inputs(*(torch.from_numpy(array).to(device, non_blocking=True) for array in arrays))

    def copy_from(self, other: "Inputs") -> None:
        """Overwrite in place: a captured graph reads these very tensors."""
        self.token_ids_BT.copy_(other.token_ids_BT)
        self.positions_P.copy_(other.positions_P)
        self.targets_P.copy_(other.targets_P)
        self.weights_P.copy_(other.weights_P)


class GradientStep:
    """Gradients of the weighted next-token loss at a batch's scored positions.

    After a call, the parameters hold their gradients, `loss_P` each position's loss in nats and `correct_P`
    whether the likeliest token was the right one.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.loss_P: Tensor | None = None
        self.correct_P: Tensor | None = None
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Inputs]] = {}
        self._pool: Any = None

    def __call__(self, inputs: Inputs) -> None:
        if self.device.type != "cuda":
            self._zero()
            self._backward(inputs)
            return
        shape = tuple(inputs.token_ids_BT.shape)
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(inputs)
        graph, fixed = self._graphs[shape]
        fixed.copy_from(inputs)
        graph.replay()

    def _zero(self) -> None:
        for parameter in self.model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.zero_()

    def _backward(self, inputs: Inputs) -> None:
        model = self.model
        # Weights are cast anew each time: autocast's cache would keep tensors of another graph alive.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False):
            hidden = model.model(  # type: ignore[operator]
                input_ids=inputs.token_ids_BT, attention_mask=fast_paths.masks(), use_cache=False
            ).last_hidden_state
            hidden_PD = hidden.reshape(-1, hidden.shape[-1])[inputs.positions_P]
            logits_PV = model.lm_head(hidden_PD).float()  # type: ignore[operator]
        loss_P = F.cross_entropy(logits_PV, inputs.targets_P, reduction="none")
        (loss_P * inputs.weights_P).sum().backward()  # type: ignore[no-untyped-call]
        correct_P = logits_PV.detach().argmax(-1) == inputs.targets_P
        if self.loss_P is None or self.correct_P is None:
            self.loss_P, self.correct_P = torch.empty_like(loss_P), torch.empty_like(correct_P)
        self.loss_P.copy_(loss_P.detach())
        self.correct_P.copy_(correct_P)

    def _capture(self, inputs: Inputs) -> tuple[torch.cuda.CUDAGraph, Inputs]:
        fixed = Inputs(*(tensor.clone() for tensor in _tensors(inputs)))
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._zero()
                self._backward(fixed)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._zero()
            self._backward(fixed)
        # Replays never overlap and their results live outside the pool, so all lengths can share it.
        self._pool = self._pool or graph.pool()
        return graph, fixed


def _tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    return inputs.token_ids_BT, inputs.positions_P, inputs.targets_P, inputs.weights_P


def make_optimizer(model: nn.Module, *, peak: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = next(model.parameters()).device.type == "cuda"
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), fused=fused)


def apply(optimizer: torch.optim.Optimizer, model: nn.Module, rate: float) -> None:
    """Clip the gradients and take a step at `rate`."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM, foreach=True)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
