"""Options that several commands share, made into one argument of the command.

@takes(MODEL, RUN)
def ruler(ctx: str = CTX, *, model_options: "ModelOptions", run_options: "RunOptions") -> None: ...
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit.cli.shared import options

if TYPE_CHECKING:
    from evalkit.cli.shared.suite_run import ModelOptions, RunOptions

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Options by parameter name, each with its type and what typer knows of it, and what is made of their values."""

    argument: str
    """The command's parameter that takes what is made."""
    options: Mapping[str, tuple[Any, Any]]
    make: Callable[[typer.Context, dict[str, Any]], Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Values of options that a command does not offer."""

    def fix(self, **values: Any) -> "Bundle":
        """The same without the named options, which have these values instead."""
        left = {name: option for name, option in self.options.items() if name not in values}
        return replace(self, options=left, fixed={**self.fixed, **values})


def takes(*bundles: Bundle) -> Callable[[Command], Command]:
    """A decorator: the command has the options of all bundles behind its own.

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
                bundle.argument: bundle.make(
                    values["context"], {**bundle.fixed, **{name: values[name] for name in bundle.options}}
                )
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


def _model_options(_: typer.Context, values: dict[str, Any]) -> "ModelOptions":
    from evalkit.cli.shared.suite_run import ModelOptions

    return ModelOptions(**{**values, "dtype": str(values["dtype"]), "gdn_kernel": str(values["gdn_kernel"])})


def _run_options(context: typer.Context, values: dict[str, Any]) -> "RunOptions":
    from evalkit.cli import STARTED_AT
    from evalkit.cli.shared.suite_run import RunOptions

    return RunOptions(**values, passed=options.passed_options(context), started_at=STARTED_AT)


MODEL = Bundle(
    "model_options",
    {
        "model": (str, options.MODEL),
        "device": (str, options.DEVICE),
        "dtype": (options.Dtype, options.DTYPE),
        "gdn_kernel": (options.GdnKernel, options.GDN_KERNEL),
        "segment_tokens": (int | None, options.SEGMENT),
        "batch_sequences": (int | None, options.BATCH),
        "skip_preflight": (bool, options.SKIP_PREFLIGHT),
        "trust_remote_code": (bool, options.REMOTE_CODE),
    },
    _model_options,
)
"""A `ModelOptions`: which model runs, and how."""
RUN = Bundle(
    "run_options",
    {
        "out": (Path | None, options.OUT),
        "resume": (bool, options.RESUME),
        "format": (options.Format, options.FORMAT),
    },
    _run_options,
)
"""A `RunOptions`: where a run is stored and how it is shown."""
