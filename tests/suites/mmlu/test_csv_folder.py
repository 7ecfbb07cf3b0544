"""MMLU's CSV files in both layouts; each error is one line with file and line number."""

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from suites.mmlu.csv_folder import CsvFolder, read_questions
from suites.mmlu.subjects import GROUPS, SUBJECTS
from tests.suites.mmlu.small_data import HEADER, as_csv, rows, write_mmlu


def test_both_layouts_hold_the_same_questions(tmp_path: Path) -> None:
    headed = CsvFolder(write_mmlu(tmp_path / "headed", ["virology"])).load("virology")
    original = CsvFolder(write_mmlu(tmp_path / "original", ["virology"], letters=True)).load("virology")
    assert (headed.test, headed.dev) == (original.test, original.dev)
    assert headed.use("virology").sha256 == original.use("virology").sha256
    assert [question.answer for question in headed.test] == [0, 1, 2, 3, 0, 1]
    assert headed.test[1].choices[3] == "virology test choice 1.3, one line\nand another"


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    order = (5, 0, 1, 2, 3, 4)
    moved = [tuple(row[index] for index in order) for row in (HEADER, *rows("x", 3))]
    path = tmp_path / "moved.csv"
    path.write_text(as_csv(moved, header=None))
    assert [question.answer for question in read_questions(path)] == [0, 1, 2]


def test_a_mark_at_the_start_and_empty_lines_are_no_question(tmp_path: Path) -> None:
    path = tmp_path / "marked.csv"
    path.write_text("\ufeff" + as_csv(rows("x", 2)) + "\r\n\r\n", encoding="utf-8")
    assert len(list(read_questions(path))) == 2


BAD = {
    "missing answer": (as_csv([*rows("x", 2), ("Q?", "a", "b", "c", "d", "")]), ":9: the answer is missing"),
    "wrong answer": (as_csv([("Q?", "a", "b", "c", "d", "4")]), ":2: the answer is '4'; write one of 0, 1, 2, 3"),
    "a letter below a header": (as_csv([("Q?", "a", "b", "c", "d", "B")]), ":2: the answer is 'B'"),
    "a digit without a header": (as_csv([("Q?", "a", "b", "c", "d", "1")], header=None), ":1: the answer is '1'"),
    "wrong column": (
        as_csv(rows("x", 1), header=("question", "choice0", "choice1", "choise2", "choice3", "answer")),
        ":1: no column 'choice2' among question, choice0",
    ),
    "too few columns": (as_csv([("Q?", "a", "b", "c")]), ":2: 4 columns instead of 6; quote a text"),
    "too many columns": (
        as_csv([("Q?", "a", "b", "c", "d", "e", "A")], header=None),
        ":1: 7 columns instead of 6",
    ),
    "too many below a header": (as_csv([("Q?", "a", "b", "c", "d", "1", "x")]), ":2: 7 columns instead of 6"),
    "an empty choice": (as_csv([*rows("x", 1), ("Q?", "a", "b", "c", "", "3")]), ":3: choice D is empty; write it out"),
    "a choice of spaces": (as_csv([("Q?", " ", "b", "c", "d", "B")], header=None), ":1: choice A is empty"),
    "a letter out of range": (as_csv([("Q?", "a", "b", "c", "d", "E")], header=None), ":1: the answer is 'E'"),
    "no question": (as_csv([(" ", "a", "b", "c", "d", "1")]), ":2: the question is empty"),
    "an open quote": ('"Q?,a,b,c,d,A', "cannot be read: unexpected end of data"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_reported_with_file_and_line(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        list(read_questions(path))
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(b"Caf\xe9,a,b,c,d,A\n")
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_questions(path))


def test_a_file_that_is_not_there_or_there_twice(tmp_path: Path) -> None:
    folder = write_mmlu(tmp_path, ["virology"])
    with pytest.raises(UsageError, match=r"no file anatomy_test\.csv"):
        CsvFolder(folder).load("anatomy")
    (folder / "again").mkdir()
    (folder / "again" / "virology_test.csv").write_text(as_csv(rows("x", 1)))
    with pytest.raises(UsageError, match=r"are both called virology_test\.csv"):
        CsvFolder(folder).load("virology")


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "data.tar").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no file virology_test\.csv in it or below; unpack data\.tar first"):
        CsvFolder(tmp_path).load("virology")


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    folder = write_mmlu(tmp_path, ["virology"])
    for place in ("._virology_test.csv", ".ipynb_checkpoints/virology_test.csv", "__MACOSX/._virology_test.csv"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"\x00\x05\x16\x07")
    assert len(CsvFolder(folder).load("virology").test) == 6


@pytest.mark.shared_data
def test_real_mmlu_is_whole(real_mmlu: Path) -> None:
    source = CsvFolder(real_mmlu)
    loaded = {subject: source.load(subject) for subject in SUBJECTS}
    assert sum(len(questions.test) for questions in loaded.values()) == 14_042
    assert all(len(questions.dev) == 5 for questions in loaded.values())
    assert [len(subjects) for subjects in GROUPS.values()] == [19, 13, 12, 13]
