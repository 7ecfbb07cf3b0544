"""Folders of Ray instances of this machine."""

import os
import tempfile
from pathlib import Path

import pytest

from evalkit.running.folder_lock import LOCK, FolderLock
from model_adapters.replicas.ray_cluster import PREFIX, SETTLED_SECONDS, _folder


def test_folders_that_killed_commands_left_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("model_adapters.replicas.ray_cluster.LONGEST_FOLDER", 1_000)
    folders = {name: tmp_path / f"{PREFIX}{name}" for name in ("killed", "running", "new", "unknown")}
    locks = {name: FolderLock(folder) for name, folder in folders.items()}
    (folders["unknown"] / LOCK).unlink()
    for name in ("killed", "running"):
        (folders[name] / "socket").touch()
        old = (folders[name] / LOCK).stat().st_mtime - SETTLED_SECONDS - 1
        os.utime(folders[name] / LOCK, (old, old))
    locks["killed"].release()
    made = _folder()
    assert set(tmp_path.iterdir()) == {*folders.values(), made} - {folders["killed"]}


def test_sockets_have_short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = _folder()
    assert made.parent == Path("/tmp")
    made.rmdir()
