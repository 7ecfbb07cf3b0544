"""A folder of corpora: which files are used, skipped and refused."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from suites.corpora import list_corpora, load_essays, load_hotpotqa, load_squad
from tests.suites.corpora.published import PROSE, encoded, hotpot, squad

EDGE = "OF THIS PROJECT GUTENBERG EBOOK X ***"
GUTENBERG = f"Header.\n*** START {EDGE}\n\n{PROSE}\n\n*** END {EDGE}\n"
ESSAYS = encoded({"text": "Work on what you like. It shows.\n\n" + PROSE})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("EVALKIT_DATA", str(folder))
    return folder


def put(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(name: str) -> Callable[[bytes], bytes]:
    def pack(content: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(name, content)
        return out.getvalue()

    return pack


def tarred(name: str) -> Callable[[bytes], bytes]:
    def pack(content: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    return pack


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("dev-v2.0.json", bytes),
        ("squad.json", bytes),
        ("squad/dev-v2.0.rebuilt.json.gz", gzip.compress),
        ("deep/er/squad.json.xz", lzma.compress),
        ("questions.json.bz2", bz2.compress),
        ("anything.json", bytes),
        ("corpora.zip", zipped("inner/some.json")),
        ("corpora.tar.gz", tarred("inner/some.json")),
    ],
)
def test_squad_is_found_under_any_name_and_compression(data: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = put(data, name, pack(encoded(squad())))
    corpus = load_squad()
    assert [question.question for question in corpus.questions] == ["Who lives here?", "How high?"]
    assert corpus.use.role == "squad"
    assert (corpus.use.name, corpus.use.source) == (path.name, name)
    assert corpus.use.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_squad() is corpus


@pytest.mark.parametrize("name", ["hotpot_dev_distractor_v1.json", "hotpotqa.json", "x/y.json"])
def test_hotpotqa_is_found(data: Path, name: str) -> None:
    put(data, name, encoded(hotpot()))
    put(data, "squad.json", encoded(squad()))
    assert load_hotpotqa().use.source == name
    assert len(load_hotpotqa().questions) == 2
    assert load_squad().use.source == "squad.json"


def test_novels_are_all_taken_in_order_of_name_each_named_with_its_hash(data: Path) -> None:
    first = put(data, "gutenberg/1_one.txt.gz", gzip.compress(GUTENBERG.encode()))
    second = put(data, "gutenberg/2_two.txt", GUTENBERG.replace("storm", "calm"))
    put(data, "gutenberg/README.txt", PROSE.replace("storm", "licence"))
    put(data, "words/nounlist.txt", "apple\nbridge\n" * 500)
    essays = load_essays()
    assert essays.use.name == "1_one.txt.gz, 2_two.txt"
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    assert essays.use.source == f"gutenberg/1_one.txt.gz sha256:{digests[0]}; gutenberg/2_two.txt sha256:{digests[1]}"
    assert essays.use.sha256 not in digests
    assert [("storm" in s, "calm" in s) for s in (essays.sentences[0], essays.sentences[-1])] == [
        (True, False),
        (False, True),
    ]
    assert len(essays.sentences) == 80


def test_novels_need_no_telling_name(data: Path) -> None:
    put(data, "moby.txt", PROSE)
    put(data, "words.txt", "apple\nbridge\n" * 500)
    put(data, ".hidden/other.txt", PROSE)
    put(data, "LICENSE.txt", PROSE)
    assert load_essays().use.name == "moby.txt"


def test_hidden_files_are_passed_over_on_the_disk_and_in_archives(data: Path) -> None:
    put(data, "._dev-v2.0.json", b"\x00\x05\x16\x07")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("./squad/dev-v2.0.json", encoded(squad()))
        archive.writestr("__MACOSX/squad/._dev-v2.0.json", b"\x00\x05\x16\x07")
        archive.writestr("squad/.backup/dev-v2.0.json", b"{}")
    put(data, "squad.zip", out.getvalue())
    assert load_squad().use.source == "squad.zip"


def test_many_novels_are_counted_after_the_eighth(data: Path) -> None:
    for number in range(10):
        put(data, f"novels/{number}.txt", PROSE)
    assert load_essays().use.name.endswith("6.txt, 7.txt and 2 more")
    assert load_essays().use.source.count("sha256:") == 10


def test_essays_come_before_novels(data: Path) -> None:
    put(data, "gutenberg/1.txt", GUTENBERG)
    put(data, "PaulGrahamEssays_URLs.txt", "http://example.org/a.html\n" * 100)
    put(data, "PaulGrahamEssays.json", ESSAYS)
    essays = load_essays()
    assert essays.use.name == "PaulGrahamEssays.json"
    assert essays.sentences[:2] == ("Work on what you like.", "It shows.")


def test_a_role_that_the_folder_lacks_is_served_by_the_embedded_corpus(data: Path) -> None:
    put(data, "english_words.json", encoded({"a": 1}))
    put(data, "tokenizer.json", encoded({"model": {"vocab": {}}}))
    assert [row.source for row in list_corpora()] == ["embedded"] * 3
    put(data, "squad.json", encoded(squad()))
    assert [row.source for row in list_corpora()] == ["embedded", "squad.json", "embedded"]
    assert [row.state for row in list_corpora()][1] == "taken as it is"
    assert load_essays().use.source == "embedded"


def test_a_changed_environment_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(data, "squad.json", encoded(squad()))
    assert load_squad().use.source == "squad.json"
    monkeypatch.delenv("EVALKIT_DATA")
    assert load_squad().use.source == "embedded"


def test_of_several_the_published_name_is_the_one_meant(data: Path) -> None:
    put(data, "squad/dev-v1.1.json", b"{}")
    put(data, "squad/train-v2.0.json", b"{}")
    put(data, "squad/dev-v2.0.json", encoded(squad()))
    assert load_squad().use.source == "squad/dev-v2.0.json"
    put(data, "hotpot/hotpot_dev_fullwiki_v1.json", b"[]")
    put(data, "hotpot/hotpot_dev_distractor_v1.json", encoded(hotpot()))
    assert load_hotpotqa().use.source == "hotpot/hotpot_dev_distractor_v1.json"


@pytest.mark.parametrize(
    ("files", "load", "message"),
    [
        ({"squad/dev-v2.0.json": b"{"}, load_squad, "squad/dev-v2.0.json: not SQuAD v2 JSON: Input data was truncated"),
        ({"squad.json.gz": gzip.compress(b"x" * 999)[:20]}, load_squad, "squad.json.gz: cannot be read"),
        ({"squad.json": b""}, load_squad, "not SQuAD v2 JSON: Input data was truncated"),
        ({"squad.zip": zipped("a.json")(b"[]")}, load_squad, "not SQuAD v2 JSON: Expected object, got array"),
        ({"hotpotqa.json": b"{}"}, load_hotpotqa, "hotpotqa.json: not HotpotQA JSON: Expected array, got object"),
        ({"PaulGrahamEssays.json": b'{"text": 3}'}, load_essays, "PaulGrahamEssays.json: has no text `text`"),
        ({"PaulGrahamEssays.json": b'{"text": "a'}, load_essays, "PaulGrahamEssays.json: not JSON"),
        ({"PaulGrahamEssays.json": b'{"text": ' + b"[" * 9999}, load_essays, "PaulGrahamEssays.json: nested more than"),
        (
            {"PaulGrahamEssays.json": b'{"text": "ab\\ud83d."}'},
            load_essays,
            "character 2 of `text` is half a surrogate",
        ),
        ({"PaulGrahamEssays.json": b'{"text": ""}'}, load_essays, "PaulGrahamEssays.json: not running text"),
        ({"essays/one.txt": b"apple\n" * 999}, load_essays, "essays/one.txt: not running text"),
        ({"gutenberg/1.txt": b""}, load_essays, "gutenberg/1.txt: not running text"),
        ({"squad_a.json": b"{}", "squad_b.json": b"{}"}, load_squad, "squad_a.json, squad_b.json could be the same"),
        (
            {"squad.zip": zipped("dev-v2.json")(b"{}"), "dev-v2.0.json": b"{}"},
            load_squad,
            r"dev-v2.0.json, squad.zip could be the same corpus; keep one of them",
        ),
    ],
)
def test_a_file_that_claims_a_role_and_does_not_hold_it_is_one_line(
    data: Path, files: dict[str, bytes], load: Callable[[], object], message: str
) -> None:
    for name, content in files.items():
        put(data, name, content)
    with pytest.raises(UsageError) as caught:
        load()
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert re.search("remove|keep", str(caught.value))


def test_a_missing_folder_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path / "none"))
    for load in (load_essays, load_squad, load_hotpotqa, list_corpora):
        with pytest.raises(UsageError, match="no such folder; name the folder that holds the corpora, or unset it"):
            load()


def test_texts_that_are_not_utf8_are_read_as_latin1(data: Path) -> None:
    put(data, "novel.txt", ("Café. " + PROSE).encode("latin-1"))
    assert load_essays().sentences[0] == "Café."


def test_only_the_role_that_is_requested_is_parsed(data: Path) -> None:
    put(data, "hotpotqa.json", b"broken")
    put(data, "squad.json", encoded(squad()))
    assert load_squad().use.source == "squad.json"
    with pytest.raises(UsageError, match="HotpotQA"):
        load_hotpotqa()


def test_json_with_a_byte_order_mark_is_read(data: Path) -> None:
    put(data, "a.json", json.dumps({"text": PROSE}).encode("utf-8-sig"))
    assert load_essays().use.name == "a.json"
