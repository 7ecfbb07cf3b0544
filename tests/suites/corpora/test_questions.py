"""The published JSON of SQuAD and HotpotQA, and one clear line for anything else."""

from typing import Any

import pytest

from evalkit.errors import UsageError
from suites.corpora.questions import parse_hotpotqa, parse_squad
from suites.corpora.records import Question
from tests.suites.corpora.published import encoded, hotpot, squad


def test_squad_keeps_answerable_questions_and_names_their_article() -> None:
    documents, questions = parse_squad(encoded(squad()), "f")
    assert documents == ("Ida Moor lives here.", "The hill is 90 m high.", "The sea\nis flat.")
    assert questions == (
        Question("Who lives here?", ("Ida", "Ida Moor"), (0,), (1,)),
        Question("How high?", ("90 m",), (1,), (0,)),
    )


def test_hotpotqa_splits_supporting_documents_from_the_others() -> None:
    documents, questions = parse_hotpotqa(encoded(hotpot()), "f")
    assert documents == tuple(f"{t}\n{t} is here. {t} is old." for t in "CABD")
    assert questions == (
        Question("Is A older than B?", ("yes",), (1, 2), (0,)),
        Question("What is C?", ("old",), (0,), (3,)),
    )


def changed(tree: Any, path: list[Any], value: Any) -> bytes:
    node = tree
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return encoded(tree)


P = ["data", 0, "paragraphs", 0]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "Input data was truncated"),
        (encoded(squad())[:-9], "Input data was truncated"),
        (b"\xff\xfe\x00", "JSON is malformed"),
        (b'{"data": [{"paragraphs": [{"context": "\xff"}]}]}', "it is not UTF-8"),
        (b'{"a":' * 100_000, "it is nested too deep"),
        (encoded([]), "Expected object, got array"),
        (encoded({"data": []}), "it has no answerable question"),
        (changed(squad(), ["data"], "x"), "data: expected array, got str"),
        (changed(squad(), ["data", 1], 3), "data[1]: expected object, got int"),
        (
            changed(squad(), ["data", 0, "paragraphs"], None),
            "data[0]: object missing required field paragraphs",
        ),
        (
            changed(squad(), [*P, "context"], None),
            "data[0].paragraphs[0]: object missing required field context",
        ),
        (changed(squad(), [*P, "context"], "ab\ud83d"), "unexpected end of escaped utf-16 surrogate pair (byte "),
        (changed(squad(), [*P, "qas"], None), "data[0].paragraphs[0]: object missing required field qas"),
        (
            changed(squad(), [*P, "qas", 0, "question"], " "),
            "paragraphs[0].qas[0].question: expected str matching regex",
        ),
        (changed(squad(), [*P, "qas", 0, "answers"], []), "qas[0] is marked answerable and has no answer"),
        (changed(squad(), [*P, "qas", 0, "answers"], [{"text": 1}]), "qas[0].answers[0].text: expected str, got int"),
    ],
)
def test_what_is_wrong_with_a_squad_file_is_reported_in_one_line(data: bytes, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_squad(data, "dev.json")
    message = str(caught.value)
    assert message.startswith("dev.json: not SQuAD v2 JSON: ")
    assert what in message
    assert message.endswith("use dev-v2.0.json as published, or remove the file")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (encoded({}), "Expected array, got object"),
        (encoded([]), "it has no question"),
        (encoded(["x"]), "[0]: expected object, got str"),
        (changed(hotpot(), [1, "answer"], None), "[1]: object missing required field answer"),
        (changed(hotpot(), [1, "question"], None), "[1]: object missing required field question"),
        (changed(hotpot(), [0, "answer"], "\ud83d"), "end of escaped utf-16 surrogate pair (byte "),
        (changed(hotpot(), [0, "context", 0], ["C", ["\udc00"]]), "invalid utf-16 surrogate pair (byte "),
        (changed(hotpot(), [0, "context"], None), "[0]: object missing required field context"),
        (
            changed(hotpot(), [0, "supporting_facts"], None),
            "[0]: object missing required field supporting_facts",
        ),
        (
            changed(hotpot(), [0, "supporting_facts", 0], "A"),
            "[0].supporting_facts[0]: expected array, got str",
        ),
        (changed(hotpot(), [1, "supporting_facts"], [["Z", 0]]), "[1] has none of its supporting documents"),
        (changed(hotpot(), [0, "context", 0], ["C"]), "[0].context[0]: expected array of length 2"),
        (changed(hotpot(), [0, "context", 0], ["C", "x" * 60]), "[0].context[0][1]: expected array, got str"),
    ],
)
def test_what_is_wrong_with_a_hotpotqa_file_is_reported_in_one_line(data: bytes, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hotpotqa(data, "h.json")
    message = str(caught.value)
    assert message.startswith("h.json: not HotpotQA JSON: ")
    assert what in message
    assert "\n" not in message
