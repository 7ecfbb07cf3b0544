"""Fetching over loopback: complete files with the published contents are accepted, nothing else is."""

import contextlib
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.cache import cache_folder
from evalkit.errors import UsageError
from suites.corpora import download, fetch, graham, list_corpora, load_essays, load_hotpotqa, load_squad, verify
from suites.corpora.lock import MUTEX, Entry, read_lock, write_entry
from suites.corpora.sources import ROLES, SOURCES, Download, Source
from tests.suites.corpora.conftest import HOTPOT, PAGE, SQUAD, Site
from tests.suites.corpora.published import PROSE


def cached() -> list[str]:
    folder = cache_folder() / "corpora"
    return sorted(name for name in os.listdir(folder) if name != MUTEX) if folder.exists() else []


def test_all_roles_arrive_and_serve(sources: dict[str, Source], site: Site) -> None:
    said: list[str] = []
    rows = fetch(report=said.append)
    assert [(row.role, row.path.name, row.pinned, row.kept) for row in rows] == [
        ("essays", "essays.json", False, False),
        ("squad", "dev-v2.0.json", True, False),
        ("hotpotqa", "hotpot.json", True, False),
    ]
    assert rows[1].bytes == len(SQUAD)
    assert rows[1].path.read_bytes() == SQUAD
    assert cached() == ["dev-v2.0.json", "essays.json", "hotpot.json", "lock.json"]
    assert "essays: 2 of 2 pages" in said
    assert [row.state for row in verify()] == ["ok"] * 3
    assert [row.state for row in list_corpora()] == ["as first fetched", "as published", "as published"]
    assert load_squad().use.source == site.url("/squad")
    assert load_squad().use.sha256 == hashlib.sha256(SQUAD).hexdigest()
    assert len(load_hotpotqa().questions) == 2
    sentences = load_essays().sentences
    assert sentences[0] == "Lisp is old."
    assert sentences[-1] == "It is also rare."
    assert "Good work is simple & true." in sentences
    assert not any("menu" in sentence or "footer" in sentence or "not this" in sentence for sentence in sentences)


def test_a_second_fetch_asks_for_nothing(sources: dict[str, Source], site: Site) -> None:
    first = fetch()
    site.asked.clear()
    second = fetch()
    assert site.asked == []
    assert [row.kept for row in second] == [True] * 3
    assert [row.sha256 for row in first] == [row.sha256 for row in second]


def test_a_fetch_is_noticed_by_the_same_process(sources: dict[str, Source]) -> None:
    assert load_squad().use.source == "embedded"
    fetch(["squad"])
    assert load_squad().use.source != "embedded"
    assert cached() == ["dev-v2.0.json", "lock.json"]


def test_a_corrupt_file_is_reported_refused_and_fetched_again(sources: dict[str, Source]) -> None:
    (row,) = fetch(["squad"])
    row.path.write_bytes(SQUAD[:-1])
    assert [row.state for row in verify()] == ["absent", "corrupt", "absent"]
    with pytest.raises(UsageError, match=r"dev-v2\.0\.json: corrupt: sha256 .* run `evalkit data fetch --roles squad`"):
        load_squad()
    fetch(["squad"])
    assert [row.state for row in verify()] == ["absent", "ok", "absent"]
    assert load_squad().questions


def test_a_file_that_nobody_fetched_is_not_trusted(sources: dict[str, Source]) -> None:
    (cache_folder() / "corpora").mkdir(parents=True)
    (cache_folder() / "corpora" / SOURCES["squad"].file).write_bytes(SQUAD)
    assert [row.state for row in verify()] == ["absent", "corrupt", "absent"]
    with pytest.raises(UsageError, match="expected none on record"):
        load_squad()


def test_the_mirror_serves_where_the_home_does_not(sources: dict[str, Source], site: Site) -> None:
    site.answers["/hotpot"] = 503
    (row,) = fetch(["hotpotqa"])
    assert row.path.read_bytes() == HOTPOT
    assert load_hotpotqa().use.source == site.url("/mirror")


