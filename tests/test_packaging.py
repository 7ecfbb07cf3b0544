"""The wheel holds all that the checkout has, tried from outside the checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("evalkit", "suites", "model_adapters", "reports")
# What running needs beside code; everything else in the packages is source.
DATA_SUFFIXES = {".json", ".jsonl", ".txt", ".md", ".safetensors", ".jinja", ".yaml", ".js", ".css", ".html"}


@pytest.fixture(scope="module")
def wheel_contents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, built from a copy, because a build leaves its folders in the tree."""
    copy, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(built), str(copy)], check=True, capture_output=True)
    (wheel,) = built.glob("evalkit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "unpacked")
    return built / "unpacked"


def files_of(folder: Path) -> set[str]:
    wanted = (path for package in PACKAGES for path in (folder / package).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in wanted if path.suffix in {".py", *DATA_SUFFIXES}}


def run_outside(wheel_contents: Path, folder: Path, *arguments: str) -> str:
    """The output of Python with the wheel before everything else on its path, in a folder of its own."""
    environment = {"PYTHONPATH": str(wheel_contents), "PATH": "", "HOME": str(folder)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_and_every_data_file_is_in_it(wheel_contents: Path) -> None:
    assert files_of(REPOSITORY) - files_of(wheel_contents) == set()


def test_nothing_else_is_in_it(wheel_contents: Path) -> None:
    top = {path.name for path in wheel_contents.iterdir() if not path.name.endswith(".dist-info")}
    assert top == set(PACKAGES)


def test_every_package_imports_from_it(wheel_contents: Path, tmp_path: Path) -> None:
    folders = {path.parent for path in (REPOSITORY / package for package in PACKAGES) for path in path.rglob("*.py")}
    names = sorted(".".join(folder.relative_to(REPOSITORY).parts) for folder in folders)
    code = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names!r}), sep='\\n')"
    places = run_outside(wheel_contents, tmp_path, "-c", code).splitlines()
    assert len(places) == len(names)
    assert all(place.startswith(str(wheel_contents)) for place in places)


def test_the_command_answers_from_it(wheel_contents: Path, tmp_path: Path) -> None:
    assert "evalkit ruler --ctx 65536" in run_outside(wheel_contents, tmp_path, "-m", "evalkit", "--help")


def test_the_licence_and_the_command_are_declared(wheel_contents: Path) -> None:
    (info,) = wheel_contents.glob("*.dist-info")
    assert (info / "licenses" / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    assert "License-Expression: Apache-2.0" in (info / "METADATA").read_text()
    assert "evalkit = evalkit.cli:main" in (info / "entry_points.txt").read_text()
