"""`evalkit score ruler` and `evalkit ruler --prepare-only`, as a user types them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evalkit.cli import app
from evalkit.errors import UsageError
from model_adapters.scripted import ScriptedTokenizer
from suites.ruler import TASKS

RUNNER = CliRunner()


@pytest.fixture
def scripted_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_tokenizer(options: object) -> ScriptedTokenizer:
        return ScriptedTokenizer()

    monkeypatch.setattr("model_adapters.loading.load_tokenizer", load_tokenizer)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions" / "4096"
    folder.mkdir(parents=True)
    for task in TASKS:
        rows = [{"index": i, "pred": "is 7" if i else "is 8", "outputs": ["7"]} for i in range(2)]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parent


def test_scores_as_json(predictions: Path) -> None:
    result = RUNNER.invoke(app, ["score", "ruler", str(predictions), "--format", "json"], catch_exceptions=False)
    assert result.exit_code == 0
    scored = json.loads(result.stdout)
    assert [(row["task"], row["ctx"], row["value"], row["n"]) for row in scored["results"]] == [
        (task, 4096, 50.0, 2) for task in TASKS
    ]
    assert scored["summary"][0]["mean"] == 50.0
    assert scored["effective_length"] is None


def test_scores_as_a_table(predictions: Path) -> None:
    result = RUNNER.invoke(app, ["score", "ruler", str(predictions)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "dialect nvidia" in " ".join(result.stdout.split())
    assert re.search(r"niah_multikey_3\W+50\.0", result.stdout)
    assert re.search(r"mean.* 50\.0", result.stdout)


def test_a_mistake_in_predictions_is_one_line(predictions: Path) -> None:
    (predictions / "4096" / "vt.jsonl").write_text("{")
    result = RUNNER.invoke(app, ["score", "ruler", str(predictions)])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2


@pytest.mark.usefixtures("scripted_tokenizer")
def test_prepared_samples_are_written_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    out = tmp_path / "samples"
    arguments = [
        "ruler",
        "--ctx",
        "512,1024",
        "--tasks",
        "vt,cwe",
        "--samples",
        "2",
        "--prepare-only",
        "--out",
        str(out),
    ]
    result = RUNNER.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"wrote 4 samples to {out}" in " ".join(result.stdout.split())
    assert "left out: vt at 512" in result.output
    assert "left out: cwe at 512" in result.output
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jsonl")) == [
        "1024/cwe/validation.jsonl",
        "1024/vt/validation.jsonl",
    ]
