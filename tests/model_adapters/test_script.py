"""`--model scripted:FILE`: replies by id and by pattern, a model's identity, and mistakes named by line."""

from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.records import Completion, Request
from evalkit.running.model_options import ModelOptions
from model_adapters.opening import OpenedModel, memory_forecast, open_model, open_tokenizer
from model_adapters.scripted import ScriptedTokenizer
from tests.evalkit.scripts import asked, write_script


def opened(folder: Path, *rules: dict[str, Any], **model: Any) -> OpenedModel:
    return open_model(ModelOptions(write_script(folder / "replies.jsonl", *rules, **model)))


def answer(model: OpenedModel, id: str, **request: Any) -> Completion:
    (completion,) = model.make_adapter().generate([Request(id, (5, 6, 7), **{"generation_tokens": 8, **request})])
    return completion


def test_an_exact_id_goes_before_patterns_and_the_first_pattern_counts(tmp_path: Path) -> None:
    rules = ({"match": "vt/*", "text": "b"}, {"match": "vt/512/0/42", "text": "a"}, {"match": "*", "text": "c"})
    model = opened(tmp_path, *rules)
    assert [answer(model, id).text for id in ("vt/512/0/42", "vt/512/1/42", "cwe/512/0/42")] == ["a", "b", "c"]


def test_a_rule_answers_every_kind_of_request(tmp_path: Path) -> None:
    model = opened(tmp_path, {"text": "yes", "prefer": 1, "nats": 0.5, "prefill_seconds": 2, "decode_seconds": 0.25})
    assert answer(model, "a", generation_tokens=0, scored_from=1).log_probabilities == (-0.5, -0.5)
    scores = answer(model, "b", generation_tokens=0, continuations=((1,), (2,), (3,))).continuations
    assert scores is not None
    assert [score.log_probability for score in scores] == [-2.0, -1.0, -2.0]
    assert [score.is_greedy for score in scores] == [False, True, False]
    said = answer(model, "c")
    assert (said.text, said.prefill_seconds, said.decode_seconds) == ("yes", 2.0, 0.25)


def test_an_error_and_a_missing_reply_fail_one_request(tmp_path: Path) -> None:
    model = opened(tmp_path, {"match": "vt/*", "error": "out of memory"})
    assert answer(model, "vt/512/0/42").error == "out of memory"
    assert str(answer(model, "cwe/512/0/42").error).endswith("has no reply to cwe/512/0/42")


def test_the_first_line_may_say_what_the_model_is(tmp_path: Path) -> None:
    model = opened(
        tmp_path, {"text": "a"}, identity={"trained_length": 300}, warnings=["odd"], tokens_seen=7, log="asked.txt"
    )
    assert (model.identity.trained_length, model.warnings, model.tokens_seen) == (300, ("odd",), 7)
    answer(model, "x")
    answer(model, "y")
    assert asked(tmp_path / "asked.txt") == ["x", "y"]


def test_an_edited_script_is_another_model(tmp_path: Path) -> None:
    first, second = (opened(tmp_path, {"text": text}).identity for text in ("a", "b"))
    assert first.path == second.path == f"scripted:{tmp_path / 'replies.jsonl'}"
    assert first.fingerprint != second.fingerprint


def test_it_needs_no_checkpoint(tmp_path: Path) -> None:
    options = ModelOptions(write_script(tmp_path / "replies.jsonl", {"text": "a"}))
    assert isinstance(open_tokenizer(options), ScriptedTokenizer)
    assert memory_forecast(options, 4096) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a"}\n{"txt": "b"}\n', "replies.jsonl:2: unknown key 'txt'; did you mean 'text'?"),
        ('{"model": {"tokens": 3}}\n', "replies.jsonl:1: unknown key 'tokens'; did you mean 'tokens_seen'?"),
        ("{", "replies.jsonl:1: not JSON"),
        ("[]", "replies.jsonl:1: Rule: expected object"),
        ('{"text": 3}', "replies.jsonl:1: Rule.text: expected str, got int"),
        ('{"model": {"identity": {"dtype": 3}}}', "replies.jsonl:1: ModelIdentity.dtype: expected str, got int"),
    ],
)
def test_a_mistake_is_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "replies.jsonl").write_text(text)
    with pytest.raises(UsageError) as raised:
        open_model(ModelOptions(f"scripted:{tmp_path / 'replies.jsonl'}"))
    assert message in str(raised.value)


def test_a_missing_script_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent cannot be read: No such file"):
        open_model(ModelOptions(f"scripted:{tmp_path / 'absent'}"))
