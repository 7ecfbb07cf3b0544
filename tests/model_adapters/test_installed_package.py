"""The code of an installed package is known by its version only if it came from an index of packages."""

import json
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from model_adapters import installed_package
from model_adapters.installed_package import installed_code

FILES = "made/__init__.py,sha256=aa,10\n"
INSTALLED = "../../bin/made,sha256=cc,5\nmade/__pycache__/__init__.pyc,,\nmade-1.2.dist-info/RECORD,,\n"
CLONE = {"url": "file:///clone", "dir_info": {}}


@pytest.fixture
def info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata of a package in version 1.2."""
    folder = tmp_path / "made-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: made\nVersion: 1.2\n")
    (folder / "RECORD").write_text(FILES)
    monkeypatch.setattr(installed_package, "distribution", lambda name: Distribution.at(folder))
    return folder


def test_a_release_is_known_by_its_version(info: Path) -> None:
    assert installed_code("made") == "1.2"


def test_builds_of_a_clone_are_told_apart(info: Path) -> None:
    (info / "direct_url.json").write_text(json.dumps(CLONE))
    first = installed_code("made")
    assert first is not None
    assert first.startswith("1.2 ")
    (info / "RECORD").write_text(INSTALLED + FILES)
    assert installed_code("made") == first
    (info / "RECORD").write_text(INSTALLED + FILES.replace("aa", "bb"))
    assert installed_code("made") not in (first, None)


def test_an_editable_installation_is_unknown(info: Path) -> None:
    (info / "direct_url.json").write_text(json.dumps({**CLONE, "dir_info": {"editable": True}}))
    assert installed_code("made") is None


def test_files_without_a_list_are_unknown(info: Path) -> None:
    (info / "RECORD").unlink()
    assert installed_code("made") is None


def test_a_package_that_is_not_installed() -> None:
    assert installed_code("no-such-package") == "none"
