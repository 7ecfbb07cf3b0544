"""Loading of a checked checkpoint onto its device, with all weights present, finite and in one data type."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from evalkit.errors import UsageError
from evalkit.running.model_options import LARGER_THAN_A_GPU
from model_adapters.adapter_merging import AdapterMerger
from model_adapters.architecture import ATTENTION
from model_adapters.checkpoint import CONFIG, Checkpoint
from model_adapters.failures import is_out_of_memory
from model_adapters.finite_weights import refuse_not_finite
from model_adapters.messages import first_line, quiet_transformers, reason
from model_adapters.no_numbers import NoNumbers
from model_adapters.quantization import REMEDY, Quantization, refuse_packed, unused_scales
from model_adapters.weights_to_gpu import weights_read_to

BELONG = "check that config.json and weights belong together"


def build_model(
    checkpoint: Checkpoint,
    files: tuple[Path, ...],
    config: PreTrainedConfig,
    dtype: torch.dtype | str,
    *,
    place: torch.device,
    quantization: Quantization | None,
    merger: AdapterMerger | None,
    trust_remote_code: bool,
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model on its device in evaluation mode, without gradients, and warnings.

    Weights of a quantized checkpoint are dequantized, then `merger` adds an adapter. Raises UsageError if the weights
    do not fit the device or the model, or are not finite.
    """
    if quantization is None:
        refuse_packed(checkpoint, files)
    else:
        quantization.prepare(config)
    try:
        model, info = _read_weights(checkpoint, config, dtype, place=place, trust_remote_code=trust_remote_code)
        warnings = (*_check_keys(checkpoint, info), *_untied(model))
        if quantization is not None:
            quantization.finish(model)
        _check_formats(checkpoint, model)
        if quantization is not None:
            _make_uniform(model)
        if merger is not None:
            model = merger.merge(model)
        if model.device.type != place.type:
            model.to(place)  # type: ignore[arg-type]  # its decorator hides the signature
        refuse_not_finite(checkpoint.name, model, files)
    except UsageError:
        raise
    except Exception as error:  # each architecture, device and code of a checkpoint fails in its own way
        if is_out_of_memory(error):
            raise UsageError(_too_large(checkpoint, files, place)) from error
        raise UsageError(f"{checkpoint.name}: {_not_read(error)}") from error
    model.train(False)
    model.requires_grad_(False)
    return model, warnings


def device_map(place: torch.device) -> dict[str, torch.device] | None:
    """Device map for transformers; None for the host, and if a map needs a package that is missing."""
    # transformers needs accelerate for it.
    straight = place.type == "cuda" and importlib.util.find_spec("accelerate") is not None
    return {"": place} if straight else None


def _read_weights(
    checkpoint: Checkpoint,
    config: PreTrainedConfig,
    dtype: torch.dtype | str,
    *,
    place: torch.device,
    trust_remote_code: bool,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and transformers' report on its weights, which are read tensor by tensor.

    Those for a GPU go there directly, so that the host never holds all of them.
    """
    placed = device_map(place)
    with quiet_transformers(), NoNumbers(), weights_read_to(torch.device("cpu") if placed is None else place):
        model: PreTrainedModel
        info: dict[str, Any]
        model, info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # a pair, because of output_loading_info
            checkpoint.folder,
            config=config,
            dtype=dtype,
            attn_implementation=ATTENTION,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            device_map=placed,
            output_loading_info=True,
            # `_check_keys` reports this with names, instead of an exception of many lines.
            ignore_mismatched_sizes=True,
        )
    return model, info


def _not_read(error: Exception) -> str:
    if isinstance(error, ImportError):  # its text names the package and how to install it
        return f"transformers cannot load it ({reason(error)})"
    return f"transformers cannot load it ({reason(error)}); {BELONG}"


def _check_keys(checkpoint: Checkpoint, info: dict[str, Any]) -> tuple[str, ...]:
    """Refuse missing and mismatched weights and ignored scales; returns a warning for other unused tensors."""
    if missing := sorted(info["missing_keys"]):
        raise UsageError(f"{checkpoint.name}: its weights lack {_some(missing)}; {BELONG}")
    if mismatched := sorted(info["mismatched_keys"]):
        key, found, expected = mismatched[0]
        more = f", and {len(mismatched) - 1} more differ" if len(mismatched) > 1 else ""
        raise UsageError(
            f"{checkpoint.name}: {key} has shape {tuple(found)}, and the model that config.json describes has "
            f"{tuple(expected)}{more}; {BELONG}"
        )
    if info["error_msgs"]:
        raise UsageError(f"{checkpoint.name}: {first_line(info['error_msgs'][0])}; {BELONG}")
    unused = sorted(info["unexpected_keys"])
    if scales := unused_scales(unused):
        raise UsageError(
            f"{checkpoint.name}: {_some(scales)} would not be applied, and without scales the weights are others; "
            f"{REMEDY}"
        )
    return (f"the checkpoint holds {_some(unused)}, which the model does not use",) if unused else ()


def _untied(model: PreTrainedModel) -> tuple[str, ...]:
    """A warning about weights that config.json ties and the checkpoint holds with different numbers.

    transformers then leaves them as stored, and only logs it.
    """
    tied = model.get_expanded_tied_weights_keys(all_submodels=True).items()
    untied = [
        f"{target} to {source}"
        for target, source in tied
        if model.get_parameter_or_buffer(target) is not model.get_parameter_or_buffer(source)
    ]
    if not untied:
        return ()
    return (f"{CONFIG} ties {_some(untied)}, and the checkpoint holds different weights, which are used as stored",)


def _check_formats(checkpoint: Checkpoint, model: PreTrainedModel) -> None:
    """Raise UsageError for weights that are still quantized."""
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or parameter.element_size() == 1:
            stored = str(parameter.dtype).removeprefix("torch.")
            raise UsageError(f"{checkpoint.name}: {name} is {stored} after loading, not a plain weight; {REMEDY}")


def _make_uniform(model: PreTrainedModel) -> None:
    """Convert the weights of a dequantized model to its data type, except those that its family keeps in fp32.

    transformers casts the dequantized ones only and leaves the others as they are stored.
    """
    wanted = model.config.dtype
    assert isinstance(wanted, torch.dtype)  # from_pretrained has set it
    kept = {*(model._keep_in_fp32_modules_strict or ())}
    if wanted == torch.float16:
        kept |= {*(model._keep_in_fp32_modules or ())}
    for name, parameter in model.named_parameters():
        if parameter.dtype != wanted and not any(part in name for part in kept):
            parameter.data = parameter.data.to(wanted)


def _too_large(checkpoint: Checkpoint, files: tuple[Path, ...], place: torch.device) -> str:
    size = sum(file.stat().st_size for file in files if file.suffix == ".safetensors") / 2**30
    if place.type != "cuda":
        return f"{checkpoint.name}: its weights take {size:.1f} GiB as stored, more than {place} has free; free more"
    free, total = (amount / 2**30 for amount in torch.cuda.mem_get_info(place))
    return (
        f"{checkpoint.name}: its weights take {size:.1f} GiB as stored, and of the {total:.1f} GiB of {place} only "
        f"{free:.1f} are free; free more, or use --dtype bfloat16 or --device cpu; {LARGER_THAN_A_GPU}"
    )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tensors such as {names[0]}"
