"""Runs that commands read from the hub, from a local stand-in over HTTP."""

from pathlib import Path

import pytest

from tests.evalkit.run_factory import RunSpec, changed, write_run
from tests.model_adapters.hub_server import HubServer
from tests.support import Evalkit

SPEC = RunSpec({("vt", 4096): [1.0] * 40})


@pytest.fixture
def baselines(tmp_path: Path, hub_server: HubServer) -> Path:
    """A dataset with a baseline in a folder, on a tag; and runs to judge beside it."""
    write_run(tmp_path / "repository" / "nightly" / "ruler", SPEC)
    (tmp_path / "repository" / "model.safetensors").write_bytes(b"weights")
    hub_server.push("datasets/lab/baselines", tmp_path / "repository", tag="v3")
    write_run(tmp_path / "same", SPEC)
    write_run(tmp_path / "worse", changed(SPEC, {("vt", 4096): [0.0] * 40}))
    (tmp_path / "gate.yaml").write_text("rules: {ruler@4096: {max_drop: 1.0}}")
    return tmp_path


@pytest.mark.parametrize("folder", ["", "/nightly", "/nightly/ruler/"])
def test_a_gate_fetches_its_baseline(baselines: Path, hub_server: HubServer, evalkit: Evalkit, folder: str) -> None:
    if folder:
        evalkit(f"gate hub:datasets/lab/baselines@v3{folder} same")
        evalkit(f"gate hub:datasets/lab/baselines@v3{folder} worse", code=1)
    assert "ranks first of 1 model by ruler@4096" in evalkit(f"leaderboard hub:datasets/lab/baselines@v3{folder}").out
    assert set(hub_server.downloaded()) == {"run.json", "samples.jsonl", "manifest.json"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hub:baselines", "hub:baselines is no address of a run; write hub:ORG/NAME@REVISION/FOLDER"),
        ("hub:datasets/lab/baselines@v4", "lab/baselines has no branch, tag or commit 'v4'; it has main, v3"),
        ("hub:datasets/lab/baselines@v3/nightlies", "there is no run in nightlies/; check the folder's name"),
        ("hub:datasets/lab/baseline", "no such dataset on the hub"),
    ],
)
def test_a_wrong_address_is_one_line(baselines: Path, evalkit: Evalkit, address: str, message: str) -> None:
    assert message in evalkit.refuses(f"gate {address} same")
