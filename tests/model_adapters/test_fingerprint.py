"""A fingerprint depends only on the bytes, not on folder or time, and is never taken from a stale cache."""

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.cache import cache_folder
from evalkit.errors import UsageError
from model_adapters import fingerprint as module
from model_adapters.fingerprint import SMALL_BYTES, file_sha256, fingerprint, hashing


def write(folder: Path, **contents: bytes) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def cached() -> list[Path]:
    return sorted((cache_folder() / "sha256").glob("*"))


def large(path: Path, fill: bytes, *, age_seconds: float = 3600) -> Path:
    """A file large and old enough for its checksum to be cached."""
    path.write_bytes(fill * SMALL_BYTES)
    stamp = time.time() - age_seconds
    os.utime(path, (stamp, stamp))
    return path


def test_another_folder_and_another_order_give_the_same(tmp_path: Path) -> None:
    here = write(tmp_path / "here", config=b"{}", weights=b"abc")
    there = write(tmp_path / "there", weights=b"abc", config=b"{}")
    assert fingerprint(here) == fingerprint(there) == fingerprint(reversed(here))
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    assert fingerprint(tmp_path / "elsewhere" / path.name for path in here) == fingerprint(there)


@given(content=st.binary(min_size=1, max_size=64), position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_any_other_bit_gives_another(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, position: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("checkpoint")
    changed = bytearray(content)
    changed[position % len(content)] ^= 1 << bit
    before = fingerprint(write(folder, config=b"{}", weights=content))
    assert fingerprint(write(folder, config=b"{}", weights=bytes(changed))) != before


def test_bytes_that_move_between_files_give_another(tmp_path: Path) -> None:
    assert fingerprint(write(tmp_path, a=b"xy", b=b"z")) != fingerprint(write(tmp_path, a=b"x", b=b"yz"))
    assert fingerprint(write(tmp_path, a=b"x", b=b"y")) != fingerprint(write(tmp_path, a=b"y", b=b"x"))


def test_the_value_is_a_sha256_of_named_sha256s(tmp_path: Path) -> None:
    files = write(tmp_path, b=b"2", a=b"1")
    lines = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in (("a", b"1"), ("b", b"2")))
    assert fingerprint(files) == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = large(tmp_path / "weights", b"x")
    digest = file_sha256(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(cached()) == 1
    monkeypatch.setattr(module, "_sha256", lambda *_: pytest.fail("read again"))
    assert file_sha256(file) == digest


def test_a_changed_file_is_read_again_even_with_its_old_time(tmp_path: Path) -> None:
    file = large(tmp_path / "weights", b"x")
    before, stamp = file_sha256(file), file.stat().st_mtime_ns
    file.write_bytes(b"y" * SMALL_BYTES)
    os.utime(file, ns=(stamp, stamp))
    assert file.stat().st_mtime_ns == stamp
    assert file_sha256(file) != before


def test_a_file_that_was_just_written_is_not_kept(tmp_path: Path) -> None:
    file = large(tmp_path / "weights", b"x", age_seconds=0)
    file_sha256(file)
    assert cached() == []


def test_small_files_are_not_kept(tmp_path: Path) -> None:
    (file,) = write(tmp_path, config=b"{}")
    os.utime(file, (0, 0))
    file_sha256(file)
    assert cached() == []


@pytest.mark.parametrize("content", [b"", b"not a digest", b"\xff" * 64, b"g" * 64, b"A" * 64])
def test_a_damaged_cache_entry_is_replaced(tmp_path: Path, content: bytes) -> None:
    file = large(tmp_path / "weights", b"x")
    digest = file_sha256(file)
    (entry,) = cached()
    entry.write_bytes(content)
    assert file_sha256(file) == digest
    assert entry.read_text() == digest


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "a-file"))
    file = large(tmp_path / "weights", b"x")
    assert file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_link_and_its_target_share_an_entry(tmp_path: Path) -> None:
    file = large(tmp_path / "weights", b"x")
    link = tmp_path / "link"
    link.symlink_to(file)
    assert file_sha256(link) == file_sha256(file)
    assert len(cached()) == 1


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "weights"
    with pytest.raises(UsageError) as raised:
        module.file_sha256(missing)
    assert str(raised.value) == f"{missing}: cannot be read (No such file or directory); check its permissions"


def test_a_block_that_fails_ends_the_reading_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    class Endless:
        def readinto(self, buffer: bytearray) -> int:
            begun.set()
            return len(buffer)

    read = module._sha256
    monkeypatch.setattr(module, "_sha256", lambda _, given_up: read(Endless(), given_up))  # type: ignore[arg-type]

    def load() -> None:
        with hashing([large(tmp_path / "weights", b"x")]):
            assert begun.wait(60)
            raise RuntimeError("the weights do not fit")

    with pytest.raises(RuntimeError, match="the weights do not fit"):
        load()
    assert cached() == []


def test_hashing_goes_on_while_the_block_works(tmp_path: Path) -> None:
    file = large(tmp_path / "weights", b"x")
    with hashing([file]) as found:
        patience = time.monotonic() + 60
        while not cached() and time.monotonic() < patience:
            time.sleep(0.001)
        assert cached(), "nothing was hashed before the result was needed"
        assert found() == fingerprint([file])


def test_a_file_that_cannot_be_read_is_named_when_the_result_is_needed(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"weights: cannot be read \(No such file or directory\)"),
        hashing([tmp_path / "weights"]) as found,
    ):
        found()
