"""Plain and compressed files, recognized by their first bytes."""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from suites.corpora import files
from suites.corpora.files import Member, plain_name, read_file

TEXT = b"One sentence. " * 50


def tar_of(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("b/two.txt", "a/one.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        archive.addfile(tarfile.TarInfo("empty-folder"))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def zip_of(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/one.txt", content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.txt.xz", lzma.compress), ("a.txt.bz2", bz2.compress)],
)
def test_single_files_unpack_to_one_member(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(pack(TEXT))
    file = read_file(path, f"sub/{name}")
    assert file.members == (Member("a.txt", TEXT),)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.shown == f"sub/{name}"


def test_a_wrong_suffix_does_not_mislead(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(gzip.compress(TEXT))
    assert read_file(path).members[0].data == TEXT


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_tar_archives_unpack_their_files_in_order_of_name(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(pack(tar_of(TEXT)))
    members = [member for member in read_file(path).members if member.data]
    assert members == [Member("a/one.txt", TEXT), Member("b/two.txt", TEXT)]


def test_zip_archives_unpack_what_they_hold_compressed_members_too(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(gzip.compress(TEXT)))
    assert read_file(path).members == (Member("folder/one.txt", TEXT),)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, zip_of])
def test_a_truncated_file_is_one_line(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "dev.json.gz"
    path.write_bytes(pack(TEXT)[:-12])
    with pytest.raises(UsageError, match=r"dev\.json\.gz: cannot be read \(.+\); replace the file or remove it"):
        read_file(path)


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(tmp_path / "none.json")


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"0" * 5000))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="unpacks to more than 1,000 bytes"):
        read_file(path)
    path.write_bytes(b"0" * 5000)
    with pytest.raises(UsageError, match="larger than 1,000 bytes"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("a.json.gz", "a.json"), ("a.tar.xz", "a"), ("a.tgz", "a"), ("a.txt", "a.txt"), ("a.zip", "a.zip")],
)
def test_names_without_compression(name: str, plain: str) -> None:
    assert plain_name(name) == plain
