"""Imports go in one direction: evalkit is below its three siblings, and only its command line imports them."""

import ast
from collections.abc import Mapping
from graphlib import TopologicalSorter

import pytest

from tests.sources import SIBLINGS, SOURCES, imports
from tests.support import REPOSITORY

RECIPE = "model_adapters.reference"
ORDER = ("records", "statistics", "running", "analysis", "views", "cli")
"""Packages of evalkit, each of which imports only itself and those before it."""
ENGINE_ORDER = (("memory",), ("forward",), ("scheduling", "fast_modules"), ("engine",))
"""Floors of model_adapters.engine: each of these imports only itself and what is on a lower floor."""


def recipe(sources: Mapping[str, str]) -> set[str]:
    """Modules of the training program of the reference models: those in its folder that nothing else imports.

    `sources` maps module names to their text.
    """
    names = {module: {name for name, _ in imports(ast.parse(source))} for module, source in sources.items()}
    used = {module for module in sources if not module.startswith(f"{RECIPE}.")}
    while True:
        reached = {name for module in used for name in names[module]}
        found = {module for module in sources if any(f"{name}.".startswith(f"{module}.") for name in reached)}
        if found <= used:
            return set(sources) - used
        used |= found


def forbidden(module: str, source: str) -> list[str]:
    """The imports of `module` that violate the rule."""
    package = module.split(".")[0]
    in_command_line = f"{module}.".startswith("evalkit.cli.")
    broken = []
    for name, late in imports(ast.parse(source)):
        top = name.split(".")[0]
        reaches_up = top in SIBLINGS - {package} and not (in_command_line and late)
        runs_commands = name.startswith("evalkit.cli") and package != "evalkit"
        if reaches_up or runs_commands or top in ("tests", "benchmarks"):
            broken.append(name)
    return broken


@pytest.mark.parametrize("module", sorted(set(SOURCES) - recipe(SOURCES)))
def test_a_module_imports_only_what_it_may(module: str) -> None:
    assert forbidden(module, SOURCES[module]) == []


def layer(name: str) -> int | None:
    """Index in ORDER of the package of `name`; None outside these packages."""
    top, _, rest = name.partition(".")
    package = rest.partition(".")[0]
    return ORDER.index(package) if top == "evalkit" and package in ORDER else None


@pytest.mark.parametrize("module", sorted(module for module in SOURCES if layer(module) is not None))
def test_imports_inside_evalkit_run_one_way(module: str) -> None:
    here = layer(module)
    assert here is not None
    layers = {name: layer(name) for name, _ in imports(ast.parse(SOURCES[module]))}
    assert [name for name, there in layers.items() if there is not None and there > here] == []


def engine_floor(name: str) -> tuple[int, str] | None:
    """Level and part of the engine that `name` belongs to; None outside the engine."""
    package = "model_adapters.engine."
    part = name.removeprefix(package).partition(".")[0] if name.startswith(package) else ""
    return next(((floor, part) for floor, parts in enumerate(ENGINE_ORDER) if part in parts), None)


@pytest.mark.parametrize("module", sorted(module for module in SOURCES if module.startswith("model_adapters.engine.")))
def test_imports_inside_the_engine_run_one_way(module: str) -> None:
    here = engine_floor(module)
    assert here is not None
    floors = {name: engine_floor(name) for name, _ in imports(ast.parse(SOURCES[module]))}
    assert [name for name, there in floors.items() if there not in (None, here) and there[0] >= here[0]] == []


def test_kernels_import_nothing_of_the_engine() -> None:
    kernels = {module: source for module, source in SOURCES.items() if module.startswith("model_adapters.kernels.")}
    names = {name for source in kernels.values() for name, _ in imports(ast.parse(source))}
    assert [name for name in names if name.startswith("model_adapters.engine")] == []


@pytest.mark.parametrize("package", ["evalkit.", "model_adapters."])
def test_no_module_is_in_an_import_cycle(package: str) -> None:
    below = {module: imported_modules(source) for module, source in SOURCES.items() if module.startswith(package)}
    TopologicalSorter({module: names & below.keys() - {module} for module, names in below.items()}).prepare()


def imported_modules(source: str) -> set[str]:
    """Modules imported when the given source is imported."""
    names = [name for name, late in imports(ast.parse(source)) if not late]
    return set(names) | {name.rpartition(".")[0] for name in names}


def test_no_import_is_relative() -> None:
    nodes = [(module, node) for module, source in SOURCES.items() for node in ast.walk(ast.parse(source))]
    assert [module for module, node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("evalkit.running.runner", "def f():\n    from suites import ruler\n", ["suites.ruler"]),
        ("evalkit.cli.ruler", "def f():\n    from suites import ruler\n", []),
        ("evalkit.cli.ruler", "if TYPE_CHECKING:\n    from suites.ruler import A\n", []),
        ("evalkit.cli.ruler", "import suites.ruler\n", ["suites.ruler"]),
        ("suites.ruler.suite", "import evalkit.records\nfrom suites.ruler import x\n", []),
        ("suites.ruler.suite", "try:\n    import reports\nexcept E:\n    pass\n", ["reports"]),
        ("suites.ruler.suite", "class A:\n    from model_adapters import x\n", ["model_adapters.x"]),
        ("reports.html", "from evalkit.cli.shared import options\n", ["evalkit.cli.shared.options"]),
        ("reports.html", "import tests.conftest\n", ["tests.conftest"]),
    ],
)
def test_the_rule_is_held(module: str, source: str, expected: list[str]) -> None:
    assert forbidden(module, source) == expected


def test_what_test_modules_share_stands_in_modules_of_its_own() -> None:
    for path in (REPOSITORY / "tests").rglob("*.py"):
        names = {name for name, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert not [name for name in names if ".test_" in name], path


def test_the_recipe_is_what_only_its_program_imports() -> None:
    sources = {
        "model_adapters.loading": "from model_adapters import reference\n",
        "model_adapters.reference": "from model_adapters.reference.tokenizer import build\n",
        "model_adapters.reference.tokenizer": "def f():\n    import model_adapters.reference.words\n",
        "model_adapters.reference.words": "",
        "model_adapters.reference.train": "from model_adapters.reference import batches, words\n",
        "model_adapters.reference.batches": "import suites\n",
    }
    assert recipe(sources) == {"model_adapters.reference.train", "model_adapters.reference.batches"}
