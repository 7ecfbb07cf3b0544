"""`evalkit models list` lists the embedded models from their files alone."""

import json
from pathlib import Path

import pytest
from numpy import zeros
from safetensors.numpy import save_file
from typer.testing import CliRunner

from evalkit.cli import app
from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters import reference
from model_adapters.catalog import ModelRow, list_models
from model_adapters.loading import load_model
from tests.model_adapters.small_models import save_small_checkpoint
from tests.support import run_python


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for the reference pair in a separate folder."""
    for name, family in (("hybrid", "olmo_hybrid"), ("transformer", "olmo3")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
        save_file({"embed": zeros((1000, 700)), "norm": zeros(700)}, folder / "model.safetensors")
    sidecar = {"trained": False, "note": "random weights [not markup]"}
    (tmp_path / "hybrid" / "evalkit.json").write_text(json.dumps(sidecar))
    monkeypatch.setattr(reference, "NAMES", ("hybrid", "transformer"))
    monkeypatch.setattr(reference, "folder", lambda name: tmp_path / name)
    return tmp_path


@pytest.mark.usefixtures("embedded")
def test_rows_are_read_from_configuration_headers_and_sidecar() -> None:
    assert list_models() == [
        ModelRow("reference:hybrid", "olmo_hybrid", 700_700, trained=False, note="random weights [not markup]"),
        ModelRow("reference:transformer", "olmo3", 700_700, trained=True, note=""),
    ]


@pytest.mark.usefixtures("embedded")
def test_the_command_prints_them() -> None:
    done = CliRunner().invoke(app, ["models", "list"], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.output.splitlines() if "│" in line]
    assert rows == [
        ["reference:hybrid", "olmo_hybrid", "0.7 M", "no", "random weights [not markup]"],
        ["reference:transformer", "olmo3", "0.7 M", "yes", ""],
    ]


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_agree_with_those_of_the_loaded_model(embedded: Path, tied: bool) -> None:
    (embedded / "hybrid" / "evalkit.json").unlink()
    save_small_checkpoint(embedded / "hybrid", "olmo_hybrid", tie_word_embeddings=tied)
    loaded = load_model(ModelOptions("reference:hybrid", device="cpu"))
    assert list_models()[0].parameters == loaded.identity.parameters


def test_a_missing_model_is_one_line(embedded: Path) -> None:
    (embedded / "transformer" / "model.safetensors").unlink()
    with pytest.raises(UsageError) as raised:
        list_models()
    assert str(raised.value) == (
        "reference:transformer: has no model.safetensors; copy the weights there, or name another folder"
    )


def test_listing_imports_neither_torch_nor_transformers() -> None:
    program = "import sys, model_adapters.catalog; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    done = run_python("-c", program)
    assert done.stdout.strip() == "set()"
