"""The wheel holds all that the checkout has, tried from outside the checkout."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from evalkit.installation import MODELS
from tests.sources import SOURCES, imports
from tests.support import REPOSITORY

PACKAGES = ("evalkit", "suites", "model_adapters", "reports")
# Non-code files needed at run time; everything else in the packages is source.
DATA_SUFFIXES = {
    ".json",
    ".jsonl",
    ".txt",
    ".md",
    ".safetensors",
    ".jinja",
    ".yaml",
    ".toml",
    ".js",
    ".css",
    ".html",
    ".xz",
}
OPTIONAL = {"flash-linear-attention"}


@pytest.fixture(scope="module")
def wheel_contents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, built from a copy, because building leaves folders in the tree."""
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


def run_outside(path: Iterable[Path], folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Output and errors of Python in a separate folder, with `path` first on its path."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PATH": "", "HOME": str(folder)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_every_module_and_every_data_file_is_in_it(wheel_contents: Path) -> None:
    assert files_of(REPOSITORY) - files_of(wheel_contents) == set()


def test_nothing_else_is_in_it(wheel_contents: Path) -> None:
    top = {path.name for path in wheel_contents.iterdir() if not path.name.endswith(".dist-info")}
    assert top == set(PACKAGES)


def test_every_package_imports_from_it(wheel_contents: Path, tmp_path: Path) -> None:
    folders = {path.parent for path in (REPOSITORY / package for package in PACKAGES) for path in path.rglob("*.py")}
    names = sorted(".".join(folder.relative_to(REPOSITORY).parts) for folder in folders)
    code = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names!r}), sep='\\n')"
    places = run_outside([wheel_contents], tmp_path, "-c", code)[0].splitlines()
    assert len(places) == len(names)
    assert all(place.startswith(str(wheel_contents)) for place in places)


def test_the_command_answers_from_it(wheel_contents: Path, tmp_path: Path) -> None:
    assert "evalkit ruler --ctx 65536" in run_outside([wheel_contents], tmp_path, "-m", "evalkit", "--help")[0]


def test_the_licence_and_the_command_are_declared(wheel_contents: Path) -> None:
    (info,) = wheel_contents.glob("*.dist-info")
    assert (info / "licenses" / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    assert "License-Expression: Apache-2.0" in (info / "METADATA").read_text()
    assert "evalkit = evalkit.cli:main" in (info / "entry_points.txt").read_text()


def requirements(distribution: importlib.metadata.Distribution, extra: str = "") -> set[str]:
    """Names of the distributions required by one, without extras or with `extra`."""
    stated = [line.partition(";") for line in distribution.requires or ()]
    wanted = [line for line, _, marker in stated if ("extra" in marker) == bool(extra) and extra in marker]
    return {normal(match[0]) for line in wanted if (match := re.match(r"[\w.-]+", line))}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_metadata(wheel_contents: Path) -> importlib.metadata.Distribution:
    (info,) = wheel_contents.glob("*.dist-info")
    return importlib.metadata.Distribution.at(info)


@pytest.fixture(scope="module")
def light_path(wheel_contents: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A path on which the wheel sees only the distributions required without extras, and their requirements."""
    light, waiting = set[str](), requirements(wheel_metadata(wheel_contents))
    while waiting:
        name = waiting.pop()
        light.add(name)
        try:
            waiting |= requirements(importlib.metadata.distribution(name)) - light
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or Python version
    owners = importlib.metadata.packages_distributions()
    hidden = [module for module, names in owners.items() if not {normal(name) for name in names} & {*light, "evalkit"}]
    folder = tmp_path_factory.mktemp("light")
    (folder / "sitecustomize.py").write_text(
        f"""import sys
class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden)
"""
    )
    return [folder, wheel_contents]


@pytest.fixture(scope="module")
def stored(wheel_contents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "history"
    shutil.copytree(wheel_contents / "model_adapters/reference/history", folder)
    return folder


HYBRID, TRANSFORMER = "history/hybrid", "history/transformer"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"compare {HYBRID}/lengths {TRANSFORMER}/lengths --format html", 0),
        (f"gate --init {HYBRID}/lengths --policy gate.yaml", 0),
        (f"gate {HYBRID}/lengths {TRANSFORMER}/lengths --policy gate.yaml --junit a.xml --markdown a.md", 1),
        (f"show {HYBRID}/track --figures charts --html page.html", 0),
        (f"show {HYBRID}/track --sample parity:4/0/19/42", 0),
        (f"leaderboard {HYBRID}/lengths {TRANSFORMER}/lengths -o board.html", 0),
        (
            f"efficiency {HYBRID}/checkpoint-1 {HYBRID}/checkpoint-6 "
            f"--baseline {TRANSFORMER}/checkpoint-1 {TRANSFORMER}/checkpoint-6 --metric ruler@4096 --figures charts",
            0,
        ),
        (f"resummarize {HYBRID}/track", 0),
    ],
)
def test_stored_runs_are_judged_without_what_runs_models(
    light_path: list[Path], stored: Path, command: str, code: int
) -> None:
    run_outside(light_path, stored.parent, "-m", "evalkit", *command.split(), code=code)


@pytest.mark.parametrize("command", ["ruler --ctx 512", "models list", "run reference-pair", "lm-eval --tasks a"])
def test_a_command_that_runs_models_says_how_to_install_what_it_needs(
    light_path: list[Path], tmp_path: Path, command: str
) -> None:
    _, errors = run_outside(light_path, tmp_path, "-m", "evalkit", *command.split(), code=2)
    assert re.search(r"is not installed: .*pip install .*\[models\]", errors.splitlines()[-1])


def test_the_modules_of_the_extra_are_those_it_requires(wheel_contents: Path) -> None:
    wheel = wheel_metadata(wheel_contents)
    light, models = requirements(wheel), requirements(wheel, "models")
    extras = requirements(wheel, "checkpoints") | requirements(wheel, "ray")
    declared = light | models | extras | {"markupsafe"} | OPTIONAL
    assert {normal(name) for name in MODELS} == models
    assert not models & light
    used = {name.partition(".")[0] for source in SOURCES.values() for name, _ in imports(ast.parse(source))}
    owners = importlib.metadata.packages_distributions()
    for module in used & owners.keys() - set(PACKAGES):
        assert {normal(name) for name in owners[module]} & declared, module


def test_every_line_of_the_constraints_is_a_pin() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", line)] == []
    names = [re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in pins]
    assert sorted(set(names)) == sorted(names)
