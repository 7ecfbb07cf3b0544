"""Position schemes of checkpoints: as config.json states them, and as transformers built them.

The two differ if config.json leaves something out: transformers then fills in a value, and the model that runs is not
the one that was trained. Kinds: none; RoPE (arXiv:2104.09864); linear interpolation (arXiv:2306.15595) and
dynamic NTK scaling of it; YaRN (arXiv:2309.00071); LongRoPE (arXiv:2402.13753); Llama 3's scaling (arXiv:2407.21783).
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from evalkit.records import PositionScheme

Kind = Literal["none", "rope", "linear", "dynamic", "yarn", "longrope", "llama3", "other"]

KINDS: dict[str, Kind] = {
    "default": "rope",
    "linear": "linear",
    "dynamic": "dynamic",
    "yarn": "yarn",
    "longrope": "longrope",
    "llama3": "llama3",
}
# Their attention, if any, uses no positions in transformers' code.
FAMILIES_WITHOUT_POSITIONS = frozenset(
    {"mamba", "mamba2", "falcon_mamba", "jamba", "kimi_linear", "nemotron_h", "rwkv", "xlstm", "zamba"}
)
TABLE = re.compile(r"(^|\.)(wpe|embed_positions|positions_embed|position_embeddings?|pos_encoding)$")
OTHER_MODALITIES = re.compile(r"vision|visual|audio|image")
THETA_KEY = re.compile(r"(rope|rotary).*(theta|base)")
ORIGINAL_LENGTH = "original_max_position_embeddings"
KINDS_WITH_ORIGINAL_LENGTH = ("yarn", "longrope", "llama3")


def read_positions(config_json: Mapping[str, Any], model: PreTrainedModel) -> PositionScheme:
    """The position scheme of a built model.

    `config_json` is config.json as written; values that the built model has and `config_json` does not state are called
    injected.
    """
    config = model.config.get_text_config()
    if getattr(config, "alibi", False) or config.model_type in ("bloom", "mpt"):
        return PositionScheme(kind="other", description="ALiBi (a bias by distance)")
    if _has_rotary(model):
        return _rotary_scheme(_text_part(config_json), model)
    if (learned := _learned_positions(model)) is not None:
        return PositionScheme(kind="other", description=f"learned absolute positions, at most {learned:,}")
    if _rotary_left_out(model):
        dropped = states_null_theta(config_json)
        return PositionScheme(kind="none", description="none (DRoPE: rope_theta is null)" if dropped else "none")
    if config.model_type in FAMILIES_WITHOUT_POSITIONS:
        return PositionScheme(kind="none", description="none")
    return PositionScheme(kind="other", description=f"not recognised for the family {config.model_type}")


def read_trained_length(
    config_json: Mapping[str, Any], config: PreTrainedConfig, positions: PositionScheme
) -> int | None:
    """Length to which the checkpoint states it was trained or extended, in tokens; None if it does not state one.

    With YaRN some checkpoints state the extended length and some the original one: the larger of the stated length
    and original × factor counts.
    """
    text = _text_part(config_json)
    name = "max_position_embeddings"
    stated = text.get(name, text.get(config.get_text_config().attribute_map.get(name, name)))
    if not isinstance(stated, int):
        return None
    if positions.kind == "yarn" and positions.original_length is not None and positions.factor is not None:
        return max(stated, round(positions.original_length * positions.factor))
    return stated


def states_null_theta(config_json: Mapping[str, Any]) -> bool:
    """Whether config.json states that rotary positions were dropped (DRoPE), as opposed to stating nothing."""
    return None in _stated(_text_part(config_json), THETA_KEY)


def _text_part(config_json: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a configuration that also describes other models."""
    part = config_json.get("text_config")
    return part if isinstance(part, Mapping) else config_json


def _has_rotary(model: PreTrainedModel) -> bool:
    return any(type(module).__name__.endswith("RotaryEmbedding") for module in model.modules())


def _rotary_left_out(model: PreTrainedModel) -> bool:
    """Whether the model has an empty place for a rotary embedding."""
    return any(getattr(module, "rotary_emb", module) is None for module in model.modules())


