"""Every command explains itself, and is quick to do so."""

import re
from typing import Any

import pytest
import typer

from evalkit.cli import app
from tests.support import COMMANDS, REPOSITORY, Evalkit, run_python

# Modules that help must not import; rich and typer are what it is printed with.
HEAVY = ("torch", "transformers", "numpy", "scipy", "datasets", "lm_eval", "tokenizers", "yaml", "wonderwords")


def find(name: str) -> Any:
    command: Any = typer.main.get_command(app)
    for part in name.split():
        command = command.commands[part]
    return command


def test_the_commands_of_the_readme_are_there() -> None:
    assert {"ruler", "score ruler", "show", "bench prefill", "models list"} <= set(COMMANDS)
    assert {"data list", "data fetch", "data verify"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_help_with_an_example(command: str, evalkit: Evalkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    output = evalkit(f"{command} --help").out
    shown = " ".join(output.split())
    assert re.search(rf"Examples?: (\w+=\S+ )?evalkit {command}( |$)", shown), shown
    undescribed = re.findall(r"(--[a-z-]+) +(?:-\w)? +<[^>]+> +(?=│)", output)
    assert undescribed == []


def test_no_help_text_is_lost_as_markup() -> None:
    """Square brackets would be parsed as markup; defaults belong in `show_default`."""
    texts = [(name, param.help or "") for name in COMMANDS for param in find(name).params]
    assert [(name, text) for name, text in texts if "[" in text] == []


def test_every_exit_code_is_documented() -> None:
    page = (REPOSITORY / "docs/exit-codes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == ["0", "1", "2", "3", "70", "130", "141"]


@pytest.mark.parametrize("command", [[], ["ruler"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from evalkit.cli import app; app([*sys.argv[1:], '--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = run_python("-c", code, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
