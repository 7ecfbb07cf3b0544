"""The cache folder follows EVALKIT_CACHE."""

from pathlib import Path

import pytest

from evalkit.cache import cache_folder


def test_the_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"
    assert not cache_folder().exists()


@pytest.mark.parametrize("value", [None, ""])
def test_the_home_folder_serves_where_it_is_not_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("EVALKIT_CACHE")
    else:
        monkeypatch.setenv("EVALKIT_CACHE", value)
    assert cache_folder() == tmp_path / ".cache" / "evalkit"


def test_a_tilde_in_the_variable_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EVALKIT_CACHE", "~/large-disk")
    assert cache_folder() == tmp_path / "large-disk"
