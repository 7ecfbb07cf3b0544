"""Weights packed into integers by GPTQ and AWQ, dequantized by transformers' loader while it reads them.

transformers itself reads such checkpoints into layers of another package only. Both methods store for each linear layer
integers of `bits` bits, eight or more in an int32, with a scale and a zero for each group of inputs (Frantar et al.
2023, arXiv 2210.17323; Lin et al. 2024, arXiv 2306.00978):

    weight[output, input] = scale[group of input, output] * (integer[input, output] - zero[group of input, output])

Shape suffixes: I inputs, O outputs, G groups, P packed.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

METHOD = "evalkit-packed"
"""The name of this loading method in transformers."""
WORD_BITS = 32
AWQ_BITS = 4
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Position of each output's integer in a word, which AWQ interleaves for its matrix product kernels."""


def unread_layout(stated: Mapping[str, Any]) -> str | None:
    """Name the supported layouts if a `gptq` or `awq` configuration has another one; otherwise return None."""
    bits = stated.get("bits", stated.get("w_bit"))
    if stated["quant_method"] == "awq":
        read = bits == AWQ_BITS and str(stated.get("version") or "gemm").lower() == "gemm"
        return None if read else "of awq only 4 bits in the layout gemm"
    layout, word = stated.get("checkpoint_format") or "gptq", stated.get("pack_dtype") or "int32"
    read = bits in (2, 4, 8) and layout in ("gptq", "gptq_v2") and word == "int32" and not stated.get("dynamic")
    return None if read else "of gptq only 2, 4 or 8 bits in all layers, in int32 and the layouts gptq and gptq_v2"


def dequantize_gptq(
    packed_PO: torch.Tensor,
    zero_GP: torch.Tensor,
    scale_GO: torch.Tensor,
    group_I: torch.Tensor | None,
    *,
    bits: int,
    zero_offset: int,
) -> torch.Tensor:
    """The fp32 weight [O, I] of a layer; `zero_offset` is 1 for GPTQ's first layout, which stores zeros minus one."""
    shift_W = torch.arange(0, WORD_BITS, bits, device=packed_PO.device)
    mask = (1 << bits) - 1
    integer_IO = (packed_PO[:, None] >> shift_W[None, :, None] & mask).flatten(0, 1)
    zero_GO = (zero_GP[:, :, None] >> shift_W & mask).flatten(1) + zero_offset
    if group_I is None:
        inputs = integer_IO.shape[0]
        group_I = torch.arange(inputs, device=packed_PO.device) // (inputs // scale_GO.shape[0])
    group_I = group_I.long()
    return ((integer_IO - zero_GO[group_I]) * scale_GO.float()[group_I]).T


def dequantize_awq(packed_IP: torch.Tensor, zero_GP: torch.Tensor, scale_GO: torch.Tensor) -> torch.Tensor:
    """The fp32 weight [O, I] of a layer."""
    shift_W = AWQ_BITS * torch.tensor(AWQ_ORDER, device=packed_IP.device)
    mask = (1 << AWQ_BITS) - 1
    integer_IO, zero_GO = ((words[:, :, None] >> shift_W & mask).flatten(1) for words in (packed_IP, zero_GP))
    repeats = integer_IO.shape[0] // scale_GO.shape[0]
    zero_IO, scale_IO = (values.repeat_interleave(repeats, 0) for values in (zero_GO, scale_GO.float()))
    return ((integer_IO - zero_IO) * scale_IO).T


@register_quantization_config(METHOD)
class PackedConfig(QuantizationConfigMixin):
    """A `gptq` or `awq` configuration under the name of this loading method."""

    def __init__(self, *, stated: Mapping[str, Any], **_: Any) -> None:
        self.quant_method = METHOD  # type: ignore[assignment]  # transformers' enumeration has its own methods only
        self.stated = dict(stated)
        self.dequantize = True


class _Dequantize(ConversionOps):
    def __init__(self, hf_quantizer: "PackedQuantizer") -> None:
        config = hf_quantizer.quantization_config
        assert isinstance(config, PackedConfig)
        self._stated = config.stated

    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],  # noqa: ARG002 - signature of the base class
        target_patterns: list[str],  # noqa: ARG002
        **options: Any,
    ) -> dict[str, list[torch.Tensor]]:
        """Weights from whichever tensors the checkpoint has for them: of one linear layer, or of those of all experts.

        Experts come as one list for each name, such as `experts.*.up_proj.qweight`.
        """
        full_name: str = options["full_layer_name"]
        dtype = options["model"].get_parameter(full_name).dtype
        found: dict[str, list[torch.Tensor]] = {}
        lists = {name: value if isinstance(value, list) else [value] for name, value in input_dict.items()}
        for name, values in lists.items():
            if name.endswith("qweight"):
                layer = name.removesuffix("qweight")
                parts = [lists[layer + part] for part in ("qweight", "qzeros", "scales")]
                groups = lists.get(f"{layer}g_idx", [None] * len(values))
                stored = zip(*parts, groups, strict=True)
                found[f"{layer}weight"] = [self._weight(*tensors).to(dtype) for tensors in stored]
            elif name.endswith("weight"):
                found[name] = values
        return {full_name: found["weight"]} if "weight" in found else found

    def _weight(
        self, packed: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor, groups: torch.Tensor | None
    ) -> torch.Tensor:
        stated = self._stated
        if stated["quant_method"] == "awq":
            return dequantize_awq(packed, zeros, scales)
        zero_offset = 0 if stated.get("checkpoint_format") == "gptq_v2" else 1
        return dequantize_gptq(packed, zeros, scales, groups, bits=int(stated["bits"]), zero_offset=zero_offset)


@register_quantizer(METHOD)
class PackedQuantizer(HfQuantizer):
    """Lets transformers' loader collect the tensors of a weight and dequantize it."""

    requires_calibration = True
    serialized_names = {"weight": ["weight", "qweight", "qzeros", "scales", "g_idx"]}  # noqa: RUF012 - as in the base

    def get_load_operations(self) -> dict[str, Any]:
        return {"dequantize": _Dequantize}

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False
