"""A folder belongs to one process at a time, and one that was not used after all is not left behind."""

import os
import threading
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.running.folder_lock import LOCK, FolderInUseError, FolderLock
from evalkit.running.store import check_out


def test_the_second_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "run"):
        with pytest.raises(FolderInUseError, match="run is in use by another process; wait for it or choose another"):
            FolderLock(tmp_path / "run")
        with pytest.raises(FolderInUseError):
            check_out(tmp_path / "run", resume=True)
    FolderLock(tmp_path / "run").release()
    check_out(tmp_path / "run", resume=True)


def test_what_it_created_and_nobody_used_is_removed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "a" / "b", tmp_path / "there"):
        with FolderLock(folder) as lock:
            assert os.listdir(folder) == [LOCK]
        lock.release()
    assert os.listdir(tmp_path) == ["there"]
    assert os.listdir(tmp_path / "there") == []


def test_what_holds_anything_stays(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "run"):
        (tmp_path / "run" / "manifest.json").write_text("{}")
    assert set(os.listdir(tmp_path / "run")) == {LOCK, "manifest.json"}


def test_a_lock_whose_file_was_removed_is_no_lock(tmp_path: Path) -> None:
    """However often the holder changes, there is never more than one."""
    holders, most, rounds = [0], [0], 200

    def hold() -> None:
        for _ in range(rounds):
            try:
                with FolderLock(tmp_path / "run"):
                    holders[0] += 1
                    most[0] = max(most[0], holders[0])
                    holders[0] -= 1
            except FolderInUseError:
                continue

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.mark.parametrize("place", ["file/run", "file", "x" * 300, "loop/run"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match=r"cannot write to .*; choose another folder with --out"):
        FolderLock(tmp_path / place)
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]
