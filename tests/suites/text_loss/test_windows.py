"""Windows tile their documents, fit their context, and are found again by position."""

import gzip
import json
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.records import CorpusUse
from model_adapters.scripted import ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from suites.corpora import Essays
from suites.text_loss.sources import EssayText, JsonLines, Source, TextFile, open_source
from suites.text_loss.windows import WindowSize, cut_windows

TOKENIZER = ScriptedTokenizer()
WORDS = st.lists(
    st.sampled_from(["river", "é", "a", "Donaudampfschiff", "\n", "日本", "  ", "42,", "x" * 40]), max_size=400
)
SIZES = st.tuples(st.integers(12, 200), st.integers(0, 6)).map(lambda pair: WindowSize(*pair))


def texts_of(source: Source, size: WindowSize) -> list[tuple[str, str]]:
    """(context, scored text) of every window, reconstructed from positions."""
    return [
        (source.read(w.document, w.context, w.start), source.read(w.document, w.start, w.end))
        for w in cut_windows(source, TOKENIZER, size)
    ]


def check(texts: list[tuple[str, str]], whole: str, size: WindowSize) -> None:
    assert "".join(text for _, text in texts) == whole
    before = ""
    for context, text in texts:
        assert text
        assert len(TOKENIZER.encode(context + text)) <= size.tokens
        assert before.endswith(context)
        if before and size.overlap:
            assert context
        before += text


@settings(deadline=None)
@given(WORDS, SIZES)
def test_a_text_file_is_tiled(tmp_path_factory: pytest.TempPathFactory, words: list[str], size: WindowSize) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(" ".join(words).encode())
    check(texts_of(TextFile(path), size), " ".join(words), size)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=3), SIZES)
def test_each_line_of_a_jsonl_file_begins_anew(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[str]], size: WindowSize
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    lines = [
        json.dumps({"text": " ".join(words)}, ensure_ascii=index % 2 == 0) for index, words in enumerate(documents)
    ]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    source = JsonLines(path, "text")
    windows = list(cut_windows(source, TOKENIZER, size))
    starts = list(dict.fromkeys(window.document for window in windows))
    told = [" ".join(words) for words in documents if " ".join(words)]
    assert len(starts) == len(told)
    for start, whole in zip(starts, told, strict=True):
        own = [window for window in windows if window.document == start]
        assert own[0].context == own[0].start == 0
        texts = [(source.read(start, w.context, w.start), source.read(start, w.start, w.end)) for w in own]
        check(texts, whole, size)


def test_windows_are_nearly_full_and_end_between_words(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("The quick brown fox jumps over the lazy dog. " * 2000, encoding="utf-8")
    texts = [text for _, text in texts_of(TextFile(path), WindowSize(256, 0))]
    assert len(texts) > 50
    for text in texts[:-1]:
        assert 230 < len(TOKENIZER.encode(text)) <= 256
        assert text[-1] in ".abcdefghijklmnopqrstuvwxyz"
    assert all(text[0] == " " for text in texts[1:])


def test_memory_is_bounded_by_the_window(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("the quick brown fox\n" * 400_000, encoding="utf-8")
    tracemalloc.start()
    assert len(list(islice(cut_windows(TextFile(path), TOKENIZER, WindowSize(1024, 0)), 20))) == 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def test_essays_are_read_by_position() -> None:
    sentences = tuple(f"Sentence {number} is here." for number in range(300))
    source = EssayText(Essays(CorpusUse("essays", "x", "0" * 64, "test"), sentences))
    size = WindowSize(100, 10)
    check(texts_of(source, size), "".join(f"{sentence} " for sentence in sentences), size)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "fine"}\n{"text": 3}\n', r"a.jsonl:2: field 'text' is not text"),
        ("a.jsonl", b'{"text": "fine"}\n\n{"body": "x"}\n', r"a.jsonl:3 has no field 'text'; .*--field"),
        ("a.jsonl", b'{"text": "fine"}\n{"text"\n', r"a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": ' + b"[" * 9999 + b"]" * 9999 + b"}", r"a.jsonl:2: nested more than"),
        ("a.jsonl", b'"text"\n', r"a.jsonl:1 has no field"),
        ("a.jsonl", b'{"text": "ab\\ud800"}\n', r"a.jsonl:1: character 2 is half a surrogate pair"),
        ("a.txt", b"fine\n" * 20_000 + b"\xff", r"byte 100,000 is not UTF-8"),
        ("a.txt", b"fine \xc3", r"byte 5 is not UTF-8"),
        ("a.txt", b"\xef\xbb\xbffine \xc3", r"byte 8 is not UTF-8"),
    ],
)
def test_bad_input_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        list(cut_windows(open_source(tmp_path / name, "text"), TOKENIZER, WindowSize(64, 0)))


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "Once. " * 40), ("a.jsonl", json.dumps({"text": "Once. " * 40}))]
)
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str, content: str) -> None:
    size = WindowSize(64, 8)
    texts = []
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / name).write_text(content, encoding=encoding)
        texts.append(texts_of(open_source(tmp_path / name, "text"), size))
    assert texts[0] == texts[1]
    check(texts[1], "Once. " * 40, size)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nope\.txt is not a file"):
        open_source(tmp_path / "nope.txt", "text")


@pytest.mark.shared_data
def test_a_novel_is_tiled_by_a_real_tokenizer(shared_data: Path, tmp_path: Path) -> None:
    tokenizer = HfTokenizer.from_file(shared_data / "tokenizers" / "allenai_dolma2.tokenizer.json")
    novel = gzip.decompress(sorted((shared_data / "gutenberg").glob("*.gz"))[0].read_bytes()).decode()[:300_000]
    path = tmp_path / "novel.txt"
    path.write_bytes(novel.encode())
    source, size = TextFile(path), WindowSize(2048, 256)
    windows = list(cut_windows(source, tokenizer, size))
    texts = [source.read(w.document, w.start, w.end) for w in windows]
    assert "".join(texts) == novel.removeprefix("\ufeff")
    whole = [len(tokenizer.encode(source.read(w.document, w.context, w.end))) for w in windows]
    assert whole == [window.tokens for window in windows]
    assert max(whole) <= 2048
    assert min(whole[:-1]) > 1800