def table_end(model: PreTrainedModel) -> int | None:
    """Size of the model's table of positions, which no text can exceed; None if positions are computed."""
    if (learned := _learned_positions(model)) is not None:
        return learned
    buffers = (buffer for name, buffer in model.named_buffers() if TABLE.search(name) and buffer.ndim == 2)
    return next((buffer.shape[0] for buffer in buffers), None)


def _learned_positions(model: PreTrainedModel) -> int | None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and TABLE.search(name) and not OTHER_MODALITIES.search(name):
            # Some families begin after the padding row, others after unused rows.
            padding = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - max(padding, int(getattr(module, "offset", 0)))
    return None


def _stated(values: Mapping[str, Any], key_pattern: re.Pattern[str]) -> list[Any]:
    """Every value in a nested configuration whose key matches."""
    return list(_walk(values, key_pattern))


def _walk(values: Mapping[str, Any], key_pattern: re.Pattern[str]) -> Iterator[Any]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _walk(value, key_pattern)
        elif key_pattern.search(key):
            yield value


@dataclass(frozen=True, slots=True)
class _Rotary:
    """The rotary embedding of one kind of layer, as built."""

    kind: Kind
    type_name: str
    theta: float | None
    factor: float | None
    original_length: int | None
    extended_length: int | None
    partial: float

    def describe(self) -> str:
        theta = "RoPE" if self.theta is None else f"RoPE θ={self.theta:.10g}"
        times = "" if self.factor is None else f" ×{self.factor:g}"
        start = "" if self.original_length is None else f" from {self.original_length:,}"
        end = "" if self.extended_length is None else f" to {self.extended_length:,}"
        beyond = "" if self.original_length is None else f" beyond {self.original_length:,} tokens"
        text = {
            "rope": theta,
            "linear": f"{theta}, linear scaling{times}",
            "dynamic": f"{theta}, dynamic NTK scaling{times}{beyond}",
            "yarn": f"YaRN{times}{start}{end} tokens, {theta}",
            "longrope": f"LongRoPE{times}{start}{end} tokens, {theta}",
            "llama3": f"{theta}, Llama 3 scaling{times}{start} tokens",
        }.get(self.kind, f"{theta}, scaling {self.type_name!r}{times}")
        return text if self.partial == 1.0 else f"{text}, on {self.partial:.0%} of each head"


def _rotary_scheme(stated: Mapping[str, Any], model: PreTrainedModel) -> PositionScheme:
    config = model.config.get_text_config()
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, Mapping) or not parameters:
        return PositionScheme(kind="other", description=f"rotary, in a form of its own ({config.model_type})")
    by_layer_type = {
        layer_type: None if values is None else _built(values, config, _theta_of(_frequencies(model, layer_type)))
        for layer_type, values in _by_layer_type(parameters, config).items()
    }
    notes = _injected(by_layer_type, stated)
    parts = {
        layer_type: "none" if rotary is None else rotary.describe() for layer_type, rotary in by_layer_type.items()
    }
    texts = list(dict.fromkeys(parts.values()))
    description = texts[0] if len(texts) == 1 else "; ".join(f"{name}: {text}" for name, text in parts.items())
    first = next((rotary for rotary in by_layer_type.values() if rotary is not None), None)
    if first is None:
        return PositionScheme(kind="none", description="none")
    return PositionScheme(
        kind=first.kind,
        description=" ".join([description + _unrotated_layers(config), *notes]),
        theta=first.theta,
        factor=first.factor,
        original_length=first.original_length,
        injected=bool(notes),
    )


def _by_layer_type(parameters: Mapping[str, Any], config: PreTrainedConfig) -> dict[str, Mapping[str, Any] | None]:
    """Parameters by layer type; full attention comes first, because it decides the reach of a model."""
    # As `nested_rope_parameter_keys` of the configuration, which transformers 5.17 lacks.
    labels = getattr(config, "_rope_type_labels", None) or getattr(config, "layer_types", None) or ()
    nested = [name for name in parameters if name in labels]
    if not nested:
        return {"all": parameters}
    used = [name for name in nested if name in (getattr(config, "layer_types", None) or nested)]
    return {name: parameters[name] for name in sorted(used, key=lambda name: (name != "full_attention", name))}


