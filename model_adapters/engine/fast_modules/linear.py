"""Run linear layers with the Triton matrix-vector product for passes of one token, and with PyTorch otherwise."""

from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel

from model_adapters.kernels.vector_product.linear import has_vector_product, linear
from model_adapters.module_patches import ModulePatches


def place_vector_products(model: PreTrainedModel, patches: ModulePatches) -> int:
    """Let a model's linear layers use the kernel for single tokens; returns the number of such layers.

    The output embeddings are excluded: the engine computes them in fp32.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    layers = [module for module in model.modules() if type(module) is nn.Linear and module is not head]
    fitting = [layer for layer in layers if has_vector_product(layer.weight)]
    for layer in fitting:
        patches.place(layer, "forward", _fast_linear(layer))
    return len(fitting)


def _fast_linear(layer: nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(input: torch.Tensor) -> torch.Tensor:  # the parameter name of nn.Linear
        return linear(input, layer.weight, layer.bias)

    return forward
