"""From the name of a model to one that can be run: transformers' own classes, safetensors only, nothing guessed.

Whatever is wrong with a checkpoint is told in one line before its weights are read, or while they are.
"""

import difflib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from evalkit.errors import UsageError
from evalkit.records import ModelIdentity, PositionScheme, PreflightCheck
from model_adapters.checkpoint import CONFIG, Checkpoint, open_checkpoint
from model_adapters.engine.kernel_choice import choose_kernels
from model_adapters.fingerprint import fingerprint
from model_adapters.messages import first_line, quiet_transformers
from model_adapters.position_override import PositionOverride
from model_adapters.positions import read_positions, read_trained_length, states_null_theta
from model_adapters.tokenizer import HfTokenizer
from model_adapters.weights import weight_files

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that can be run, and what a record says about it."""

    model: PreTrainedModel
    """In evaluation mode, without gradients, on its device."""
    tokenizer: HfTokenizer
    identity: ModelIdentity
    tokens_seen: int | None
    """Training tokens behind the checkpoint, where its evalkit.json says."""
    warnings: tuple[str, ...] = ()
    """What a reader of a result should know about how it was loaded."""
    preflight: tuple[PreflightCheck, ...] = ()
    """What was checked before it is used; empty where nothing was."""


def load_model(
    model: str,
    *,
    device: str,
    dtype: str,
    trust_remote_code: bool,
    override: str | None = None,
    gdn_kernel: str = "auto",
) -> LoadedModel:
    """Load a directory, a hub id or reference:NAME.

    `device` is auto (a GPU where there is one), cpu, cuda or cuda:N; `dtype` is auto (the checkpoint's own on a
    GPU, float32 on a CPU), float32, bfloat16 or float16; `override` puts other positions in the place of the
    checkpoint's own, as `PositionOverride.parse` reads them; `gdn_kernel` says what runs the gated delta rule, as
    `choose_kernels` reads it. Raises UsageError, one line, for whatever is wrong.
    """
    forced = None if override is None else PositionOverride.parse(override)
    place = find_device(device)
    checkpoint = open_checkpoint(model, with_weights=True, trust_remote_code=trust_remote_code)
    files = weight_files(checkpoint)
    config = read_config(checkpoint, trust_remote_code)
    tokenizer = HfTokenizer.from_folder(checkpoint.folder, name=model, trust_remote_code=trust_remote_code)
    _check_tokenizer(checkpoint, config, tokenizer)
    stated = checkpoint.config
    if forced is not None:
        stated = {**stated, "rope_parameters": forced.configure(config)}
    try:
        built, warnings = _build(
            checkpoint, config, find_dtype(dtype, place), trust_remote_code=trust_remote_code, place=place
        )
    except torch.OutOfMemoryError as error:
        raise UsageError(_too_large(checkpoint, files, place)) from error
    positions = own_positions = read_positions(stated, built)
    if forced is not None:
        forced.finish(built)
        positions = forced.describe(positions)
        # What it was trained to, a forced scheme does not change.
        own_positions = PositionScheme(kind="rope", description="")
    warnings = (*warnings, *choose_kernels(built, gdn_kernel))
    code = sorted(checkpoint.folder.glob("*.py")) if trust_remote_code and "auto_map" in checkpoint.config else []
    identity = ModelIdentity(
        path=model,
        family=checkpoint.family,
        fingerprint=fingerprint([checkpoint.folder / CONFIG, *files, *code]),
        tokenizer=tokenizer.fingerprint,
        dtype=str(built.dtype).removeprefix("torch."),
        positions=positions,
        trained_length=read_trained_length(checkpoint.config, built.config, own_positions),
        parameters=count_parameters(built),
        trained=checkpoint.sidecar.trained,
    )
    return LoadedModel(built, tokenizer, identity, checkpoint.sidecar.tokens_seen, warnings)


def load_tokenizer(model: str, *, trust_remote_code: bool) -> HfTokenizer:
    """The tokenizer of what `load_model` would load, without its weights; raises UsageError."""
    checkpoint = open_checkpoint(model, with_weights=False, trust_remote_code=trust_remote_code)
    return HfTokenizer.from_folder(checkpoint.folder, name=model, trust_remote_code=trust_remote_code)


def count_parameters(model: PreTrainedModel) -> int:
    """Parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def find_device(device: str) -> torch.device:
    """The device of a `--device` option; raises UsageError for one that is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"--device {device!r} is unknown; write auto, cpu, cuda or cuda:N") from error
    if place.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {device} is not supported; write auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.type == "cuda" and (place.index or 0) >= count:
        seen = f"only {count} CUDA devices are" if count > 1 else "only cuda:0 is" if count else "no CUDA device is"
        raise UsageError(f"--device {device}: {seen} visible here; use --device {'cuda' if count else 'cpu'}")
    return place


def find_dtype(dtype: str, place: torch.device) -> torch.dtype | str:
    """The number format of a `--dtype` option, `auto` for the checkpoint's own; raises UsageError for others."""
    if dtype == "auto":
        return torch.float32 if place.type == "cpu" else "auto"
    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype!r} is unknown; write auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def read_config(checkpoint: Checkpoint, trust_remote_code: bool) -> PreTrainedConfig:
    """A checkpoint's configuration, completed by its family; raises UsageError for what is no causal language model."""
    name, family = checkpoint.name, checkpoint.family
    code = checkpoint.config.get("auto_map")
    remote = isinstance(code, dict) and "AutoConfig" in code
    if family not in CONFIG_MAPPING and remote and not trust_remote_code:
        raise UsageError(
            f"{name}: architecture {family!r} comes with its own Python code; read it, then pass --trust-remote-code"
        )
    if family not in CONFIG_MAPPING and not remote:
        near = difflib.get_close_matches(family, CONFIG_MAPPING, n=1)
        remedy = f"did you mean model_type {near[0]!r}?" if near else "install a newer transformers"
        raise UsageError(
            f"{name}: architecture {family!r} is unknown to transformers {transformers.__version__}; {remedy}"
        )
    try:
        with quiet_transformers():
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:
        raise UsageError(f"{name}: {CONFIG} is refused by transformers ({_reason(error)}); repair it") from error
    _check_causal(checkpoint, code)
    return config


