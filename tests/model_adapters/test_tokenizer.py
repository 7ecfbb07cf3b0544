"""A checkpoint's tokenizer is lossless, never truncates, and has correct offsets and a stable fingerprint."""

import base64
import gzip
import importlib.util
import io
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from evalkit.errors import UsageError
from model_adapters.tokenizer import HfTokenizer
from tests.model_adapters.small_models import BOS_ID, EOS_ID, PAD_ID, byte_tokenizer
from tests.support import run_python

TEXT = "A magic number, 1234567, for héllo 🙂\n\n  two  spaces"


def byte_backend() -> Backend:
    """One token per byte, in a fresh backend that a test may damage."""
    return Backend.from_str(byte_tokenizer().backend_tokenizer.to_str())


def wrap(backend: Backend) -> HfTokenizer:
    return HfTokenizer(backend, name="test")


BYTES = wrap(byte_backend())


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Callable[[str], HfTokenizer]:
    kept: dict[str, HfTokenizer] = {}

    def load(name: str) -> HfTokenizer:
        if name not in kept:
            kept[name] = HfTokenizer.from_file(shared_data / "tokenizers" / f"{name}.tokenizer.json")
        return kept[name]

    return load


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["allenai_dolma2", "gpt2"])
def test_real_tokenizers_are_lossless_on_a_novel(
    real: Callable[[str], HfTokenizer], shared_data: Path, name: str
) -> None:
    tokenizer = real(name)
    with gzip.open(shared_data / "gutenberg" / "2701_moby_dick.txt.gz", "rt", encoding="utf-8") as opened:
        text = opened.read()[:100_000]
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text) == tokenizer.encode_prompt(text)
    assert tokenizer.add_special_tokens([]) == []
    assert tokenizer.decode(ids) == text
    assert_covering(text, offsets)


@pytest.mark.shared_data
def test_real_tokenizers_put_spaces_into_offsets(real: Callable[[str], HfTokenizer]) -> None:
    ids, offsets = real("allenai_dolma2").encode_with_offsets("The special magic number")
    assert offsets == [(0, 3), (3, 11), (11, 17), (17, 24)]
    assert len(ids) == 4


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_bytes_are_lossless_and_offsets_cover_the_text(text: str) -> None:
    ids, offsets = BYTES.encode_with_offsets(text)
    assert ids == BYTES.encode(text)
    if not any(special in text for special in ("<pad>", "<bos>", "<eos>")):
        assert BYTES.decode(ids) == text
        assert len(ids) == len(text.encode())
    assert_covering(text, offsets)


def assert_covering(text: str, offsets: list[tuple[int, int]]) -> None:
    """Each span starts at the end of the previous one, or shares one character with it that two tokens split."""
    end_before = 0
    for start, end in offsets:
        assert end_before - 1 <= start <= end_before <= end
        end_before = end
    assert end_before == len(text)


def test_truncation_and_padding_of_a_definition_are_off() -> None:
    backend = byte_backend()
    backend.enable_truncation(max_length=8)
    backend.enable_padding(pad_id=PAD_ID, pad_token="<pad>", length=500)
    tokenizer = wrap(backend)
    text = "x" * 100
    assert len(tokenizer.encode(text)) == len(tokenizer.encode_with_offsets(text)[0]) == 100
    assert len(tokenizer.encode_prompt(text)) == 100
    assert tokenizer.fingerprint == BYTES.fingerprint


def test_a_text_far_above_the_stated_maximum_is_read_whole_and_without_a_warning(tmp_path: Path) -> None:
    fast = byte_tokenizer()
    fast.model_max_length = 512
    fast.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 512
    tokenizer = HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)
    assert len(tokenizer.encode_prompt("word " * 60_000)) == 300_000


def test_dropout_of_merges_is_off() -> None:
    vocabulary = {"a": 0, "b": 1, "ab": 2, "abab": 3}
    tokenizer = wrap(Backend(models.BPE(vocab=vocabulary, merges=[("a", "b"), ("ab", "ab")], dropout=0.9)))
    assert {tuple(tokenizer.encode("abababab")) for _ in range(20)} == {(3, 3)}


def test_bos_comes_before_a_prompt_and_eos_never_after_it() -> None:
    backend = byte_backend()
    backend.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="<bos> $A <eos>", special_tokens=[("<bos>", BOS_ID), ("<eos>", EOS_ID)]
    )
    tokenizer = wrap(backend)
    assert tokenizer.encode_prompt(TEXT) == [BOS_ID, *tokenizer.encode(TEXT)]
    assert tokenizer.encode(TEXT) == BYTES.encode(TEXT)
    assert tokenizer.add_special_tokens([]) == [BOS_ID]
    assert tokenizer.fingerprint != BYTES.fingerprint


