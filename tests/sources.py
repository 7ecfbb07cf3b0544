"""The source text of all packages, and the imports of each module."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support import REPOSITORY

SIBLINGS = {"suites", "model_adapters", "reports"}
PACKAGES = {"evalkit", *SIBLINGS}
_FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports(node: ast.AST, *, late: bool = False) -> Iterator[tuple[str, bool]]:
    """Absolute names of imports, and whether each is late: in a function, or for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((name.name, late) for name in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module is not None and child.level == 0:
            yield from ((f"{child.module}.{name.name}", late) for name in child.names)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from imports(child, late=late or is_function or for_types)


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in _FILES}
