"""What is installed: without the extra `models`, stored runs can be read and judged, but no model runs."""

import importlib
import importlib.metadata
import importlib.util
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from evalkit.errors import UsageError

MODELS = frozenset(
    {
        "datasets",
        "httpx2",
        "huggingface_hub",
        "lm_eval",
        "pooch",
        "requests",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
        "triton",
        "wonderwords",
    }
)
"""Modules that only the extra `models` installs."""


def is_installed(module: str) -> bool:
    """Whether a module can be imported; nothing but its parents is."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent
        return False


def library(module: str, package: str = "") -> Any:
    """The imported module; raises UsageError naming the package to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"{module} is not installed; install it with: pip install {package or module}") from None


def light_install_error(error: ModuleNotFoundError) -> UsageError | None:
    """The error to show if `error` comes from an installation without the extra `models`, else None."""
    module = (error.name or "").partition(".")[0]
    return _light_install(module) if module in MODELS else None


def check_runs_models() -> None:
    """Raise UsageError in an installation without the extra `models`; imports nothing."""
    if not is_installed("torch"):
        raise _light_install("torch")


def _light_install(module: str) -> UsageError:
    return UsageError(
        f"{module} is not installed: this evalkit judges stored runs and does not run models; "
        f"to run models: {install_command()}"
    )


def install_command(extra: str = "models") -> str:
    """The pip command that adds an extra, with the place this evalkit was installed from if that is known."""
    try:
        recorded = importlib.metadata.distribution("evalkit").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        recorded = None
    source = None if recorded is None else _source(json.loads(recorded), extra)
    if source is None:
        # The name alone would not do: on PyPI it belongs to another project.
        return f"pip install '.[{extra}]' in a checkout of evalkit"
    return f"pip install {source}"


def _source(origin: Mapping[str, Any], extra: str) -> str | None:
    """Arguments of pip for an origin as PEP 610 records it; None if it is a file that is no longer there."""
    url, parts = origin["url"], urlsplit(origin["url"])
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return shlex.quote(f"evalkit[{extra}] @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    if parts.scheme != "file":
        return shlex.quote(f"evalkit[{extra}] @ {url}")
    path = Path(url2pathname(parts.path))
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"{editable}{shlex.quote(f'{path}[{extra}]')}" if path.exists() else None
