"""Forced position schemes: control experiments, which every output marks as such.

A position scheme is a property of a checkpoint; forcing another one makes a different model.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from evalkit.did_you_mean import check_known
from evalkit.errors import UsageError
from evalkit.records import PositionScheme
from model_adapters.engine.memory.layer_sizes import head_size

# scheme -> (required values, optional values)
SCHEMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none": ((), ()),
    "rope": (("theta",), ()),
    "linear": (("factor",), ("theta",)),
    "ntk": (("factor",), ("theta",)),
    "yarn": (("factor", "original"), ("theta",)),
}
FULL_ATTENTION = "full_attention"


@dataclass(frozen=True, slots=True)
class PositionOverride:
    """A parsed override; make it with `parse`."""

    text: str
    """The override as the user wrote it."""
    scheme: str
    values: dict[str, float]

    @staticmethod
    def parse(text: str) -> "PositionOverride":
        """From `yarn:factor=8,original=8192`, `rope:theta=500000`, `linear:factor=4`, `ntk:factor=4` or `none`.

        Raises UsageError for anything else.
        """
        scheme, _, rest = text.partition(":")
        check_known("position scheme of --override", [scheme], SCHEMES)
        needed, optional = SCHEMES[scheme]
        values = {}
        for part in filter(None, rest.split(",")):
            match = re.fullmatch(r"(\w+)=([0-9.eE+]{1,20})", part.strip())
            if match is None or match[1] not in (*needed, *optional) or not (value := _number(match[2])):
                names = ", ".join(f"{name}=…" for name in (*needed, *optional)) or "nothing"
                raise UsageError(f"--override {text!r}: {part!r} is not understood; {scheme} takes {names}")
            values[match[1]] = value
        if "original" in values and values["original"] != int(values["original"]):
            raise UsageError(f"--override {text!r}: original is a number of tokens, such as original=8192")
        if values.get("factor", 1.0) < 1:
            raise UsageError(f"--override {text!r}: factor is {values['factor']:g}; it stretches by 1 or more")
        missing = [name for name in needed if name not in values]
        if missing:
            raise UsageError(f"--override {text!r}: {scheme} needs {missing[0]}; write {scheme}:{missing[0]}=…")
        return PositionOverride(text, scheme, values)

    def configure(self, config: PreTrainedConfig) -> dict[str, Any]:
        """Change a configuration before its model is built; returns the new rotary parameters.

        If kinds of layers have their own parameters, those of full attention are changed. Raises UsageError if the
        family has none, or no θ is known.
        """
        text_config = config.get_text_config()
        parameters = getattr(text_config, "rope_parameters", None)
        if self.scheme == "none":
            return dict(parameters or {})
        if not isinstance(parameters, dict):
            raise UsageError(
                f"--override {self.text}: the family {text_config.model_type} has no rotary positions to change"
            )
        if isinstance(parameters.get(FULL_ATTENTION), dict):
            changed = {**parameters, FULL_ATTENTION: self._rotary(parameters[FULL_ATTENTION], text_config)}
        else:
            changed = self._rotary(parameters, text_config)
        text_config.rope_parameters = changed
        return changed

    def finish(self, model: PreTrainedModel, built: PositionScheme) -> None:
        """Remove the rotary positions of a model that was built with the scheme `built`, if `none` is forced.

        Raises UsageError for positions of another kind, which cannot be removed.
        """
        if self.scheme != "none":
            return
        rotary = [
            (parent, name, module)
            for parent in model.modules()
            for name, module in parent.named_children()
            if type(module).__name__.endswith("RotaryEmbedding")
        ]
        if not rotary and built.kind != "none":
            raise UsageError(
                f"--override {self.text}: the model has {built.description}, and only rotary positions can be removed"
            )
        for parent, name, module in rotary:
            setattr(parent, name, NoRotation(module, self.text))

    def describe(self, built: PositionScheme) -> PositionScheme:
        """The scheme that the changed model has, marked as forced."""
        scheme = PositionScheme(kind="none", description="none") if self.scheme == "none" else built
        # NTK-aware scaling is a θ, so the built model does not show whether it was trained with that θ.
        stretched = f"NTK-aware ×{self.values['factor']:g}, " if self.scheme == "ntk" else ""
        return replace(
            scheme,
            description=f"{scheme.description} ({stretched}forced by --override, not the checkpoint's own)",
            override=self.text,
        )

    def _rotary(self, own: dict[str, Any], config: PreTrainedConfig) -> dict[str, Any]:
        theta = self.values.get("theta", own.get("rope_theta"))
        if theta is None:
            raise UsageError(f"--override {self.text}: the checkpoint states no θ; add theta=…")
        kept = {name: own[name] for name in ("partial_rotary_factor",) if name in own}
        factor = self.values.get("factor", 1.0)
        match self.scheme:
            case "linear":
                return {**kept, "rope_type": "linear", "rope_theta": theta, "factor": factor}
            case "yarn":
                original = int(self.values["original"])
                return {
                    **kept,
                    "rope_type": "yarn",
                    "rope_theta": theta,
                    "factor": factor,
                    "original_max_position_embeddings": original,
                }
            case "ntk":
                # The formula that dynamic NTK scaling has at `factor` times the original length, for every length.
                size = _rotated_size(config, own)
                if size <= 2:
                    raise UsageError(
                        f"--override {self.text}: only {size} dimensions of a head are rotated; use linear or yarn"
                    )
                return {**kept, "rope_type": "default", "rope_theta": theta * factor ** (size / (size - 2))}
            case _:
                return {**kept, "rope_type": "default", "rope_theta": theta}


class NoRotation(nn.Module):
    """Replaces a rotary embedding and rotates nothing: cos 1, sin 0, in the shapes of the original."""

    def __init__(self, rotary: nn.Module, override: str) -> None:
        super().__init__()
        self._rotary, self._override = rotary, override

    def forward(self, *arguments: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        angles = self._rotary(*arguments, **options)
        if not isinstance(angles, tuple) or len(angles) != 2:
            raise UsageError(f"--override {self._override}: this family does not rotate by cosine and sine")
        return torch.ones_like(angles[0]), torch.zeros_like(angles[1])


def _rotated_size(config: PreTrainedConfig, own: dict[str, Any]) -> int:
    """Rotated dimensions of a head, of full attention where layers differ."""
    kinds = getattr(config, "layer_types", None) or ()
    layer = config.per_layer_config[kinds.index(FULL_ATTENTION) if FULL_ATTENTION in kinds else 0]
    return int(head_size(layer) * (own.get("partial_rotary_factor") or 1.0))


def _number(text: str) -> float | None:
    """A positive number; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
