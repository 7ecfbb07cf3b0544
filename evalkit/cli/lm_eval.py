"""`evalkit lm-eval`: run lm-eval's own evaluator on this engine."""

import contextlib
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evalkit import files
from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import MODEL, takes
from evalkit.errors import UsageError
from evalkit.running.chat import unused_template
from evalkit.running.model_options import ChatMode

if TYPE_CHECKING:
    from evalkit.running.model_options import ModelOptions
    from model_adapters.lm_eval_bridge import EvalkitLM
    from suites.lm_eval_tasks import LmEvalSettings

EXAMPLES = (
    "Examples: evalkit lm-eval --model ./my-checkpoint --tasks arc_challenge,hellaswag · "
    "evalkit lm-eval --tasks my_task --include-path ./tasks --samples 100 --out results.json"
)

TASKS_HELP = "Comma-separated tasks, groups or tags of lm-eval, or paths of YAML files."


@takes(MODEL)
def lm_eval(
    tasks: str = typer.Option(..., "--tasks", help=TASKS_HELP),
    shots: int | None = typer.Option(
        None, "--shots", help="Number of worked examples.", show_default="each task's own"
    ),
    samples: int | None = options.samples("Documents per task, taken from the start", "all"),
    include_path: Path | None = typer.Option(
        None, "--include-path", help="Folder of YAML files that define your own tasks."
    ),
    seed: int = typer.Option(1234, "--seed", help="Seed that draws the worked examples; the default is lm-eval's."),
    fewshot_as_multiturn: bool | None = options.MULTITURN,
    out: Path | None = typer.Option(None, "--out", "-o", help="Write lm-eval's results to this file, as JSON."),
    format: options.Format = options.FORMAT,
    *,
    model_options: "ModelOptions",
) -> None:
    """Run lm-eval's own evaluator on its tasks, with this engine as the model.

    Results are printed as lm-eval prints them and stored only with --out. `evalkit run --suite lm-eval:TASKS` gives the
    same numbers as a stored run, which can be resumed, compared and gated.
    """
    from suites.lm_eval_tasks import SPEC

    values = {"tasks": tasks, "shots": shots, "samples": samples, "include_path": include_path, "seed": seed}
    values["fewshot_as_multiturn"] = fewshot_as_multiturn
    settings = SPEC.read(values, where="--")
    SPEC.check_chat(model_options.chat_options, settings)
    if model_options.thinking:
        raise UsageError(
            f"--thinking {model_options.thinking}: lm-eval's evaluator takes no thoughts; use --thinking off, or "
            f"evalkit run --suite lm-eval:{tasks}"
        )
    if out is not None:
        _check_writable(out)
    results = _evaluate(settings, model_options)
    text = _as_json(results)
    if out is not None:
        _write(out, text)
    print(text if format is options.Format.JSON else _as_tables(results))


def _evaluate(settings: "LmEvalSettings", model_options: "ModelOptions") -> dict[str, Any]:
    from evalkit.suite_spec import readable_tokens
    from model_adapters.opening import open_model
    from reports.plain_text import one_line
    from suites.lm_eval_tasks import check_chat, load_tasks

    loaded_tasks = load_tasks(settings)
    check_chat(loaded_tasks, model_options.chat_options)
    opened = open_model(model_options)
    for warning in opened.warnings:
        typer.echo(f"warning: {one_line(warning)}", err=True)
    if (unused := unused_template(opened.tokenizer, model_options.chat)) is not None:
        typer.echo(f"note: {unused}", err=True)
    # After the model is loaded: lm-eval's evaluator imports many packages.
    from lm_eval.evaluator import evaluate

    from model_adapters.lm_eval_bridge import EvalkitLM

    chats = model_options.chat is not ChatMode.OFF
    max_tokens = readable_tokens(opened.identity)
    lm = EvalkitLM(opened.make_adapter(), max_tokens=max_tokens, chat=model_options.chat_options)
    # It reports on stdout which metrics it bootstraps, and only the results belong there.
    with contextlib.redirect_stdout(sys.stderr):
        results: dict[str, Any] = evaluate(
            lm,
            loaded_tasks.task_dict(),
            limit=settings.samples,
            log_samples=False,
            apply_chat_template=chats,
            fewshot_as_multiturn=chats and settings.multiturn,
        )
    return {
        **results,
        **(_chat_details(lm, settings) if chats else {}),
        "model": opened.identity.path,
        "fingerprint": opened.identity.fingerprint,
        "warnings": list(opened.warnings),
        "lm_eval_version": version("lm_eval"),
    }


def _chat_details(lm: "EvalkitLM", settings: "LmEvalSettings") -> dict[str, Any]:
    """The fields in which lm-eval's own results say how prompts were rendered."""
    source = lm.chat_template(True) or ""
    return {
        "chat_template": source,
        "chat_template_sha": hashlib.sha256(source.encode()).hexdigest(),
        "fewshot_as_multiturn": settings.multiturn,
    }


def _as_json(results: dict[str, Any]) -> str:
    from lm_eval.utils import handle_non_serializable

    return json.dumps(results, indent=2, ensure_ascii=False, default=handle_non_serializable)


def _as_tables(results: dict[str, Any]) -> str:
    from lm_eval.utils import make_table

    from reports.plain_text import visible

    tables = [make_table(results), *([make_table(results, "groups")] if results.get("groups") else [])]
    return visible("\n".join(tables))


def _check_writable(out: Path) -> None:
    """Raise UsageError if the results cannot be written, before minutes are spent on loading a model."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: not a file in an existing folder; name one for the results")


def _write(out: Path, text: str) -> None:
    with files.writing(out, "results follow on stdout"):
        out.write_text(text + "\n", encoding="utf-8")
