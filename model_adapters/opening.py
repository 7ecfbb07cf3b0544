"""Opening of a model from its options: a checkpoint on the engine, or a script."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError
from evalkit.installation import check_runs_models
from evalkit.records import Manifest, ModelIdentity, PreflightCheck
from evalkit.running.activity import Activity, report
from evalkit.running.answering import Answerer, OneModel
from evalkit.running.chat import Chat
from evalkit.running.model_options import SCRIPTED_PREFIX, ChatMode, ModelOptions
from evalkit.running.protocols import Adapter, Suite, Tokenizer
from model_adapters.early_start import start_for_gpu

if TYPE_CHECKING:
    import torch

    from evalkit.running.replicas.options import ReplicaOptions
    from model_adapters.keeping import ModelKeeper
    from model_adapters.loading import LoadedModel

_DECIDED_BY_SERVERS = ("device", "dtype", "gdn_kernel", "segment_tokens", "override")
"""Fields of `ModelOptions` with which evalkit runs a model, and which no request can set."""


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model that is ready to run, with its description for records."""

    identity: ModelIdentity
    tokenizer: Tokenizer
    make_adapter: Callable[[], Adapter]
    """Call it once: the model runs only through its adapter afterwards."""
    tokens_seen: int | None = None
    """Training tokens of the checkpoint, if known."""
    warnings: tuple[str, ...] = ()
    preflight: tuple[PreflightCheck, ...] = ()
    """Checks made before the model is used; empty if none were made."""
    device: str = ""
    """What runs the model, in one line; empty if nothing does."""
    log_probabilities: bool = True
    """Whether requests for log-probabilities of given text are answered."""

    def answerer(self, suite: Suite[Any], manifest: Manifest) -> Answerer:  # noqa: ARG002  # replicas are held to it
        """What answers the samples of a run of `suite` with `manifest`; call it once."""
        return OneModel(suite, self.make_adapter())


def open_model(options: ModelOptions, ctxs: Sequence[int] = (), keeper: "ModelKeeper | None" = None) -> OpenedModel:
    """Load the model for runs of these context lengths and check it in a short preflight.

    With a `keeper`, a model that it holds is neither loaded nor checked again. On a GPU, checks that an earlier process
    made of such a model are not repeated. Raises UsageError if the model cannot run, or must not.
    """
    chat = _chat_identity(options)
    if options.model.startswith(SCRIPTED_PREFIX):
        return _open_script(options, chat)
    if options.server is not None:
        return _open_server(options, ctxs, chat)
    from model_adapters.loading import load_model

    report(Activity("loading the model"))
    loaded = load_model(options, ctxs) if keeper is None else keeper.load(options, ctxs)
    return open_loaded(options, loaded, replace(loaded.identity, **chat))


def open_loaded(options: ModelOptions, loaded: "LoadedModel", identity: ModelIdentity) -> OpenedModel:
    """A loaded model on the engine, after a short preflight; raises UsageError if it must not run."""
    from model_adapters.kept_measurements import measurements_kept
    from model_adapters.preflight import Subject, preflight_once, refuse_stopped
    from model_adapters.transformers_adapter import TransformersAdapter

    checks: tuple[PreflightCheck, ...] = ()
    if not options.skip_preflight:
        given = (options.segment_tokens, options.batch_sequences) if options.batch_invariant else None
        checks = preflight_once(Subject(loaded.model, loaded.tokenizer, identity), options.gdn_kernel, given)
        refuse_stopped(options.model, checks)

    def make_adapter() -> Adapter:
        if loaded.model.device.type == "cuda":
            report(Activity("first passes: kernels are compiled"))
        with measurements_kept(loaded.model, identity, options.gdn_kernel):
            return TransformersAdapter(
                loaded.model,
                loaded.tokenizer,
                identity,
                segment_tokens=options.segment_tokens,
                batch_sequences=options.batch_sequences,
                batch_invariant=options.batch_invariant,
            )

    return OpenedModel(
        identity,
        loaded.tokenizer,
        make_adapter,
        loaded.tokens_seen,
        loaded.warnings,
        preflight=checks,
        device=_device(loaded.model.device, options.device),
    )


def _device(device: "torch.device", asked: str) -> str:
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} (no CUDA device is visible)" if asked == "auto" else str(device)


def open_tokenizer(options: ModelOptions) -> Tokenizer:
    """The tokenizer of the model that `open_model` would open, without weights; raises UsageError."""
    if options.model.startswith(SCRIPTED_PREFIX):
        from model_adapters.script import Script
        from model_adapters.scripted import ScriptedTokenizer

        # The script is only read for its template: the tokenizer itself needs no file.
        raw = options.chat is ChatMode.OFF
        return ScriptedTokenizer(chat_template=None if raw else Script(options).model.chat_template)
    from model_adapters.checkpoint_tokenizer import load_tokenizer

    if options.tokenizer is not None:
        return load_tokenizer(replace(options, model=options.tokenizer))
    try:
        return load_tokenizer(options)
    except UsageError as error:
        if options.server is None:
            raise
        raise UsageError(f"{error}, or name the tokenizer of the served model with --tokenizer") from None


def open_chat(options: ModelOptions) -> Chat:
    """The chat convention of the options on the model's tokenizer; raises UsageError if it has no fitting template."""
    return Chat(open_tokenizer(options), options.chat_options, model=options.model)