def _frequencies(model: PreTrainedModel, layer_type: str) -> torch.Tensor | None:
    """The language model's rotary frequencies for a type of layer, as built."""
    for name, module in model.named_modules():
        if type(module).__name__.endswith("RotaryEmbedding") and not OTHER_MODALITIES.search(name):
            buffers = dict(module.named_buffers(recurse=False))
            return buffers.get(f"{layer_type}_inv_freq", buffers.get("inv_freq"))
    return None


def _theta_of(inv_freq: torch.Tensor | None) -> float | None:
    """θ of n frequencies c·θ^(-i/n); None for frequencies of another form, such as YaRN's."""
    if inv_freq is None or inv_freq.ndim != 1 or inv_freq.numel() < 2:
        return None
    logs = inv_freq.double().cpu().log()
    step = (logs[0] - logs[-1]) / (logs.numel() - 1)
    straight = logs[0] - step * torch.arange(logs.numel())
    if not torch.allclose(logs, straight, rtol=0.0, atol=1e-4):
        return None
    return math.exp(float(step) * logs.numel())


def _same(one: Any, other: Any) -> bool:
    """Whether two θ are equal up to the precision of fp32 frequencies."""
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return math.isclose(one, other, rel_tol=1e-3) if numbers else one == other


def _built(values: Mapping[str, Any], config: PreTrainedConfig, built_theta: float | None) -> _Rotary:
    theta = values.get("rope_theta")
    if built_theta is not None and not _same(built_theta, theta):
        # If a module does not follow its own configuration, the module decides.
        theta = built_theta
    type_name = str(values.get("rope_type", "default"))
    kind = KINDS.get(type_name, "other")
    length = getattr(config, "max_position_embeddings", None)
    original = values.get(ORIGINAL_LENGTH) if kind in KINDS_WITH_ORIGINAL_LENGTH else None
    if kind == "dynamic":
        # Its formula starts from max_position_embeddings, and up to there changes nothing.
        original = length
    factor = values.get("factor")
    if factor is None and kind in ("yarn", "longrope") and original and length:
        factor = length / original
    extended = length
    if kind == "yarn" and original and factor:
        extended = max(length or 0, round(original * factor))
    return _Rotary(
        kind=kind,
        type_name=type_name,
        theta=theta,
        factor=factor,
        original_length=original,
        extended_length=extended,
        partial=float(values.get("partial_rotary_factor") or 1.0),
    )


def _injected(by_layer_type: Mapping[str, _Rotary | None], stated: Mapping[str, Any]) -> list[str]:
    """One remark per value that the built model has and the checkpoint does not state."""
    thetas, lengths = _stated(stated, THETA_KEY), _stated(stated, re.compile(ORIGINAL_LENGTH))
    notes: dict[str, None] = {}
    for rotary in by_layer_type.values():
        if rotary is None:
            continue
        if rotary.theta is not None and not any(_same(rotary.theta, theta) for theta in thetas):
            instead = "none" if not thetas else " and ".join(_text(theta) for theta in dict.fromkeys(thetas))
            notes[f"(θ={rotary.theta:.10g} is injected by transformers: the checkpoint states {instead})"] = None
        if rotary.kind in KINDS_WITH_ORIGINAL_LENGTH and rotary.original_length not in lengths:
            notes[
                f"(the original length {rotary.original_length:,} is injected by transformers: "
                "the checkpoint states none)"
            ] = None
    return list(notes)


def _text(theta: Any) -> str:
    return "null" if theta is None else f"{theta:.10g}" if isinstance(theta, int | float) else repr(theta)


def _unrotated_layers(config: PreTrainedConfig) -> str:
    """Some families leave positions out of every n-th layer: `no_rope_layers` holds 1 where RoPE is used."""
    layers = getattr(config, "no_rope_layers", None)
    if not isinstance(layers, list) or all(layers):
        return ""
    return f", none in {layers.count(0)} of {len(layers)} layers"
