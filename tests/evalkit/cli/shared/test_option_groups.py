"""Shared options follow a command's own and become one argument of it."""

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from evalkit.cli.shared.option_groups import MODEL, RUN, Bundle, takes
from evalkit.cli.shared.suite_run import RunOptions
from evalkit.running.model_options import ModelOptions

PAIR = Bundle(
    "pair",
    {"left": (int, typer.Option(1, "--left")), "right": (int, typer.Option(2, "--right"))},
    lambda _, values: (values["left"], values["right"]),
)


def typed(command: Any, *arguments: str) -> int:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False).exit_code


def test_values_reach_the_command_as_one_argument() -> None:
    seen: list[Any] = []

    @takes(PAIR)
    def command(name: str = typer.Option("x", "--name"), *, pair: tuple[int, int]) -> None:
        seen.append((name, pair))

    assert typed(command, "--right", "5", "--name", "y") == 0
    assert seen == [("y", (1, 5))]


def test_a_command_may_declare_an_option_of_the_bundle_itself() -> None:
    seen: list[Any] = []

    @takes(PAIR)
    def command(left: int = typer.Option(7, "--left"), *, pair: tuple[int, int]) -> None:
        seen.append((left, pair))

    assert typed(command) == 0
    assert seen == [(7, (7, 2))]


def test_an_option_may_be_left_out() -> None:
    seen: list[Any] = []

    @takes(MODEL.without("dtype"))
    def command(*, model_options: ModelOptions) -> None:
        seen.append(model_options)

    assert typed(command, "--dtype", "float32") == 2
    assert typed(command, "--device", "cpu") == 0
    assert seen == [ModelOptions("reference:hybrid", device="cpu")]


def test_a_run_knows_what_was_passed(tmp_path: Any) -> None:
    seen: list[Any] = []

    @takes(MODEL, RUN)
    def command(*, model_options: ModelOptions, run_options: RunOptions) -> None:
        seen.append((model_options, run_options))

    assert typed(command, "--model", "m", "--dtype", "bfloat16", "--out", str(tmp_path)) == 0
    ((model, run),) = seen
    assert model == ModelOptions("m", "auto", "bfloat16", None, None, False)
    assert dict(run.passed) == {"model": "m", "dtype": "bfloat16", "out": str(tmp_path)}
    with pytest.raises(AttributeError):
        model.model = "other"