def _check_causal(checkpoint: Checkpoint, code: Any) -> None:
    """Refuse what is not a causal language model, by its family and by what the weights were saved from."""
    if isinstance(code, dict) and "AutoModelForCausalLM" in code:
        return
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(checkpoint.family)
    if known is None:
        raise UsageError(
            f"{checkpoint.name}: {checkpoint.family!r} is not a causal language model; name one that continues text"
        )
    expected = {known} if isinstance(known, str) else set(known)
    saved = checkpoint.config.get("architectures") or []
    causal = [name for name in saved if name in expected or str(name).lower().endswith(("forcausallm", "lmheadmodel"))]
    if saved and not causal:
        raise UsageError(
            f"{checkpoint.name}: its weights are a {saved[0]}, not a causal language model "
            f"({' or '.join(sorted(expected))}); name one that continues text"
        )


def _check_tokenizer(checkpoint: Checkpoint, config: PreTrainedConfig, tokenizer: HfTokenizer) -> None:
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if isinstance(rows, int) and tokenizer.text_tokens > rows:
        raise UsageError(
            f"{checkpoint.name}: its tokenizer has {tokenizer.text_tokens:,} tokens and the model only {rows:,}; "
            "add the tokenizer.json that the model was trained with"
        )


def _build(
    checkpoint: Checkpoint,
    config: PreTrainedConfig,
    dtype: torch.dtype | str,
    *,
    trust_remote_code: bool,
    place: torch.device,
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model on its device, and warnings; transformers reads the weights from mapped files, tensor by tensor.

    On a GPU each goes straight there, so that the host never holds them all.
    """
    try:
        with quiet_transformers():
            model: PreTrainedModel
            info: dict[str, Any]
            model, info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # a pair, because of output_loading_info
                checkpoint.folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                device_map=device_map(place),
                output_loading_info=True,
                # Told below, with the names, rather than by an exception of many lines.
                ignore_mismatched_sizes=True,
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # each architecture, and code of a checkpoint, fails in its own way
        if states_null_theta(checkpoint.config):
            raise UsageError(
                f"{checkpoint.name}: config.json says rope_theta null (no positions), which transformers cannot build "
                f"for {checkpoint.family}; state the θ it was trained with"
            ) from error
        raise UsageError(
            f"{checkpoint.name}: transformers cannot build it ({_reason(error)}); check that config.json and weights "
            "belong together"
        ) from error
    _check_keys(checkpoint, info)
    unused = sorted(info["unexpected_keys"])
    warnings = (f"the checkpoint holds {_some(unused)}, which the model does not use",) if unused else ()
    model.requires_grad_(False)  # from_pretrained leaves it in evaluation mode
    placed: PreTrainedModel = model.to(place)  # type: ignore[arg-type]  # its decorator hides the signature
    return placed, warnings


def device_map(place: torch.device) -> dict[str, torch.device] | None:
    """Where transformers puts the weights as it reads them; None for the host, and where that needs a package."""
    # transformers takes accelerate's help for it.
    straight = place.type == "cuda" and importlib.util.find_spec("accelerate") is not None
    return {"": place} if straight else None


def _check_keys(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    remedy = "check that config.json and weights belong together"
    if missing := sorted(info["missing_keys"]):
        raise UsageError(f"{checkpoint.name}: its weights lack {_some(missing)}; {remedy}")
    if mismatched := sorted(info["mismatched_keys"]):
        key, found, expected = mismatched[0]
        more = f", and {len(mismatched) - 1} more differ" if len(mismatched) > 1 else ""
        raise UsageError(
            f"{checkpoint.name}: {key} has shape {tuple(found)}, and the model that config.json describes has "
            f"{tuple(expected)}{more}; {remedy}"
        )
    if info["error_msgs"]:
        raise UsageError(f"{checkpoint.name}: {first_line(info['error_msgs'][0])}; {remedy}")


def _too_large(checkpoint: Checkpoint, files: tuple[Path, ...], place: torch.device) -> str:
    size = sum(file.stat().st_size for file in files if file.suffix == ".safetensors") / 2**30
    free, total = (amount / 2**30 for amount in torch.cuda.mem_get_info(place))
    return (
        f"{checkpoint.name}: its weights take {size:.1f} GiB as stored, and of the {total:.1f} GiB of {place} only "
        f"{free:.1f} are free; free more, or use --dtype bfloat16 or --device cpu"
    )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tensors such as {names[0]}"


def _reason(error: BaseException) -> str:
    """The first line of an error, and of what it was raised for where it only says that something failed."""
    cause = error.__cause__
    return first_line(error) if cause is None else f"{first_line(error)}: {first_line(cause)}"
