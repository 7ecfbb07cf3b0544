"""Names resolve late, and a wrong one gets a hint."""

import sys
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.registry import check_known, did_you_mean, resolve

TASKS = ("niah_single_1", "niah_single_2", "vt", "cwe")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("niah_singel_2", "; did you mean 'niah_single_2'?"),
        ("VT", "; known: cwe, niah_single_1, niah_single_2, vt"),
        ("", "; known: cwe, niah_single_1, niah_single_2, vt"),
    ],
)
def test_the_hint_is_the_nearest_name_or_all_of_them(name: str, hint: str) -> None:
    assert did_you_mean(name, TASKS) == hint


def test_the_first_unknown_name_is_refused() -> None:
    check_known("task", TASKS, TASKS)
    with pytest.raises(UsageError, match=r"^unknown task 'cew'; did you mean 'cwe'\?$"):
        check_known("task", ["vt", "cew", "x"], iter(TASKS))


def test_resolving_imports_only_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("late_one", "late_two"):
        (tmp_path / f"{name}.py").write_text(f"VALUE = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = {"one": "late_one:VALUE", "two": "late_two:VALUE"}
    assert resolve("thing", "one", registry) == "late_one"
    assert "late_two" not in sys.modules
    with pytest.raises(UsageError, match="unknown thing 'tow'; did you mean 'two'"):
        resolve("thing", "tow", registry)
    del sys.modules["late_one"]
