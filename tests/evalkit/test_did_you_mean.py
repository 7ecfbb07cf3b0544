"""A wrong name gets a hint."""

import pytest

from evalkit.did_you_mean import check_known, did_you_mean
from evalkit.errors import UsageError

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
