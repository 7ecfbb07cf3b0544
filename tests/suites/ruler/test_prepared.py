"""Samples in files: written in RULER's layout, read in its and Ai2's, and never misread in silence."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.records import Asked, SampleKey
from evalkit.running.protocols import Suite
from model_adapters.scripted import ScriptedAdapter, ScriptedTokenizer
from suites.ruler import TASKS, PreparedSuite, RulerSettings, build
from suites.ruler.prepared import PreparedWriter
from tests.evalkit.runs import run_in
from tests.evalkit.spelled_bos import SpellsBos
from tests.suites.ruler import small_corpora

TOKENIZER = ScriptedTokenizer(adds_bos=True)
NEEDLES = (
    "One of the special magic numbers for {} is: {}.",
    "What is the special magic number for {} mentioned in the provided text?",
)
QUESTION = f"Remember.\nProse. {NEEDLES[0].format('red-fox', '1234567')} More.\n{NEEDLES[1].format('red-fox')}"
PREFIX = " The special magic number for red-fox mentioned in the provided text is"


def rows(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def prepared(folder: Path, *, ctxs: tuple[int, ...] = (4096,), **settings: Any) -> Suite[Asked]:
    return build(RulerSettings.of(ctx=ctxs, data=folder, **settings), TOKENIZER)


@pytest.mark.parametrize("dialect", ["nvidia", "olmes"])
def test_prepared_samples_are_the_very_prompts_that_were_sampled(tmp_path: Path, dialect: str) -> None:
    native = small_corpora.suite(TOKENIZER, ctxs=(1024, 2048), samples=2, dialect=dialect)
    plan = native.plan()
    with PreparedWriter(tmp_path) as writer:
        for key in plan.keys:
            writer.write(native.ask(key).sample)
    again = prepared(tmp_path, ctxs=(1024, 2048), dialect=dialect)
    assert again.plan().keys == plan.keys
    for key in plan.keys:
        native_asked, asked = native.ask(key), again.ask(key)
        expected, sample = native_asked.sample, asked.sample
        assert sample.prompt == expected.prompt
        assert sample.targets == expected.targets
        assert sample.answer_prefix == expected.answer_prefix
        assert (sample.prompt_tokens, sample.generation_tokens) == (expected.prompt_tokens, expected.generation_tokens)
        assert asked.requests == native_asked.requests


def test_rulers_layout_holds_rulers_fields(tmp_path: Path) -> None:
    native = small_corpora.suite(TOKENIZER, ctxs=(1024,), tasks=("vt",), samples=2)
    with PreparedWriter(tmp_path) as writer:
        for key in native.plan().keys:
            writer.write(native.ask(key).sample)
    lines = (tmp_path / "1024" / "vt" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert list(first) == ["index", "input", "answer_prefix", "outputs", "length"]
    assert [first["index"], second["index"]] == [0, 1]
    sample = native.ask(SampleKey("vt", 1024, 0, 42)).sample
    assert first["input"] + first["answer_prefix"] == sample.prompt
    assert first["answer_prefix"].startswith(" Answer: According to")
    assert first["outputs"] == list(sample.targets)
    assert first["length"] == sample.prompt_tokens + 30


def test_a_nvidia_file_can_be_asked_in_olmes_form(tmp_path: Path) -> None:
    native = small_corpora.suite(TOKENIZER, ctxs=(1024,))
    olmes = small_corpora.suite(TOKENIZER, ctxs=(1024,), dialect="olmes")
    key = SampleKey("cwe", 1024, 0, 42)
    with PreparedWriter(tmp_path) as writer:
        writer.write(native.ask(key).sample)
    sample = prepared(tmp_path, ctxs=(1024,), tasks=("cwe",), dialect="olmes").ask(key).sample
    assert sample.answer_prefix == olmes.ask(key).sample.answer_prefix
    assert sample.prompt == native.ask(key).sample.prompt.removesuffix(native.ask(key).sample.answer_prefix) + (
        "\nAnswer: The top 10 words that appear most often in the list are:"
    )


@pytest.mark.parametrize(
    "place",
    [
        "4096/niah_single_2/validation.jsonl",
        "4096/data/niah_single_2/validation.jsonl",
        "niah_single_2/validation_4096.jsonl",
        "data/ruler/niah_single_2/validation_4096.jsonl",
        "niah_single_2/validation.jsonl",
    ],
)
def test_every_layout_is_found(tmp_path: Path, place: str) -> None:
    path = rows(tmp_path / place, {"input": QUESTION, "outputs": ["1234567"], "length": 4000, "answer_prefix": PREFIX})
    suite = prepared(tmp_path)
    plan = suite.plan()
    assert [key.id for key in plan.keys] == ["niah_single_2/4096/0/42"]
    assert {cell.task for cell in plan.unscored} == set(TASKS) - {"niah_single_2"}
    (use,) = plan.corpora
    assert (use.role, use.name, use.source) == ("samples", "niah_single_2@4096", place)
    assert use.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    sample = suite.ask(plan.keys[0]).sample
    assert sample.prompt == QUESTION + PREFIX
    assert sample.answer_prefix == PREFIX
    assert sample.prompt_tokens == len(TOKENIZER.encode_prompt(sample.prompt))
    assert 0 < sample.depths[0] < 1


def test_one_file_a_task_needs_one_length(tmp_path: Path) -> None:
    rows(tmp_path / "vt" / "validation.jsonl", {"input": "x", "outputs": ["ABCDE"]})
    with pytest.raises(UsageError, match="does not state its length"):
        prepared(tmp_path, ctxs=(4096, 8192))


@pytest.mark.parametrize(
    ("text", "prefix", "nvidia", "olmes"),
    [
        (QUESTION, PREFIX, QUESTION + PREFIX, QUESTION + "\n" + PREFIX.strip()),
        (QUESTION, None, QUESTION, QUESTION + "\n" + PREFIX.strip()),
        (QUESTION + PREFIX, PREFIX, QUESTION + PREFIX, QUESTION + PREFIX),
        (QUESTION + PREFIX, None, QUESTION + PREFIX, QUESTION + PREFIX),
        (QUESTION + "\n" + PREFIX.strip(), None, QUESTION + "\n" + PREFIX.strip(), QUESTION + "\n" + PREFIX.strip()),
        (QUESTION, "", QUESTION, QUESTION),
    ],
)
def test_the_prefix_is_added_by_the_dialects_rule(
    tmp_path: Path, text: str, prefix: str | None, nvidia: str, olmes: str
) -> None:
    given = {} if prefix is None else {"answer_prefix": prefix}
    rows(tmp_path / "niah_single_2" / "validation.jsonl", {"input": text, "outputs": ["1234567"], **given})
    key = SampleKey("niah_single_2", 4096, 0, 42)
    assert prepared(tmp_path).ask(key).sample.prompt == nvidia
    assert prepared(tmp_path, dialect="olmes").ask(key).sample.prompt == olmes


@pytest.mark.parametrize("task", TASKS)
def test_olmes_reads_the_prefix_from_the_question_where_the_file_has_none(tmp_path: Path, task: str) -> None:
    native = small_corpora.suite(TOKENIZER, dialect="olmes").ask(SampleKey(task, 1024, 0, 42)).sample
    body = native.prompt.removesuffix(native.answer_prefix)
    rows(tmp_path / task / "validation.jsonl", {"input": body, "outputs": list(native.targets)})
    sample = prepared(tmp_path, ctxs=(1024,), tasks=(task,), dialect="olmes").ask(native.key).sample
    assert sample.prompt == native.prompt
    assert sample.answer_prefix == native.answer_prefix


def test_a_bos_that_a_prompt_spells_out_is_there_once(tmp_path: Path) -> None:
    tokenizer = SpellsBos(adds_bos=True)
    rows(
        tmp_path / "niah_single_2" / "validation.jsonl",
        *({"input": text, "outputs": ["1234567"], "answer_prefix": PREFIX} for text in (QUESTION, f"<s>{QUESTION}")),
    )
    suite = build(RulerSettings.of(ctx=(4096,), data=tmp_path), tokenizer)
    plain, spelled = (suite.ask(key) for key in suite.plan().keys)
    assert plain.sample.prompt_tokens == spelled.sample.prompt_tokens
    assert plain.requests[0].token_ids == spelled.requests[0].token_ids


@pytest.mark.parametrize(
    ("input_end", "opening", "join"),
    [("", PREFIX.strip(), " "), ("", PREFIX, ""), (" ", PREFIX.strip(), ""), ("\n", PREFIX.strip(), "")],
)
def test_the_opening_of_the_answer_can_be_called_as_lm_eval_calls_it(
    tmp_path: Path, input_end: str, opening: str, join: str
) -> None:
    row = {"input": QUESTION + input_end, "outputs": ["1234567"], "gen_prefix": opening}
    rows(tmp_path / "niah_single_2" / "validation.jsonl", row)
    key = SampleKey("niah_single_2", 4096, 0, 42)
    sample = prepared(tmp_path).ask(key).sample
    assert sample.prompt == QUESTION + input_end + join + opening
    assert sample.answer_prefix == join + opening
    olmes = prepared(tmp_path, dialect="olmes").ask(key).sample
    assert olmes.prompt == QUESTION + input_end + "\n" + PREFIX.strip()


def test_one_opening_under_both_names_is_used_once(tmp_path: Path) -> None:
    row = {"input": QUESTION, "outputs": ["1234567"], "gen_prefix": PREFIX.strip(), "answer_prefix": PREFIX}
    rows(tmp_path / "niah_single_2" / "validation.jsonl", row, {**row, "gen_prefix": None})
    suite = prepared(tmp_path)
    assert {suite.ask(key).sample.prompt for key in suite.plan().keys} == {QUESTION + PREFIX}


@pytest.mark.parametrize(
    ("length", "ctx", "warned"),
    [
        (None, 512, r"niah_single_2 at 512: the longest prompt takes 7\d\d tokens .* above --ctx 512"),
        (300, 512, r"above --ctx 512"),
        (300, 4096, r"which is above its own label, `length` 300"),
        (None, 4096, None),
        (1000, 4096, None),
    ],
)
def test_prompts_that_this_tokenizer_makes_longer_are_reported(
    tmp_path: Path, length: int | None, ctx: int, warned: str | None
) -> None:
    long = {"input": "word " * 600 + QUESTION, "outputs": ["1234567"], "length": length}
    given = [{key: value for key, value in row.items() if value is not None} for row in ({**long, "input": "x"}, long)]
    rows(tmp_path / "niah_single_2" / "validation.jsonl", *given)
    suite = prepared(tmp_path, ctxs=(ctx,))
    early = suite.plan().warnings
    assert len(early) == (warned is not None)
    assert all(re.search(warned or "", line) for line in early)
    late = run_in(tmp_path / "run", suite, ScriptedAdapter(lambda request: "", tokenizer=TOKENIZER)).warnings
    if ctx == 512:
        (line,) = late
        assert re.match(r"1 of 2 prompts at 512 are longer: up to 7\d\d tokens of this tokenizer", line)
    else:
        assert not late


def test_values_of_other_needles_are_known_in_files_too(tmp_path: Path) -> None:
    others = [NEEDLES[0].format(key, value) for key, value in (("blue-cat", "7654321"), ("sea-dog", "1112223"))]
    text = "\n".join(("Remember.", *others, QUESTION.partition("\n")[2]))
    rows(tmp_path / "niah_multikey_2" / "validation.jsonl", {"input": text, "outputs": ["1234567"]})
    sample = prepared(tmp_path).ask(SampleKey("niah_multikey_2", 4096, 0, 42)).sample
    assert sample.distractors == ("7654321", "1112223")
    assert len(sample.depths) == 1


def test_answers_can_be_called_as_helmet_calls_them(tmp_path: Path) -> None:
    rows(
        tmp_path / "qa_1" / "validation.jsonl", {"input": "Q", "answer": "Paris"}, {"input": "Q", "answer": ["a", "b"]}
    )
    suite = prepared(tmp_path)
    assert [suite.ask(key).sample.targets for key in suite.plan().keys] == [("Paris",), ("a", "b")]


GOOD = {"input": "x", "outputs": ["y"], "length": 100}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[1]", r"\[1\] is not a JSON object"),
        ({**GOOD, "input": None}, "`input` is missing"),
        ({**GOOD, "input": ""}, "`input` is empty"),
        ({**GOOD, "input": 3}, "`input` is 3"),
        ({"input": "x"}, "`outputs` is missing"),
        ({**GOOD, "outputs": []}, r"`outputs` is \[\]"),
        ({**GOOD, "outputs": [7]}, r"`outputs` is \[7\]"),
        ({**GOOD, "outputs": [""]}, "list of one or more strings"),
        ({**GOOD, "length": "4096"}, "`length` is '4096'"),
        ({**GOOD, "length": 4097}, r"`length` 4,097 is above --ctx 4,096"),
        ({**GOOD, "answer_prefix": 1}, "`answer_prefix` is 1"),
        ({**GOOD, "gen_prefix": 1}, "`gen_prefix` is 1"),
        ({**GOOD, "gen_prefix": "a", "answer_prefix": " b"}, "`answer_prefix` and `gen_prefix` differ"),
        ({**GOOD, "response_prefix": "Answer:"}, "unknown field `response_prefix`; call the answer prefix"),
        ({**GOOD, "input": "ab\ud83d"}, "`input` has half a surrogate pair at character 2"),
        ({**GOOD, "answer_prefix": "\udc00"}, "`answer_prefix` has half a surrogate pair at character 0"),
        ('{"input": ' + "[" * 9999 + "]" * 9999 + "}", "nested more than 200 levels deep"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_line(tmp_path: Path, row: dict[str, Any] | str, message: str) -> None:
    path = rows(tmp_path / "vt" / "validation.jsonl", GOOD, "", row)
    with pytest.raises(UsageError, match=rf"validation\.jsonl:3: .*{message}") as raised:
        prepared(tmp_path)
    assert str(raised.value).startswith(f"{path}:3: ")
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = rows(tmp_path / "vt" / "validation.jsonl", GOOD)
    path.write_bytes(path.read_bytes() + b'{"input": "\xff"}\n')
    with pytest.raises(UsageError, match=r"validation\.jsonl:2: not UTF-8"):
        prepared(tmp_path)


def test_a_folder_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has none of the requested samples .*<task>/validation\.jsonl"):
        prepared(tmp_path).plan()
    rows(tmp_path / "vt" / "validation.jsonl", "")
    with pytest.raises(UsageError, match=r"validation\.jsonl holds no samples"):
        prepared(tmp_path)


def test_as_many_samples_as_asked_for_or_a_refusal(tmp_path: Path) -> None:
    rows(tmp_path / "vt" / "validation.jsonl", *[{**GOOD, "input": str(index)} for index in range(5)])
    assert len(prepared(tmp_path).plan().keys) == 5
    assert len(prepared(tmp_path, samples=3).plan().keys) == 3
    with pytest.raises(UsageError, match=r"--samples 6: .* holds 5"):
        prepared(tmp_path, samples=6)


def test_samples_are_read_one_at_a_time(tmp_path: Path) -> None:
    rows(tmp_path / "vt" / "validation.jsonl", *[{**GOOD, "input": "é" * index + "!"} for index in range(40)])
    suite = prepared(tmp_path)
    assert isinstance(suite, PreparedSuite)
    for index in (39, 0, 17):
        assert suite.ask(SampleKey("vt", 4096, index, 42)).sample.prompt == "é" * index + "!"


def test_written_samples_are_never_overwritten(tmp_path: Path) -> None:
    sample = small_corpora.suite(TOKENIZER).ask(SampleKey("vt", 1024, 0, 42)).sample
    with PreparedWriter(tmp_path) as writer:
        writer.write(sample)
    with PreparedWriter(tmp_path) as writer, pytest.raises(UsageError, match="exists already; use another --out"):
        writer.write(sample)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sample = small_corpora.suite(TOKENIZER).ask(SampleKey("vt", 1024, 0, 42)).sample
    with PreparedWriter(tmp_path / "file") as writer, pytest.raises(UsageError, match="cannot write"):
        writer.write(sample)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = small_corpora.suite(TOKENIZER)
    write = os.write

    def full(file: int, data: bytes) -> int:
        if os.fstat(file).st_size > 5000:
            raise OSError(28, "No space left on device")
        return write(file, data[:1000])

    with PreparedWriter(tmp_path) as writer:
        writer.write(suite.ask(SampleKey("vt", 1024, 0, 42)).sample)
        monkeypatch.setattr("evalkit.files.os.write", full)
        with pytest.raises(UsageError, match="No space left on device"):
            writer.write(suite.ask(SampleKey("vt", 1024, 1, 42)).sample)
    monkeypatch.undo()
    lines = (tmp_path / "1024" / "vt" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0]