def test_a_bos_that_a_text_spells_out_is_not_doubled() -> None:
    backend = byte_backend()
    backend.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="<bos> $A", special_tokens=[("<bos>", BOS_ID)]
    )
    tokenizer = wrap(backend)
    assert tokenizer.encode_prompt(f"<bos>{TEXT}") == tokenizer.encode_prompt(TEXT)
    assert tokenizer.encode_prompt(f" <bos>{TEXT}")[0] == BOS_ID
    assert len(tokenizer.encode_prompt(f" <bos>{TEXT}")) == len(tokenizer.encode_prompt(TEXT)) + 2
    assert tokenizer.encode_prompt("") == [BOS_ID]
    assert BYTES.encode_prompt(f"<bos>{TEXT}") == [BOS_ID, *BYTES.encode(TEXT)]


def test_a_processor_that_cuts_spaces_off_offsets_is_undone() -> None:
    backend = byte_backend()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)  # type: ignore[assignment]
    assert wrap(backend).encode_with_offsets(" a b")[1] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_special_and_unknown_ids_say_nothing() -> None:
    ids = BYTES.encode("yes")
    assert BYTES.decode([BOS_ID, *ids, EOS_ID, PAD_ID, 287, 10**6]) == "yes"


def test_a_folder_gives_what_transformers_gives(tmp_path: Path) -> None:
    fast = byte_tokenizer()
    fast.add_bos_token = True
    fast.save_pretrained(tmp_path)
    tokenizer = HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode_prompt(TEXT) == theirs(TEXT)["input_ids"]
    assert tokenizer.encode_prompt(TEXT)[0] == BOS_ID
    assert tokenizer.encode(TEXT) == theirs(TEXT, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(theirs(TEXT)["input_ids"]) == TEXT


def test_a_vocabulary_without_tokenizer_json_is_converted(tmp_path: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)} | {"ab": 256, "<|endoftext|>": 257}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    tokenizer = HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)
    assert tokenizer.encode("abc") == [256, vocabulary["c"]]
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


def test_the_fingerprint_is_that_of_the_definition() -> None:
    assert wrap(byte_backend()).fingerprint == BYTES.fingerprint
    other = byte_backend()
    other.add_special_tokens(["<extra>"])
    assert wrap(other).fingerprint != BYTES.fingerprint


def test_the_fingerprint_is_the_same_in_another_process(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    # A hash map of words, whose order must not matter.
    Backend(models.WordLevel({f"word{index}": index for index in range(1000)}, unk_token="word0")).save(str(file))
    program = (
        "import sys, pathlib; from model_adapters.tokenizer import HfTokenizer; "
        "print(HfTokenizer.from_file(pathlib.Path(sys.argv[1])).fingerprint)"
    )
    done = run_python("-c", program, file)
    assert done.stdout.strip() == HfTokenizer.from_file(file).fingerprint


def test_threads_share_one_tokenizer() -> None:
    texts = [f"{TEXT} {index} " * 200 for index in range(16)]
    expected = [BYTES.encode_prompt(text) for text in texts]
    with ThreadPoolExecutor(max_workers=4) as threads:
        assert list(threads.map(BYTES.encode_prompt, texts)) == expected


def no_vocabulary() -> Backend:
    backend = Backend(models.BPE())
    backend.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    backend.add_special_tokens(["<pad>", "<eos>"])
    return backend


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as raised:
        action()
    return str(raised.value)


@pytest.mark.parametrize("name", ["encode", "encode_with_offsets"])
def test_other_threads_run_while_a_text_is_encoded(name: str) -> None:
    tokenizer = HfTokenizer(byte_tokenizer().backend_tokenizer, name="bytes")
    text = "once upon a time " * 20_000
    encode = getattr(tokenizer, name)
    turns = 0
    with ThreadPoolExecutor(1) as thread:
        encoding = thread.submit(encode, text)
        while not encoding.done():
            time.sleep(1e-4)
            turns += 1
    # A thread that holds Python's lock gives it up twice: before and after the text.
    assert turns > 10


def test_a_tokenizer_without_vocabulary_is_refused(tmp_path: Path) -> None:
    PreTrainedTokenizerFast(tokenizer_object=no_vocabulary()).save_pretrained(tmp_path)
    expected = "here: its tokenizer has no vocabulary; add the tokenizer.json that the model was trained with"
    assert refusal(lambda: HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)) == expected


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    expected = "here: no tokenizer; add the tokenizer.json that the model was trained with"
    assert refusal(lambda: HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{not json", "key must be a string at line 1 column 2"), ("{}", "Model missing. at line 1 column 2")],
)
def test_a_damaged_definition_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(content)
    expected = f"{file}: its tokenizer cannot be read ({reason}); save it again with the library that made it"
    assert refusal(lambda: HfTokenizer.from_file(file)) == expected
    folder = refusal(lambda: HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False))
    assert folder.startswith("here: its tokenizer cannot be read (")
    assert "\n" not in folder


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    message = refusal(lambda: HfTokenizer.from_file(tmp_path / "tokenizer.json"))
    assert "cannot be read (No such file or directory" in message