def truncated(site: Site) -> None:
    site.missing_bytes = 7


def other_content(site: Site) -> None:
    site.answers["/squad"] = SQUAD.replace(b"Ida", b"Eda")


def gone(site: Site) -> None:
    site.answers["/squad"] = 404


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, rf"cannot be downloaded \(IncompleteRead\({len(SQUAD) - 7} bytes read, 7 more expected\)\)"),
        (other_content, r"is not what was published: its sha256 is not [0-9a-f]{16}…"),
        (gone, r"answered 404 Not Found"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(
    sources: dict[str, Source], site: Site, damage: Callable[[Site], None], reason: str
) -> None:
    damage(site)
    with pytest.raises(
        UsageError, match=rf"not fetched: squad: 127\.0\.0\.1:\d+/squad {reason}; check the network, or"
    ):
        fetch(["squad"])
    assert cached() == []


def test_a_failed_download_leaves_the_file_that_was_there(sources: dict[str, Source], site: Site) -> None:
    (row,) = fetch(["squad"])
    row.path.write_bytes(b"damaged")
    site.answers["/squad"] = 500
    with pytest.raises(UsageError, match="500"):
        fetch(["squad"])
    assert row.path.read_bytes() == b"damaged"
    assert cached() == ["dev-v2.0.json", "lock.json"]


def test_a_failed_download_is_tried_again(
    sources: dict[str, Source], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "RETRIES", 2)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _seconds: site.answers.update({"/squad": SQUAD}))
    site.answers["/squad"] = 503
    (row,) = fetch(["squad"])
    assert site.asked == ["/squad"] * 2
    assert stat.S_IMODE(row.path.stat().st_mode) == 0o644


