"""The least time for prefill and decode: necessary work, each kind at the rate that the device reached in this run.

Matrix products, attention, and what lies between them run one after another, so their times are added. Each kind needs
the larger of its operations over the rate for that kind and its bytes over the rate of reading; what lies between is
also written, and takes the time of a copy.
"""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from model_adapters.bench.layer_kinds import layer_kinds
from model_adapters.bench.record import Ceilings
from model_adapters.bench.slot_cost import slot_cost
from model_adapters.engine.forward.full_precision_head import output_embeddings
from model_adapters.engine.forward.last_layer import last_mlp
from model_adapters.engine.memory.layer_sizes import head_size, linear_sizes


@dataclass(frozen=True, slots=True)
class Work:
    """The minimum of operations and bytes of one kind of work."""

    flops: float
    bytes: float

    def floor_seconds(self, ceilings: Ceilings) -> float:
        """The larger of the two times, operations at the rate of a matrix product and bytes at that of reading."""
        return max(self.flops / ceilings.product_flops, self.bytes / ceilings.reading)


@dataclass(frozen=True, slots=True)
class PassWork:
    """The work of a prompt or a decode step."""

    products: Work
    """Products with weights, and each weight read once."""
    attention: Work
    """Scores and weighted sums, and the KV cache: read in decoding, and written in prefill, where operations decide."""
    between_bytes: float
    """Bytes that norms, gated activations, convolutions and recurrences read and write; see `_between_values`."""

    def floor_seconds(self, ceilings: Ceilings) -> float:
        """The sum of the times of all kinds."""
        attention_flops = ceilings.attention_flops or ceilings.product_flops
        attention = max(self.attention.flops / attention_flops, self.attention.bytes / ceilings.reading)
        return self.products.floor_seconds(ceilings) + attention + self.between_bytes / ceilings.copy_bytes_per_second


def prefill_work(model: PreTrainedModel, tokens: int) -> PassWork:
    """A prompt of `tokens` tokens, and the logits after its last.

    In the last layer, only the last token's query, attention and MLP count: nothing reads others'. Excludes the gated
    delta rule's own operations.
    """
    head, unread = output_embeddings(model).weight, _unread_parameters(model)
    flops = _matrix_flops(model) * tokens - 2 * unread * (tokens - 1) + 2 * head.numel()
    cost = slot_cost(model.config, model.dtype)
    return PassWork(
        Work(flops, _weight_bytes(model)),
        Work(_attention_flops(model.config, tokens, last_layer_queries=1), cost.bytes(tokens) - cost.state_bytes),
        _between_values(model) * tokens * model.dtype.itemsize + cost.state_bytes,
    )


def decode_work(model: PreTrainedModel, tokens: int, sequences: int) -> PassWork:
    """One more token for each of `sequences` sequences of `tokens` tokens."""
    head = output_embeddings(model).weight
    cost = slot_cost(model.config, model.dtype)
    attention = _attention_flops(model.config, tokens + 1, queries=1)
    # States are read and written; of the KV cache only one place is written.
    between = _between_values(model) * model.dtype.itemsize + 2 * cost.state_bytes
    return PassWork(
        Work((_matrix_flops(model) + 2 * head.numel()) * sequences, _weight_bytes(model)),
        Work(attention * sequences, (cost.bytes(tokens) - cost.state_bytes) * sequences),
        between * sequences,
    )


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


def _unread_parameters(model: PreTrainedModel) -> int:
    """Weights of the last layer that only the last token needs: of queries, output projection and a dense MLP."""
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    attention = getattr(decoder.layers[-1], "self_attn", None) if hasattr(decoder, "layers") else None
    modules = [last_mlp(decoder), *(getattr(attention, name, None) for name in ("q_proj", "o_proj"))]
    weights = (weight for module in modules if module is not None for weight in module.parameters())
    return sum(weight.numel() for weight in weights if weight.dim() > 1)


def _attention_flops(
    config: PreTrainedConfig, tokens: int, queries: int | None = None, last_layer_queries: int | None = None
) -> float:
    """Scores and weighted sums of all attention layers, for the last `queries` of `tokens` positions (all of them)."""
    kinds = layer_kinds(config)
    per_pair = 4 * getattr(config, "num_attention_heads", 0) * head_size(config)
    queries = tokens if queries is None else queries
    pairs = 0
    for index, kind in enumerate(kinds):
        if kind.attention:
            count = queries if last_layer_queries is None or index < len(kinds) - 1 else last_layer_queries
            pairs += _pairs(tokens, count, config.sliding_window if kind.windowed else tokens)
    return per_pair * float(pairs)


def _pairs(tokens: int, queries: int, window: int) -> int:
    """Keys that the last `queries` of `tokens` positions see, summed: position p sees min(p + 1, window)."""

    def seen_before(position: int) -> int:
        growing = min(position, window)
        return growing * (growing + 1) // 2 + (position - growing) * window

    return seen_before(tokens) - seen_before(tokens - queries)


def _between_values(model: PreTrainedModel) -> int:
    """Values per token that are read and written between products, by operators that read and write each once.

    Norms over the hidden size, gated activations of dense MLPs, and a linear-attention layer's convolution and
    recurrence. Other operators are left out, so that the floor stays below what any implementation needs.
    """
    config, values = model.config, 0
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    unread = last_mlp(decoder)
    for module in decoder.modules():
        weight = getattr(module, "weight", None)
        down = getattr(module, "down_proj", None)
        if "Norm" in type(module).__name__ and isinstance(weight, nn.Parameter):
            values += 2 * weight.numel() if weight.shape == (config.hidden_size,) else 0
        elif isinstance(down, nn.Linear) and module is not unread:
            values += (3 if hasattr(module, "gate_proj") else 2) * down.in_features
    channels = linear_sizes(config).conv_channels
    return values + 3 * channels * sum(kind.states for kind in layer_kinds(config))


def _weight_bytes(model: PreTrainedModel) -> int:
    """Bytes of the weights read in every pass, without the input embeddings unless the head shares them."""
    table: nn.Parameter = model.get_input_embeddings().weight  # type: ignore[assignment]
    total = sum(parameter.nbytes for parameter in model.parameters())
    return total if table is output_embeddings(model).weight else total - table.nbytes
