"""Which options count as given by the user."""

from pathlib import Path

import typer
from typer.testing import CliRunner

from evalkit.cli.shared import options
from evalkit.cli.shared.options import passed_options
from evalkit.running.model_options import Dtype


def test_only_given_options_count_as_passed() -> None:
    app = typer.Typer()
    seen: list[dict[str, object]] = []

    @app.command()
    def command(
        context: typer.Context,
        model: str = options.MODEL,
        out: Path | None = options.OUT,
        dtype: Dtype = options.DTYPE,
        resume: bool = options.RESUME,
        segment_tokens: int | None = options.SEGMENT,
    ) -> None:
        seen.append(passed_options(context))

    def passed(*arguments: str) -> dict[str, object]:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return seen.pop()

    assert passed() == {}
    assert passed("--model", options.DEFAULT_MODEL) == {"model": options.DEFAULT_MODEL}
    assert passed("--out", "a/b", "--dtype", "bfloat16", "--resume", "--segment-tokens", "64") == {
        "out": "a/b",
        "dtype": "bfloat16",
        "resume": True,
        "segment_tokens": 64,
    }
