"""Loading of a model by name: transformers' own classes, safetensors only, without guesses.

Faults of a checkpoint are reported in one line before or while its weights are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from evalkit.errors import UsageError
from evalkit.records import ModelIdentity, PositionScheme
from evalkit.running.model_options import LARGER_THAN_A_GPU, ModelOptions
from model_adapters.adapter_merging import AdapterMerger
from model_adapters.architecture import read_config, skeleton
from model_adapters.building import build_model
from model_adapters.checkpoint import CONFIG, Checkpoint, open_checkpoint
from model_adapters.checkpoint_tokenizer import checkpoint_tokenizer
from model_adapters.engine.fast_modules.choose import choose_kernels
from model_adapters.engine.scheduling.position_limit import PositionLimit, position_limit
from model_adapters.fingerprint import fingerprint, hashing
from model_adapters.first_use import libraries_used
from model_adapters.generation_settings import end_of_sequence, set_end_of_sequence, unapplied_settings
from model_adapters.kernels.compiling import compiler_imported
from model_adapters.position_override import PositionOverride
from model_adapters.positions import read_positions, read_trained_length
from model_adapters.preflight.compile_ahead import compile_ahead
from model_adapters.quantization import read_quantization
from model_adapters.support import checkpoint_support
from model_adapters.tokenizer import HfTokenizer
from model_adapters.weights import weight_files

IN_ONE_PIECE = (
    "transformers' code of this family continues from a state by single tokens only: prompts are prefilled in one "
    "piece, and with --segment-tokens token by token"
)
SPREADING = ("balanced", "balanced_low_0", "sequential")
"""Names in transformers' `device_map` for a model on several devices."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model, with its description for records."""

    model: PreTrainedModel
    """In evaluation mode, without gradients, on its device."""
    tokenizer: HfTokenizer
    identity: ModelIdentity
    tokens_seen: int | None
    """Training tokens of the checkpoint, if its evalkit.json states them."""
    notes: tuple[str, ...]
    """Warnings about loading."""
    limit: PositionLimit | None
    """The longest text that the model can read, if that is shorter than its trained length may say."""
    files: tuple[Path, ...]
    """The files that the fingerprint covers."""
    ctxs: tuple[int, ...] = ()
    """Context lengths that will be run, as far as they are known."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the readers of results."""
        warning = _limit_warning(self.limit, self.identity, self.ctxs)
        return self.notes if warning is None else (*self.notes, warning)

    def for_contexts(self, ctxs: Sequence[int]) -> "LoadedModel":
        """The same model for runs of other lengths; raises UsageError for one that it cannot read."""
        _refuse_beyond(self.identity.path, self.limit, ctxs)
        return replace(self, ctxs=tuple(ctxs))


def load_model(options: ModelOptions, ctxs: Sequence[int] = ()) -> LoadedModel:
    """Load the model that `options` names; `ctxs` are the context lengths that will be run, as far as they are known.

    Raises UsageError, one line, for any fault: one that config.json and the tokenizer show before weights are
    downloaded, one that headers show before weights are read.
    """
    model, trust_remote_code = options.model, options.trust_remote_code
    forced = None if options.override is None else PositionOverride.parse(options.override)
    place = find_device(options.device)
    with libraries_used(place):
        checkpoint = open_checkpoint(model, trust_remote_code=trust_remote_code)
        config = read_config(checkpoint, trust_remote_code)
        quantization = read_quantization(checkpoint)
        merger = None if checkpoint.adapter is None else AdapterMerger(checkpoint.adapter, model)
        tokenizer = checkpoint_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
        _check_tokenizer(checkpoint, config, tokenizer)
        end = end_of_sequence(checkpoint, tokenizer)
        stated = checkpoint.config
        if forced is not None:
            stated = {**stated, "rope_parameters": forced.configure(config)}
        limit = _limit_for(checkpoint, config, ctxs, trust_remote_code)
        dtype = find_dtype(options.dtype, place)
        layout = checkpoint_support(checkpoint, config, dtype, trust_remote_code)
        weights = weight_files(checkpoint)
        files = _fingerprinted(checkpoint, weights, trust_remote_code)
    with hashing(files) as found, compiler_imported(place):
        built, warnings = build_model(
            checkpoint,
            weights,
            config,
            dtype,
            place=place,
            quantization=quantization,
            merger=merger,
            trust_remote_code=trust_remote_code,
        )
        set_end_of_sequence(built, end)
        positions, trained_length = _read_positions(checkpoint, stated, built, forced)
        compile_ahead(built, options.gdn_kernel, () if layout is None else layout.layers)
        kernel_notes = choose_kernels(built, options.gdn_kernel)
        digest = found()
    identity = ModelIdentity(
        path=model,
        family=checkpoint.family,
        fingerprint=digest,
        tokenizer=tokenizer.fingerprint,
        dtype=str(built.dtype).removeprefix("torch."),
        positions=positions,
        trained_length=trained_length,
        parameters=count_parameters(built),
        trained=checkpoint.sidecar.trained,
        quantization=None if quantization is None else quantization.statement,
        commit=checkpoint.commit,
        base=checkpoint.base,
    )
    in_one_piece = None if layout is None or layout.continues else IN_ONE_PIECE
    found_notes = (end.warning, unapplied_settings(checkpoint), in_one_piece)
    notes = (*warnings, *(note for note in found_notes if note is not None), *kernel_notes)
    return LoadedModel(built, tokenizer, identity, checkpoint.sidecar.tokens_seen, notes, limit, files, tuple(ctxs))