@pytest.fixture(scope="module")
def sentencepiece_model() -> bytes:
    """A small byte-pair vocabulary trained with SentencePiece itself."""
    sentencepiece = pytest.importorskip("sentencepiece")
    learned = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(f"In the year {year} the letter went to town." for year in range(1500, 1700)),
        model_writer=learned,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return learned.getvalue()


def other_folder(tmp_path: Path, vocabulary: bytes, **config: object) -> Path:
    """A checkpoint without tokenizer.json."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.model").write_bytes(vocabulary)
    return tmp_path


LLAMA = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def test_a_sentencepiece_model_is_read_as_sentencepiece_reads_it(tmp_path: Path, sentencepiece_model: bytes) -> None:
    import sentencepiece

    folder = other_folder(tmp_path, sentencepiece_model, **LLAMA, add_bos_token=True)
    tokenizer = HfTokenizer.from_folder(folder, name="here", trust_remote_code=False)
    own = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model)
    assert tokenizer.encode(TEXT) == own.encode(TEXT)
    assert tokenizer.encode_prompt(TEXT) == [own.bos_id(), *own.encode(TEXT)]
    assert tokenizer.decode(own.encode(TEXT)) == TEXT
    assert (tokenizer.text_start, tokenizer.text_end) == (own.bos_id(), own.eos_id())
    assert tokenizer.encode_with_offsets(TEXT)[0] == own.encode(TEXT)


def tiktoken_vocabulary() -> bytes:
    merged = [bytes([byte]) for byte in range(256)] + [b"he", b"the", b" the"]
    return "\n".join(f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(merged)).encode()


def test_a_vocabulary_of_tiktoken_is_read_as_tiktoken_reads_it(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    folder = other_folder(tmp_path, tiktoken_vocabulary(), tokenizer_class="PreTrainedTokenizerFast")
    tokenizer = HfTokenizer.from_folder(folder, name="here", trust_remote_code=False)
    pairs = (line.split() for line in tiktoken_vocabulary().splitlines())
    own = tiktoken.Encoding(
        "own",
        pat_str=r" ?\p{L}+| ?\p{N}+|[^\s\p{L}\p{N}]+|\s+",
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in pairs},
        special_tokens={},
    )
    text = "the theatre, the 42"
    assert tokenizer.encode(text) == own.encode(text)
    assert tokenizer.decode(own.encode(text)) == text


@pytest.mark.parametrize(
    ("kind", "absent", "packages", "missing"),
    [
        ("a SentencePiece model", "sentencepiece", "sentencepiece and protobuf", "sentencepiece"),
        ("a SentencePiece model", "google", "sentencepiece and protobuf", "protobuf"),
        ("a vocabulary of tiktoken", "tiktoken", "tiktoken", "tiktoken"),
    ],
)
def test_a_conversion_whose_package_is_missing_names_it(
    tmp_path: Path,
    sentencepiece_model: bytes,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    absent: str,
    packages: str,
    missing: str,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.split(".")[0] == absent else find(name))
    vocabulary = tiktoken_vocabulary() if absent == "tiktoken" else sentencepiece_model
    with pytest.raises(UsageError) as raised:
        HfTokenizer.from_folder(other_folder(tmp_path, vocabulary), name="here", trust_remote_code=False)
    assert str(raised.value) == (
        f"here: tokenizer.model is {kind}, which transformers converts with {packages}; pip install {missing}, or add "
        "a tokenizer.json"
    )


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer.model"])
def test_a_git_lfs_pointer_is_no_tokenizer(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(UsageError, match=rf"here: {re.escape(file)} is a Git LFS pointer, not the file; run `git lfs"):
        HfTokenizer.from_folder(tmp_path, name="here", trust_remote_code=False)


def test_what_is_no_vocabulary_is_one_line(tmp_path: Path) -> None:
    folder = other_folder(tmp_path, b"\x00garbage", **LLAMA)
    with pytest.raises(UsageError, match=r"here: its tokenizer cannot be read \(.*\); save it again") as raised:
        HfTokenizer.from_folder(folder, name="here", trust_remote_code=False)
    assert "\n" not in str(raised.value)
