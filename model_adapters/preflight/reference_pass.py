"""One plain forward pass of transformers' own code, with the gated delta rule computed by its definition.

Shape suffixes: B sequences, T tokens, H heads, K key size, V value size.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from model_adapters.engine.forward.full_precision_head import full_precision_head
from model_adapters.engine.forward.slot_attention import attention_set_to
from model_adapters.kernels.gated_delta.reference import recurrent_gated_delta_rule
from model_adapters.module_patches import patches_of
from model_adapters.preflight.full_precision import in_full_precision
from model_adapters.preflight.gaps import Reference
from model_adapters.preflight.trace import LayerRecorder, Trace

EAGER_TOKENS = 2048
CHUNK_RULE = "torch_chunk_gated_delta_rule"
"""Name of the gated delta rule's function in transformers' modeling modules."""


@torch.no_grad()
def reference(model: PreTrainedModel, token_ids: Sequence[int]) -> Reference:
    """Run a prompt in one pass of transformers' own code: in fp32, and also in the model's dtype if that is lower."""
    choices = _Choices()
    with rule_by_definition(model):
        if model.dtype.itemsize >= torch.float32.itemsize:
            return Reference(model, plain_trace(model, token_ids), None)
        with in_full_precision(model), choices:
            truth = plain_trace(model, token_ids)
    rounded_otherwise = partial(_rounded_otherwise, model, token_ids) if choices.made else None
    return Reference(model, truth, plain_trace(model, token_ids), rounded_otherwise)


_PICKS = frozenset(getattr(owner, name) for owner in (torch, torch.Tensor) for name in ("topk", "max", "argmax"))


class _Choices(TorchFunctionMode):
    """Records whether a pass selects the best of several values, as routers do; rounding may change the choice."""

    def __init__(self) -> None:
        super().__init__()
        self.made = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made = self.made or function in _PICKS
        return function(*args, **(kwargs or {}))


def _rounded_otherwise(model: PreTrainedModel, token_ids: Sequence[int], seed: int) -> Trace:
    """`plain_trace` with the embeddings perturbed by less than their own rounding error."""
    generator = torch.Generator().manual_seed(seed)
    half_step = torch.finfo(model.dtype).eps / 2

    def disturb(_module: Any, _arguments: Any, embedded: torch.Tensor) -> torch.Tensor:
        noise = (2 * torch.rand(embedded.shape, generator=generator) - 1).to(embedded.device)
        return (embedded.float() * (1 + half_step * noise)).to(embedded.dtype)

    handle = model.get_input_embeddings().register_forward_hook(disturb)
    try:
        return plain_trace(model, token_ids)
    finally:
        handle.remove()


@torch.no_grad()
def plain_trace(model: PreTrainedModel, token_ids: Sequence[int]) -> Trace:
    """Layers and logits of one pass without a cache, with transformers' own attention and the current modules."""
    recorder = LayerRecorder(model, len(token_ids))
    id_1T = torch.tensor([token_ids], dtype=torch.long, device=model.device)
    # Eager attention stores several scores for every pair of positions.
    attention = "sdpa" if len(token_ids) > EAGER_TOKENS and model._supports_sdpa else "eager"
    with recorder.recording(), _own_code(model, attention):
        logits_TV = model(input_ids=id_1T, use_cache=False).logits[0]
    return recorder.trace(logits_TV)


@torch.no_grad()
def padded_logits(model: PreTrainedModel, long_ids: Sequence[int], short_ids: Sequence[int]) -> torch.Tensor:
    """Logits [short, vocabulary] of a short prompt that is left-padded in a batch with a longer one."""
    padding = len(long_ids) - len(short_ids)
    id_BT = torch.tensor([list(long_ids), [long_ids[0]] * padding + list(short_ids)], device=model.device)
    mask_BT = torch.ones_like(id_BT)
    mask_BT[1, :padding] = 0
    position_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    with _own_code(model, "eager"):
        output = model(input_ids=id_BT, attention_mask=mask_BT, position_ids=position_BT, use_cache=False)
    found: torch.Tensor = output.logits[1, padding:].float()
    return found


@contextmanager
def _own_code(model: PreTrainedModel, attention: str) -> Iterator[None]:
    """Use transformers' own modules and attention in this block; only the logits are computed in fp32."""
    with attention_set_to(model, attention), full_precision_head(model), patches_of(model).off():
        yield


@contextmanager
def rule_by_definition(model: PreTrainedModel) -> Iterator[None]:
    """Compute the model's gated delta rule token by token in this block."""
    modules = _modules_with_rule(model)
    own = [getattr(module, CHUNK_RULE) for module in modules]
    for module in modules:
        setattr(module, CHUNK_RULE, _by_definition)
    try:
        yield
    finally:
        for module, rule in zip(modules, own, strict=True):
            setattr(module, CHUNK_RULE, rule)


def has_rule(model: PreTrainedModel) -> bool:
    """Whether the model's code has a gated delta rule."""
    return bool(_modules_with_rule(model))


def _modules_with_rule(model: PreTrainedModel) -> list[ModuleType]:
    names = sorted({type(module).__module__ for module in model.modules()})
    return [sys.modules[name] for name in names if hasattr(sys.modules[name], CHUNK_RULE)]


def _by_definition(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    *,
    g: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    use_qk_l2norm_in_kernel: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The recurrent definition of the rule, with the signature of transformers' function."""
    return recurrent_gated_delta_rule(
        q_BTHK,
        k_BTHK,
        v_BTHV,
        log_decay_BTH=g,
        beta_BTH=beta,
        initial_state_BHKV=initial_state,
        normalize_qk=use_qk_l2norm_in_kernel,
    )
