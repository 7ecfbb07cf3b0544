"""The command line: the only part of evalkit that imports suites, model_adapters and reports.

Modules here import only typer and evalkit's records at the top, so that `evalkit --help` stays instant.
"""

import io
import os
import sys
import time

# Read before anything heavy is imported: "seconds from start to the first prompt" counts imports too.
STARTED_AT = time.perf_counter()

import typer  # noqa: E402

from evalkit import __version__  # noqa: E402
from evalkit.cli import (  # noqa: E402
    bench,
    compare,
    data,
    efficiency,
    extend,
    gate,
    leaderboard,
    lm_eval,
    loss,
    mmlu,
    models,
    preflight,
    ruler,
    run,
    score,
    show,
    track,
)
from evalkit.errors import EvalkitError  # noqa: E402

app = typer.Typer(
    name="evalkit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evaluate long-context language models, hybrid or not, and report what can be claimed.",
    epilog="Example: evalkit ruler --ctx 65536 --model allenai/Olmo-Hybrid-7B",
)
app.command("ruler", epilog=ruler.EXAMPLES)(ruler.ruler)
app.command("mmlu", epilog=mmlu.EXAMPLES)(mmlu.mmlu)
app.command("lm-eval", epilog=lm_eval.EXAMPLES)(lm_eval.lm_eval)
app.command("track", epilog=track.EXAMPLES)(track.track)
app.command("extend", epilog=extend.EXAMPLES)(extend.extend)
app.command("loss", epilog=loss.EXAMPLES)(loss.loss)
app.command("preflight", epilog=preflight.EXAMPLES)(preflight.preflight)
app.command("show", epilog=show.EXAMPLES)(show.show)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("gate", epilog=gate.EXAMPLES)(gate.gate)
app.command("leaderboard", epilog=leaderboard.EXAMPLES)(leaderboard.leaderboard)
app.command("efficiency", cls=efficiency.BaselineCommand, epilog=efficiency.EXAMPLES)(efficiency.efficiency)
app.add_typer(score.app, name="score")
app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"evalkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),  # noqa: ARG001  # its callback acts
) -> None:
    # transformers and tokenizers read these on import; lines and progress bars of theirs would tear ours.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr, a traceback is a bug."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a table is worth more than a `×` in Latin-2
    try:
        code = app(prog_name="evalkit", standalone_mode=False)
        sys.stdout.flush()
    except EvalkitError as error:
        _complain(str(error))
        code = error.exit_code
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "evalkit")
        # Without arguments the help has been printed, and nothing is left to say.
        if message := error.format_message().strip():
            _complain(f"{message.rstrip('.')}; see `{command} --help`")
        code = error.exit_code
    except BrokenPipeError:
        # The reader of a pipe (such as head) went away: nothing is left to say, and to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _complain(message: str) -> None:
    from reports.plain_text import one_line

    print(f"evalkit: {one_line(message)}", file=sys.stderr)


if __name__ == "__main__":
    main()