def test_a_bar_shows_how_far_a_download_is(sources: dict[str, Source], capsys: pytest.CaptureFixture[str]) -> None:
    fetch(["squad"])
    assert capsys.readouterr() == ("", "")
    fetch(["hotpotqa"], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "100%" in shown.err


def test_one_failure_does_not_keep_the_others_away(sources: dict[str, Source], site: Site) -> None:
    site.answers["/squad"] = 404
    site.answers["/taste.html"] = 404
    with pytest.raises(
        UsageError, match=r"not fetched: essays: .*taste\.html answered 404 .*; squad: .* 404 Not Found;"
    ):
        fetch()
    assert cached() == ["hotpot.json", "lock.json"]


def test_no_network_is_one_line(sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Download("http://127.0.0.1:9/deep/er/dev-v2.0.json", "0" * 64, 1)
    monkeypatch.setitem(sources, "squad", Source("squad", "dev-v2.0.json", "t", "l", (dead,)))
    with pytest.raises(
        UsageError, match=r"127\.0\.0\.1:9/…/dev-v2\.0\.json cannot be downloaded \(Connection refused\)"
    ):
        fetch(["squad"])
    assert cached() == []


def test_an_interrupt_leaves_nothing(sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, url: str, output_file: str, store: object) -> None:
        Path(output_file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(["squad"])
    assert cached() == []


def test_what_a_killed_download_left_is_removed_after_an_hour(sources: dict[str, Source]) -> None:
    folder = cache_folder() / "corpora"
    folder.mkdir(parents=True)
    old, new = [folder / ".a.json.x.part", folder / "tmpa"], [folder / ".b.json.y.part", folder / "tmpb"]
    for path in (*old, *new):
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, (time.time() - 7200,) * 2)
    fetch(["squad"])
    assert cached() == [".b.json.y.part", "dev-v2.0.json", "lock.json", "tmpb"]


def test_essays_that_changed_since_the_first_fetch_are_refused_until_accepted(
    sources: dict[str, Source], site: Site
) -> None:
    (row,) = fetch(["essays"])
    row.path.unlink()
    site.answers["/taste.html"] = PAGE.replace("simple", "plain").encode()
    with pytest.raises(UsageError, match=r"the pages changed since they were first fetched .* remove .*lock\.json"):
        fetch(["essays"])
    assert cached() == ["lock.json"]
    (cache_folder() / "corpora" / "lock.json").unlink()
    fetch(["essays"])
    assert any("plain" in sentence for sentence in load_essays().sentences)


def test_pages_come_from_the_fixed_commit_where_it_has_them(
    sources: dict[str, Source], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers["/pinned/lisp.txt"] = f"Pinned Lisp. {PROSE}".encode()
    essays = sources["essays"]
    pinned = Source(
        essays.role,
        essays.file,
        "t",
        "l",
        page_list=essays.page_list,
        mirrored=((site.url("/main/"), site.url("/pinned/")),),
    )
    monkeypatch.setitem(sources, "essays", pinned)
    fetch(["essays"])
    assert load_essays().sentences[0] == "Pinned Lisp."
    assert "/main/lisp.txt" not in site.asked


def test_a_page_without_an_essay_is_refused(sources: dict[str, Source], site: Site) -> None:
    site.answers["/taste.html"] = b"<html><font>moved</font></html>"
    with pytest.raises(UsageError, match=r"taste\.html holds no essay"):
        fetch(["essays"])


def test_a_changed_page_list_is_refused(sources: dict[str, Source], site: Site) -> None:
    site.answers["/list"] = b"http://elsewhere.example/a.txt\n"
    with pytest.raises(UsageError, match=r"/list is not what was published"):
        fetch(["essays"])


def test_pages_in_the_old_encoding_are_read() -> None:
    assert graham._decoded("It’s".encode("cp1252")) == "It’s"
    assert graham.text_of_page("<body>no font<br>at all</body>") == "no font\nat all"


def test_an_unknown_role_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown corpus 'squat'; did you mean 'squad'"):
        fetch(["squat"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"squad": {"file": 3}}', b"[" * 9999])
def test_a_damaged_lock_is_one_line(content: bytes) -> None:
    folder = cache_folder() / "corpora"
    folder.mkdir(parents=True)
    (folder / "lock.json").write_bytes(content)
    for read in (verify, load_squad, list_corpora):
        with pytest.raises(UsageError, match=r"lock\.json: cannot be read .*; remove it and run `evalkit data fetch`"):
            read()


def test_a_cache_that_cannot_be_written_is_one_line(
    sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"file/corpora cannot be written: .+; set EVALKIT_CACHE to a folder"):
        fetch(["squad"])


def test_a_full_disk_is_one_line_and_leaves_nothing(
    sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.core.shutil.move", full)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        fetch(["squad"])
    assert cached() == []


def test_the_published_sources_are_complete() -> None:
    assert tuple(SOURCES) == ROLES
    for role, source in SOURCES.items():
        assert source.role == role
        assert bool(source.downloads) != bool(source.page_list)
        for place in (*source.downloads, *([source.page_list] if source.page_list else [])):
            assert len(bytes.fromhex(place.sha256)) == 32
            assert place.url.startswith(("https://", "http://"))


def test_the_lock_says_where_each_file_came_from(sources: dict[str, Source], site: Site) -> None:
    fetch(["hotpotqa"])
    lock = json.loads((cache_folder() / "corpora" / "lock.json").read_text())
    assert lock["hotpotqa"] == {
        "file": "hotpot.json",
        "sha256": hashlib.sha256(HOTPOT).hexdigest(),
        "bytes": len(HOTPOT),
        "url": site.url("/hotpot"),
        "pinned": True,
    }
    with contextlib.suppress(FileNotFoundError):
        os.unlink(cache_folder() / "corpora" / "hotpot.json")
    assert [row.state for row in verify()] == ["absent"] * 3


def test_processes_that_fetch_side_by_side_lose_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_read() -> dict[str, Entry]:
        entries = read_lock()
        time.sleep(0.01)  # without the lock, all writers would read before the first one writes
        return entries

    monkeypatch.setattr("suites.corpora.lock.read_lock", slow_read)
    entries = {str(number): Entry(f"{number}.json", "ab" * 32, 1, "https://x", pinned=True) for number in range(8)}
    writers = [threading.Thread(target=write_entry, args=item) for item in entries.items()]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert read_lock() == entries
