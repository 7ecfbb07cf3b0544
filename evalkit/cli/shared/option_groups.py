"""Groups of options that several commands share, each passed to the command as one argument.

@takes(MODEL, RUN)
def ruler(ctx: str = CTX, *, model_options: "ModelOptions", run_options: "RunOptions") -> None: ...
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.shared import options
from evalkit.running.model_options import ChatMode, Dtype, GdnKernel, ModelOptions
from evalkit.running.replicas.options import REPLICA_OPTIONS, ReplicaOptions
from evalkit.values import TokenBudget

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import RunOptions

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Options by parameter name, each with its type and declaration, and a function that combines their values."""

    argument: str
    """Parameter of the command that receives the combined value."""
    options: Mapping[str, tuple[Any, Any]]
    make: Callable[[typer.Context, dict[str, Any]], Any]

    def without(self, *names: str) -> "Bundle":
        """The same bundle without the named options."""
        return replace(self, options={name: option for name, option in self.options.items() if name not in names})


def takes(*bundles: Bundle) -> Callable[[Command], Command]:
    """Decorator that adds the options of all bundles to those of a command.

    An option that the command declares itself is not added again; its value goes to the command and to the bundle.
    """
    arguments = {bundle.argument for bundle in bundles}

    def decorate(command: Command) -> Command:
        declared = inspect.signature(command).parameters.values()
        own = {p.name: (p.annotation, p.default) for p in declared if p.name not in arguments}
        shared = {name: option for bundle in bundles for name, option in bundle.options.items()}
        offered = {"context": (typer.Context, inspect.Parameter.empty), **own, **shared, **own}

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:
            made = {
                bundle.argument: bundle.make(values["context"], {name: values[name] for name in bundle.options})
                for bundle in bundles
            }
            command(**{name: values[name] for name in own}, **made)

        # typer reads the signature and the annotations.
        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # any function may have one
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
                for name, (annotation, default) in offered.items()
            ]
        )
        wrapper.__annotations__ = {name: annotation for name, (annotation, _) in offered.items()}
        return wrapper

    return decorate


def _run_options(context: typer.Context, values: dict[str, Any]) -> "RunOptions":
    from evalkit.cli import STARTED_AT
    from evalkit.cli.shared.suite_run import RunOptions
    from evalkit.running.shards import read_shard

    values["shard"] = None if values["shard"] is None else read_shard(values["shard"])
    replicas = ReplicaOptions.of({name: values.pop(name) for name in REPLICA_OPTIONS})
    return RunOptions(**values, replicas=replicas, passed=options.passed_options(context), started_at=STARTED_AT)


MODEL = Bundle(
    "model_options",
    {
        "model": (str, options.MODEL),
        "server": (str | None, options.SERVER),
        "tokenizer": (str | None, options.TOKENIZER),
        "chat": (ChatMode, options.CHAT),
        "thinking": (TokenBudget, options.THINKING),
        "think_tags": (tuple[str, str] | None, options.THINK_TAGS),
        "device": (str, options.DEVICE),
        "dtype": (Dtype, options.DTYPE),
        "gdn_kernel": (GdnKernel, options.GDN_KERNEL),
        "segment_tokens": (int | None, options.SEGMENT),
        "batch_sequences": (int | None, options.BATCH),
        "batch_invariant": (bool, options.BATCH_INVARIANT),
        "skip_preflight": (bool, options.SKIP_PREFLIGHT),
        "trust_remote_code": (bool, options.REMOTE_CODE),
    },
    lambda _, values: ModelOptions(**values),
)
"""A `ModelOptions`: which model runs, and how."""
HERE = MODEL.without("server", "tokenizer", "chat", "thinking", "think_tags")
"""A `ModelOptions` of commands that run a model in this process, on raw text."""
LOADING = HERE.without("segment_tokens", "batch_sequences", "batch_invariant", "skip_preflight")
"""A `ModelOptions` of commands that load a model and run it in ways of their own."""
RUN = Bundle(
    "run_options",
    {
        "baseline": (str | None, options.BASELINE),
        "out": (Path | None, options.OUT),
        "resume": (bool, options.RESUME),
        "shard": (str | None, options.SHARD),
        "format": (options.Format, options.FORMAT),
        "replicas": (str | None, options.REPLICAS),
        "gpus_per_replica": (float | None, options.GPUS_PER_REPLICA),
        "ray_address": (str | None, options.RAY_ADDRESS),
    },
    _run_options,
)
"""A `RunOptions`: where a run is stored and how it is shown."""