def _chat_identity(options: ModelOptions) -> dict[str, Any]:
    """The fields of a model's identity that its chat template decides; raises as `open_chat`."""
    if options.chat is ChatMode.OFF:
        return {}
    chat = open_chat(options)
    return {"chat_template": chat.template_sha256, "thinking": chat.thinking}


def check_options(options: ModelOptions, replicas: "ReplicaOptions | None" = None) -> None:
    """Raise UsageError for faults of the options that are known without downloading or loading anything.

    With `replicas` the model runs in them, and their devices are not known here.
    """
    if replicas is not None:
        from model_adapters.replicas.opening import check_replicas

        check_replicas(options, replicas)
        options = replace(options, device="auto")
    if options.tokenizer is not None and options.server is None:
        raise UsageError(f"--tokenizer {options.tokenizer} goes with --server; a checkpoint has its own")
    if options.model.startswith(SCRIPTED_PREFIX):
        from model_adapters.script import Script

        Script(options)
        return
    if options.server is not None:
        _check_server(options)
        return
    from model_adapters.checkpoint import find_local

    local = find_local(options.model) is not None
    if local and options.chat is not ChatMode.OFF:
        open_chat(options)
    if options.device == "auto":  # which every machine has, and torch takes seconds to import
        check_runs_models()
    else:
        if options.device != "cpu":
            start_for_gpu(options.device)
        from model_adapters.loading import find_device

        find_device(options.device)
    if options.override is not None:
        from model_adapters.position_override import PositionOverride

        PositionOverride.parse(options.override)


def _check_server(options: ModelOptions) -> None:
    from model_adapters.served.client import server_root

    if options.batch_invariant:
        raise UsageError("--batch-invariant cannot be required of a --server, which batches as it likes")
    ours = ModelOptions(options.model)
    for name in _DECIDED_BY_SERVERS:
        if (value := getattr(options, name)) != getattr(ours, name):
            option = f"--{name.replace('_', '-')}{'' if value is True else f' {value}'}"
            raise UsageError(
                f"{option} is for a model that evalkit runs, and a --server decides it itself; leave it out"
            )
    server_root(options.server or "")


def fingerprints(options: ModelOptions) -> tuple[str, str]:
    """The fingerprints of weights and tokenizer that `open_model` would find now, without loading the weights."""
    if options.model.startswith(SCRIPTED_PREFIX):
        from model_adapters.script import Script

        identity = Script(options).identity
        return identity.fingerprint, identity.tokenizer
    if options.server is not None:
        from model_adapters.served.opening import served_fingerprint

        return served_fingerprint(options.model), open_tokenizer(options).fingerprint
    from model_adapters.checkpoint import open_checkpoint
    from model_adapters.checkpoint_tokenizer import load_tokenizer
    from model_adapters.loading import checkpoint_fingerprint

    checkpoint = open_checkpoint(options.model, trust_remote_code=options.trust_remote_code)
    weights = checkpoint_fingerprint(checkpoint, trust_remote_code=options.trust_remote_code)
    return weights, load_tokenizer(options).fingerprint


def memory_forecast(options: ModelOptions, ctx: int, loaded_bytes: int = 0) -> str | None:
    """The GPU memory of a run, in one line; None on a CPU and if no context is filled.

    `loaded_bytes` of the weights are there already. Raises UsageError if it does not fit.
    """
    if ctx == 0 or options.model.startswith(SCRIPTED_PREFIX) or options.server is not None:
        return None
    if options.device != "cpu":
        start_for_gpu(options.device)
    from model_adapters.loading import find_device

    if find_device(options.device).type != "cuda":
        return None
    from model_adapters.memory_forecast import forecast_memory

    return forecast_memory(options, ctx, loaded_bytes)


def _open_server(options: ModelOptions, ctxs: Sequence[int], chat: Mapping[str, Any]) -> OpenedModel:
    from model_adapters.served.facts import WINDOW_OPTIONS
    from model_adapters.served.opening import open_server

    check_options(options)
    tokenizer = open_tokenizer(options)
    identity, abilities, make_adapter = open_server(options, tokenizer, ctxs, chat)
    warnings = []
    if not abilities.token_ids:
        warnings.append("the server takes text instead of token ids and tokenizes it itself")
    if abilities.max_tokens is None:
        warnings.append(
            f"the server's longest sequence is unknown; it is set by {WINDOW_OPTIONS}; a prompt that is cut is an error"
        )
    return OpenedModel(
        identity,
        tokenizer,
        make_adapter,
        warnings=tuple(warnings),
        device=f"of the server at {options.server}",
        log_probabilities=abilities.log_probabilities,
    )


def _open_script(options: ModelOptions, chat: Mapping[str, Any]) -> OpenedModel:
    from model_adapters.script import Script
    from model_adapters.scripted import ScriptedAdapter, ScriptedTokenizer

    script = Script(options)
    tokenizer = ScriptedTokenizer(chat_template=script.model.chat_template)
    identity = replace(script.identity, **chat)

    def make_adapter() -> Adapter:
        return ScriptedAdapter(
            script.reply, tokenizer=tokenizer, identity=identity, batch_sequences=options.batch_sequences or 1
        )

    return OpenedModel(identity, tokenizer, make_adapter, script.model.tokens_seen, script.model.warnings)
