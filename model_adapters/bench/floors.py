"""The least time for prefill and decode: operations over the product rate, bytes over the copy rate of a device."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from model_adapters.bench.record import Ceilings
from model_adapters.engine.forward.full_precision_head import output_embeddings
from model_adapters.engine.memory.cost import slot_cost
from model_adapters.engine.memory.layer_kinds import layer_kinds
from model_adapters.engine.memory.layer_sizes import head_size


@dataclass(frozen=True, slots=True)
class Work:
    """The minimum of operations and bytes, for any implementation."""

    flops: float
    bytes: float

    def floor_seconds(self, ceilings: Ceilings) -> float:
        """The larger of the two times."""
        return max(self.flops / ceilings.product_flops, self.bytes / ceilings.copy_bytes_per_second)


def prefill_work(model: PreTrainedModel, tokens: int) -> Work:
    """A prompt of `tokens` tokens, and the logits after its last; excludes the gated delta rule's own operations."""
    head = output_embeddings(model).weight
    flops = _matrix_flops(model) * tokens + 2 * head.numel() + _attention_flops(model, tokens)
    return Work(flops, _weight_bytes(model) + slot_cost(model.config, model.dtype).bytes(tokens))


def decode_work(model: PreTrainedModel, tokens: int, sequences: int) -> Work:
    """One more token for each of `sequences` sequences of `tokens` tokens."""
    head = output_embeddings(model).weight
    per_sequence = _matrix_flops(model) + 2 * head.numel() + _attention_flops(model, tokens + 1, queries=1)
    cost = slot_cost(model.config, model.dtype)
    # States are read and written; of the KV cache only one place is written.
    per_slot = cost.bytes(tokens) + cost.state_bytes
    return Work(per_sequence * sequences, _weight_bytes(model) + per_slot * sequences)


def _matrix_flops(model: PreTrainedModel) -> float:
    """Operations per token in all matrices except embeddings; of the experts, only those that a token uses."""
    config = model.config
    experts, chosen = getattr(config, "num_experts", None), getattr(config, "num_experts_per_tok", None)
    left_out = {id(model.get_input_embeddings().weight), id(output_embeddings(model).weight)}
    flops = 0.0
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or id(parameter) in left_out:
            continue
        share = chosen / experts if ".experts." in name and experts and chosen else 1.0
        flops += 2 * parameter.numel() * share
    return flops


def _attention_flops(model: PreTrainedModel, tokens: int, queries: int | None = None) -> float:
    """Scores and weighted sums of all attention layers, for the last `queries` of `tokens` positions (all of them)."""
    kinds, config = layer_kinds(model.config), model.config
    per_pair = 4 * getattr(config, "num_attention_heads", 0) * head_size(config)
    queries = tokens if queries is None else queries
    windows = [(config.sliding_window if kind.windowed else tokens) for kind in kinds if kind.attention]
    return per_pair * float(sum(_pairs(tokens, queries, window) for window in windows))


def _pairs(tokens: int, queries: int, window: int) -> int:
    """Keys that the last `queries` of `tokens` positions see, summed: position p sees min(p + 1, window)."""

    def seen_before(position: int) -> int:
        growing = min(position, window)
        return growing * (growing + 1) // 2 + (position - growing) * window

    return seen_before(tokens) - seen_before(tokens - queries)


def _weight_bytes(model: PreTrainedModel) -> int:
    """Bytes of the weights read in every pass, without the input embeddings unless the head shares them."""
    table: nn.Parameter = model.get_input_embeddings().weight  # type: ignore[assignment]
    total = sum(parameter.nbytes for parameter in model.parameters())
    return total if table is output_embeddings(model).weight else total - table.nbytes
