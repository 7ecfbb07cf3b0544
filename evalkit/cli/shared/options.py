"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from evalkit.running.model_options import REFERENCE_PREFIX, ChatMode, Dtype, GdnKernel
from evalkit.values import TokenBudget, read_token_budget

DEFAULT_MODEL = f"{REFERENCE_PREFIX}hybrid"


class Format(StrEnum):
    """How a result is printed."""

    TERMINAL = "terminal"
    JSON = "json"


class ReportFormat(StrEnum):
    """How a report is printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"


class PageFormat(StrEnum):
    """How a report with charts is printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


def _read_thinking(text: Any) -> TokenBudget:
    return read_token_budget(text, "--thinking")


MODEL_PANEL, RUN_PANEL = "Model", "Run and output"

MODEL = typer.Option(
    DEFAULT_MODEL,
    "--model",
    "-m",
    help="Checkpoint directory, hub id (ORG/NAME or ORG/NAME@REVISION), reference:NAME (see `evalkit models list`), or "
    "scripted:FILE for tests.",
    rich_help_panel=MODEL_PANEL,
)
BASELINE = typer.Option(
    None, "--baseline", help="Run this model on the same samples first, then compare.", rich_help_panel=RUN_PANEL
)
DEVICE = typer.Option(
    "auto", "--device", help="Device of the model: auto, cpu, cuda, cuda:1 …", rich_help_panel=MODEL_PANEL
)
DTYPE = typer.Option(
    Dtype.AUTO,
    "--dtype",
    help="Data type of weights and activations; auto: the checkpoint's on a GPU, float32 on a CPU.",
    rich_help_panel=MODEL_PANEL,
)
GDN_KERNEL = typer.Option(
    GdnKernel.AUTO,
    "--gdn-kernel",
    help="Kernel of the gated delta rule; auto: triton if it passes its check on this GPU, else torch.",
    rich_help_panel=MODEL_PANEL,
)
SERVER = typer.Option(
    None,
    "--server",
    metavar="URL",
    help="Ask an OpenAI-compatible server for --model, the name it serves; the key is read from EVALKIT_SERVER_KEY.",
    show_default="run the model here",
    rich_help_panel=MODEL_PANEL,
)
TOKENIZER = typer.Option(
    None,
    "--tokenizer",
    help="Directory or hub id with the tokenizer of a served model.",
    show_default="--model",
    rich_help_panel=MODEL_PANEL,
)
CHAT = typer.Option(
    ChatMode.OFF,
    "--chat",
    help="Put questions through the tokenizer's chat template. off: raw text; prefill: the answer prefix begins the "
    "assistant's turn; user: question and answer prefix are the user's turn. mmlu and lm-eval follow lm-eval's "
    "apply_chat_template.",
    rich_help_panel=MODEL_PANEL,
)
MULTITURN = typer.Option(
    None,
    "--fewshot-as-multiturn/--no-fewshot-as-multiturn",
    help="With --chat: worked examples are turns of their own, or part of the user's one turn.",
    show_default="turns of their own",
)
THINKING = typer.Option(
    "off",
    "--thinking",
    metavar="off|N",
    parser=_read_thinking,
    help="Maximum tokens of thought before an answer, in addition to its own; a longer thought is closed by force. off "
    "switches thinking off. Goes with --chat.",
    rich_help_panel=MODEL_PANEL,
)
THINK_TAGS = typer.Option(
    None,
    "--think-tags",
    metavar="OPEN CLOSE",
    help="Tags of a thought, such as '<think>' '</think>'.",
    show_default="those of the chat template",
    rich_help_panel=MODEL_PANEL,
)
SEGMENT = typer.Option(
    None,
    "--segment-tokens",
    min=1,
    help="Prompt tokens per prefill chunk.",
    show_default="as memory allows",
    rich_help_panel=MODEL_PANEL,
)
BATCH = typer.Option(
    None,
    "--batch",
    min=1,
    help="Sequences decoded together.",
    show_default="as memory allows",
    rich_help_panel=MODEL_PANEL,
)
BATCH_INVARIANT = typer.Option(
    False,
    "--batch-invariant",
    help="Make answers independent of the other prompts and of where a run was resumed; slower (docs/performance.md).",
    rich_help_panel=MODEL_PANEL,
)
OUT = typer.Option(
    None,
    "--out",
    "-o",
    help="Folder of the run.",
    show_default="runs/<suite>-<model>-<digest>",
    rich_help_panel=RUN_PANEL,
)
RESUME = typer.Option(
    False, "--resume", help="Continue a stopped run, or start it if there is none.", rich_help_panel=RUN_PANEL
)
SHARD = typer.Option(
    None,
    "--shard",
    metavar="NUMBER/COUNT",
    help="Run one of COUNT equal parts, such as 3/8, in a folder of its own; `evalkit merge` joins them.",
    show_default="the whole run",
    rich_help_panel=RUN_PANEL,
)
REPLICA_PANEL = "Replicas"
REPLICAS = typer.Option(
    None,
    "--replicas",
    metavar="N|auto",
    help="Copies of the model, which share the samples, on Ray; auto: as many as there are GPUs.",
    show_default="the model runs in this process",
    rich_help_panel=REPLICA_PANEL,
)
GPUS_PER_REPLICA = typer.Option(
    None,
    "--gpus-per-replica",
    metavar="GPUS",
    help="With --replicas on GPUs: part of a GPU for each; small models can share one, such as 0.25.",
    show_default="1",
    rich_help_panel=REPLICA_PANEL,
)
RAY_ADDRESS = typer.Option(
    None,
    "--ray-address",
    metavar="ADDRESS",
    help="A Ray cluster, such as auto or ray-head:6379.",
    show_default="RAY_ADDRESS, else this machine",
    rich_help_panel=REPLICA_PANEL,
)
REMOTE_CODE = typer.Option(
    False, "--trust-remote-code", help="Run Python code that comes with the checkpoint.", rich_help_panel=MODEL_PANEL
)
SKIP_PREFLIGHT = typer.Option(
    False,
    "--skip-preflight",
    help="Skip the check that the model runs correctly; the record says so.",
    rich_help_panel=MODEL_PANEL,
)
FORMAT = typer.Option(
    Format.TERMINAL, "--format", help="json prints the result as JSON on stdout.", rich_help_panel=RUN_PANEL
)


def samples(what: str, default: str, *, quick: str | None = None, flag: str = "--samples") -> Any:
    """Option for a number of samples: `default`, or `quick` if every model comes with evalkit."""
    shown = default if quick is None else f"{default}; {quick} for models that come with evalkit"
    return typer.Option(None, flag, help=f"{what}.", show_default=shown)


def passed_options(context: typer.Context) -> dict[str, Any]:
    """The options that the user gave on the command line, as plain JSON values."""
    return {
        name: str(value) if isinstance(value, StrEnum | Path) else value
        for name, value in context.params.items()
        if _was_given(context, name)
    }


def _was_given(context: typer.Context, name: str) -> bool:
    # Compared by name, because the enumeration is in a private module of typer.
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
