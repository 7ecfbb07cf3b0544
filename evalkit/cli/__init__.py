"""The command line: the only part of evalkit that imports suites, model_adapters and reports.

Modules here import only typer and evalkit's records at the top, so that `evalkit --help` stays instant.
"""

import contextlib
import errno
import io
import os
import re
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import TextIO

# Read before anything heavy is imported: "seconds from start to the first prompt" counts imports too.
STARTED_AT = time.perf_counter()

import typer  # noqa: E402

from evalkit import __version__  # noqa: E402
from evalkit.cli import (  # noqa: E402
    agree,
    bench,
    compare,
    data,
    efficiency,
    export,
    extend,
    gate,
    leaderboard,
    lm_eval,
    loss,
    merge,
    mmlu,
    models,
    preflight,
    resummarize,
    ruler,
    run,
    runs,
    score,
    show,
    track,
    watch,
)
from evalkit.cli.shared.suite_run import INTERRUPTED  # noqa: E402
from evalkit.errors import EvalkitError, UsageError  # noqa: E402

CRASHED = 70
"""Exit code of an error in evalkit itself (EX_SOFTWARE in sysexits.h)."""
CLOSED_PIPE = 141
"""The code that a shell reports for a program killed by SIGPIPE."""

app = typer.Typer(
    name="evalkit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evaluate language models on long contexts, and report how certain the scores are.",
    epilog="Example: evalkit ruler --ctx 65536 --model allenai/Olmo-Hybrid-7B",
)
app.command("ruler", epilog=ruler.EXAMPLES)(ruler.ruler)
app.command("mmlu", epilog=mmlu.EXAMPLES)(mmlu.mmlu)
app.command("lm-eval", epilog=lm_eval.EXAMPLES)(lm_eval.lm_eval)
app.command("track", epilog=track.EXAMPLES)(track.track)
app.command("extend", epilog=extend.EXAMPLES)(extend.extend)
app.command("loss", epilog=loss.EXAMPLES)(loss.loss)
app.command("agree", epilog=agree.EXAMPLES)(agree.agree)
app.command("preflight", epilog=preflight.EXAMPLES)(preflight.preflight)
app.command("show", epilog=show.EXAMPLES)(show.show)
app.command("resummarize", epilog=resummarize.EXAMPLES)(resummarize.resummarize)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("runs", epilog=runs.EXAMPLES)(runs.runs)
app.command("watch", epilog=watch.EXAMPLES)(watch.watch)
app.command("merge", epilog=merge.EXAMPLES)(merge.merge)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("gate", epilog=gate.EXAMPLES)(gate.gate)
app.command("leaderboard", epilog=leaderboard.EXAMPLES)(leaderboard.leaderboard)
app.command("efficiency", cls=efficiency.BaselineCommand, epilog=efficiency.EXAMPLES)(efficiency.efficiency)
app.add_typer(score.app, name="score")
app.add_typer(export.app, name="export")
app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


def _flowing(text: str) -> str:
    """A docstring with each paragraph on one line; typer keeps the line ends of the source otherwise."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


for _group in (app, score.app, export.app, bench.app, data.app, models.app):
    for _entry in _group.registered_commands:
        _entry.help = _flowing(getattr(_entry.callback, "__doc__", None) or "")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"evalkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),  # noqa: ARG001  # its callback acts
) -> None:
    # transformers and tokenizers read these when imported; their own output would break up our progress bar.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


LEAST_COLUMNS = 40
"""Width of the narrowest terminal for which help and tables are laid out."""


def _ignore_unusable_columns() -> None:
    """Ignore an unusable COLUMNS, such as the 0 that some containers and editors set."""
    columns = os.environ.get("COLUMNS", "")
    if not re.fullmatch(r"[0-9]{1,4}", columns) or int(columns) < LEAST_COLUMNS:
        os.environ.pop("COLUMNS", None)


def main() -> None:
    """Run the command line: a user's mistake prints one line on stderr, a bug prints a traceback.

    docs/exit-codes.md lists the exit codes. 1 means only that a check failed, so no unforeseen error may exit with it.
    """
    from model_adapters.lean_import import install

    install()
    _ignore_unusable_columns()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as with `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a table matters more than a `×` that Latin-2 lacks
    try:
        code = _run()
    except BrokenPipeError:
        # The reader of the pipe (such as head) has closed it, so no message can reach it.
        code = CLOSED_PIPE
    except KeyboardInterrupt:
        code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    sys.exit(code)


def _run() -> int | None:
    """Return the exit code of the command; raise BrokenPipeError if the reader of its output has left."""
    try:
        return _command()
    except EvalkitError as error:
        return _refuse(error)
    except ModuleNotFoundError as error:
        from evalkit.installation import light_install_error

        light = light_install_error(error)
        return _crash(error) if light is None else _refuse(light)
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "evalkit")
        # Without arguments the help has been printed already, and the message is empty.
        if message := _with_value(error).strip():
            _complain(f"{message.rstrip('.')}; see `{command} --help`")
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _crash(error)
        _complain(f"{error.filename or 'output'} cannot be written: {error.strerror}; free space, and run it again")
        return UsageError.exit_code
    except Exception as error:  # noqa: BLE001  # a bug must not exit with the code of a failed check
        return _crash(error)


def _with_value(error: typer.TyperException) -> str:
    """typer's message, with the value that was refused."""
    message = error.format_message().replace("Value error, ", "")
    errors = getattr(error.__context__, "errors", None)  # pydantic's, which checks the values for typer
    value = repr(errors()[0]["input"]) if errors is not None else ""
    return message if value in message else f"{message} (it is {value})"


def _command() -> int | None:
    _refuse_empty(sys.argv[1:])
    try:
        code: int | None = app(prog_name="evalkit", standalone_mode=False)
    except SystemExit as stop:
        # typer and rich turn a closed pipe into exit code 1.
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise
    sys.stdout.flush()
    return code


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raise UsageError for an empty value, as of an unset variable: pathlib would take it for the current folder."""
    for before, argument in pairwise(["", *arguments]):
        option, equals, value = argument.partition("=")
        if argument and not (option.startswith("--") and equals and not value):
            continue
        name = option or (before if before.startswith("-") else "an argument")
        raise UsageError(f"{name} is empty, as if from an unset variable; write a value, or leave it out")


def _refuse(error: EvalkitError) -> int:
    _complain(str(error))
    return error.exit_code


def _crash(error: Exception) -> int:
    import traceback

    _say("".join(traceback.format_exception(error)))
    _complain(f"internal error: {type(error).__name__}: {error}; this is a bug, please report it with the lines above")
    return CRASHED


def _complain(message: str) -> None:
    from reports.plain_text import one_line

    _say(f"evalkit: {one_line(message)}\n")


def _say(text: str) -> None:
    """Write to stderr; if it is closed, the exit code still reports the error."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
    _flush(sys.stderr)


def _flush(stream: TextIO) -> None:
    """Flush a stream, or discard its buffer: a failure in Python's flush at exit would change the exit code."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
