"""Quantized checkpoints, which are dequantized while loading or refused.

transformers ignores a quantization method that it does not know, and would use the quantized numbers as weights.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from evalkit.errors import UsageError
from evalkit.installation import is_installed
from model_adapters.checkpoint import Checkpoint, read_object
from model_adapters.messages import quiet_transformers
from model_adapters.packed_weights import METHOD, unread_layout
from model_adapters.weights import TensorHeader, tensor_headers

BITSANDBYTES = "bitsandbytes"
KEY = "quantization_config"
DEQUANTIZED_METHODS: Mapping[str, str | None] = {
    "fp8": None,
    "mxfp8": None,
    "mxfp4": None,
    "gptq": None,
    "awq": None,
    "compressed-tensors": "compressed_tensors",
    BITSANDBYTES: BITSANDBYTES,
}
"""Methods whose weights are dequantized while they are loaded -> the package required for that."""
PACKED_METHODS = frozenset({"gptq", "awq"})
"""Methods that transformers only supports with another package's layers; `packed_weights` reads them instead."""
REMEDY = "name the unquantized checkpoint, or dequantize this one and save it with save_pretrained"
_BESIDE = {"hf_quant_config.json": "modelopt", "quantize_config.json": "gptq", "quant_config.json": "awq"}
"""Files next to config.json in which quantizers describe their method, some of them only there."""

# Last parts of the names of quantized weights and of tensors that belong to them.
_PACKED = re.compile(r"\.(weight|qweight|weight_packed|blocks|\w+_blocks)$")
_SCALE = re.compile(r"scale|absmax|zero_point|qzeros|g_idx|quant_map|quant_state|\.SCB$|_amax$")
# Scales of activations and of the KV cache, which are not quantized here and do not change the weights.
_NOT_OF_WEIGHTS = re.compile(r"\.((input|activation|output|prob_output)\w*|[kqv]|kv)_scale$")
# Parts of a checkpoint that a language model does not use.
_OTHER_PARTS = re.compile(r"(^|\.)(vision|visual|audio|mtp)\w*\.")


@dataclass(frozen=True, slots=True)
class Quantization:
    """The storage format of a checkpoint's weights, for one of DEQUANTIZED_METHODS."""

    method: str
    description: str
    """The method and its number format, such as "fp8, e4m3"."""
    stated: Mapping[str, Any]

    @property
    def statement(self) -> str:
        """The description for records."""
        return f"{self.description}; dequantized while loading"

    def prepare(self, config: PreTrainedConfig) -> None:
        """Make transformers dequantize the weights while it loads them, on any device."""
        if self.method == BITSANDBYTES:
            return  # it dequantizes loaded weights: `finish`
        if self.method in PACKED_METHODS:
            setattr(config, KEY, {"quant_method": METHOD, "stated": dict(self.stated)})
            return
        kept = {name: value for name, value in self.stated.items() if name != "run_compressed"}
        setattr(config, KEY, {**kept, "dequantize": True})

    def finish(self, model: PreTrainedModel) -> None:
        """Dequantize the remaining quantized weights of a loaded model."""
        if self.method == BITSANDBYTES:
            with quiet_transformers():
                model.dequantize(dtype=model.dtype)  # type: ignore[no-untyped-call]


def read_quantization(checkpoint: Checkpoint) -> Quantization | None:
    """How the stored weights are quantized, from the checkpoint's JSON files; None if none of them says that they are.

    Raises UsageError if transformers would not dequantize them: for a method outside DEQUANTIZED_METHODS, and for one
    whose package is not installed.
    """
    stated = _stated(checkpoint)
    if stated is None:
        return None
    method, description = _method(stated), _describe(stated)
    if method not in DEQUANTIZED_METHODS:
        raise UsageError(
            f"{checkpoint.name}: its weights are quantized ({KEY}: {description}), which transformers "
            f"{transformers.__version__} does not dequantize while loading; {REMEDY}"
        )
    package = DEQUANTIZED_METHODS[method]
    if package is not None and not is_installed(package):
        raise UsageError(
            f"{checkpoint.name}: its weights are quantized ({KEY}: {description}), and {method}, with which "
            f"transformers dequantizes them, is not installed; pip install {method}"
        )
    if method in PACKED_METHODS and (read := unread_layout(stated)) is not None:
        raise UsageError(
            f"{checkpoint.name}: its weights are quantized ({KEY}: {description}), and {read} is read; {REMEDY}"
        )
    return Quantization(method, description, stated)


def unused_scales(unused: Iterable[str]) -> list[str]:
    """The scales among unused tensors that belong to weights in use."""
    unused = sorted(unused)
    scales = [name for name in unused if _SCALE.search(name) and not _NOT_OF_WEIGHTS.search(name)]
    modules = {name.rpartition(".")[0] for name in unused if not _SCALE.search(name)}
    return [name for name in scales if name.rpartition(".")[0] not in modules and not _OTHER_PARTS.search(name.lower())]


def _stated(checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    """The quantization in config.json (at the top or for the language model), or in a file next to it."""
    text = checkpoint.config.get("text_config")
    for part in (checkpoint.config, text):
        if isinstance(part, Mapping) and isinstance(value := part.get(KEY), Mapping):
            return value
    for file, method in _BESIDE.items():
        if (path := checkpoint.folder / file).exists():
            values = read_object(checkpoint.name, path)
            inner = values.get("quantization")
            values = dict(inner) if isinstance(inner, Mapping) else values
            # ModelOpt may describe a quantized KV cache alone.
            if values.get("quant_algo", method) is not None:
                return {"quant_method": method, **values}
    return None


def _method(stated: Mapping[str, Any]) -> str:
    if stated.get("load_in_4bit") or stated.get("load_in_8bit"):
        return BITSANDBYTES
    return str(stated.get("quant_method") or "no quant_method")


def _describe(stated: Mapping[str, Any]) -> str:
    """The method and its number format, as the configuration names them."""
    bits = (
        4
        if stated.get("load_in_4bit")
        else 8
        if stated.get("load_in_8bit")
        else stated.get("bits", stated.get("w_bit"))
    )
    named = [stated.get(name) for name in ("quant_algo", "format", "fmt")]
    details = [f"{bits} bits"] if isinstance(bits, int) else []
    return ", ".join([_method(stated), *details, *(value for value in named if isinstance(value, str))])


def refuse_packed(checkpoint: Checkpoint, files: Iterable[Path]) -> None:
    """Raise UsageError for quantized tensors in a checkpoint that states no quantization."""
    for file in files:
        if file.suffix != ".safetensors":
            continue
        for tensor, header in tensor_headers(checkpoint.name, file).items():
            if _is_quantized(tensor, header):
                raise UsageError(
                    f"{checkpoint.name}: {tensor} is stored as {header.dtype}, which is quantized, and config.json has "
                    f"no {KEY} that says how to read it; {REMEDY}"
                )


def _is_quantized(tensor: str, header: TensorHeader) -> bool:
    """Whether a tensor holds floating-point numbers of less than 16 bits, or integers instead of a matrix of floats."""
    if re.match(r"F[468]", header.dtype) and header.dtype != "F64":
        return True
    return header.dtype[0] in "IU" and len(header.shape) > 1 and _PACKED.search(tensor) is not None