def _limit_for(
    checkpoint: Checkpoint, config: PreTrainedConfig, ctxs: Sequence[int], trust_remote_code: bool
) -> PositionLimit | None:
    """The limit of a checkpoint's positions, unless a prompt that is read alone has none; refuses lengths beyond it."""
    limit = position_limit(skeleton(checkpoint, config, trust_remote_code))
    limit = None if limit is not None and limit.reads_alone else limit
    _refuse_beyond(checkpoint.name, limit, ctxs)
    return limit


def checkpoint_fingerprint(checkpoint: Checkpoint, *, trust_remote_code: bool) -> str:
    """The sha256 of config.json, the weights and, if it is run, the code that comes with them."""
    return fingerprint(_fingerprinted(checkpoint, weight_files(checkpoint), trust_remote_code))


def _fingerprinted(checkpoint: Checkpoint, weights: Sequence[Path], trust_remote_code: bool) -> tuple[Path, ...]:
    """The files that decide what a checkpoint answers."""
    code = sorted(checkpoint.folder.glob("*.py")) if trust_remote_code and "auto_map" in checkpoint.config else []
    return (checkpoint.folder / CONFIG, *weights, *code)


def count_parameters(model: PreTrainedModel) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def find_device(device: str) -> torch.device:
    """The device of a `--device` option, a GPU with its index; raises UsageError for one that does not exist."""
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if "," in device or device in SPREADING:
        raise UsageError(f"--device {device}: a model runs on one device; {LARGER_THAN_A_GPU}")
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
    return torch.device("cuda", place.index or 0) if place.type == "cuda" else place


def find_dtype(dtype: str, place: torch.device) -> torch.dtype | str:
    """The data type of a `--dtype` option, `auto` for the checkpoint's own; raises UsageError for others."""
    if dtype == "auto":
        return torch.float32 if place.type == "cpu" else "auto"
    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype!r} is unknown; write auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _read_positions(
    checkpoint: Checkpoint, stated: Mapping[str, Any], built: PreTrainedModel, forced: PositionOverride | None
) -> tuple[PositionScheme, int | None]:
    """The position scheme of the model as it will run, and the trained length of the checkpoint."""
    positions = read_positions(stated, built)
    if forced is None:
        return positions, read_trained_length(checkpoint.config, built.config, positions)
    forced.finish(built, positions)
    # A forced scheme does not change the trained length.
    own = PositionScheme(kind="rope", description="")
    return forced.describe(positions), read_trained_length(checkpoint.config, built.config, own)


def _check_tokenizer(checkpoint: Checkpoint, config: PreTrainedConfig, tokenizer: HfTokenizer) -> None:
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if isinstance(rows, int) and tokenizer.text_tokens > rows:
        raise UsageError(
            f"{checkpoint.name}: its tokenizer has {tokenizer.text_tokens:,} tokens and the model only {rows:,}; "
            "add the tokenizer.json that the model was trained with"
        )


def _refuse_beyond(name: str, limit: PositionLimit | None, ctxs: Sequence[int]) -> None:
    beyond = [f"{ctx:,}" for ctx in ctxs if limit is not None and ctx > limit.tokens]
    if limit is not None and beyond:
        raise UsageError(
            f"{name}: context {', '.join(beyond)} is above {limit.tokens:,} tokens, beyond which "
            f"{limit.reason}; use contexts of at most {limit.tokens:,}"
        )


def _limit_warning(limit: PositionLimit | None, identity: ModelIdentity, ctxs: Sequence[int]) -> str | None:
    """A warning about prompts of unknown length, if the model cannot read its whole trained length."""
    if ctxs or limit is None or limit.tokens >= (identity.trained_length or limit.tokens):
        return None
    return f"prompts of more than {limit.tokens:,} tokens will be errors: beyond them {limit.reason}"
