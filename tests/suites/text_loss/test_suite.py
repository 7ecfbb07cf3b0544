"""Losses are sums of the model's log-probabilities over the tokens and bytes that were scored, each once."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import SampleDoesNotFitError, UsageError
from evalkit.records import Request
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedReply, ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from reports.markdown import render_run
from suites.text_loss import TextLossSettings, TextLossSuite, build
from suites.text_loss.copies import is_copy
from tests.evalkit.run_factory import figure_values
from tests.evalkit.runs import run_in
from tests.evalkit.spelled_bos import SpellsBos
from tests.model_adapters.small_models import byte_tokenizer, small_model

TEXT = "".join(f"Line {number} of a text that says the same thing, more or less. " for number in range(120))


def half_a_nat_each(request: Request) -> ScriptedReply:
    """0.5 nats for every token of even index, and 1.5 for the others."""
    assert request.scored_from is not None
    indices = range(request.scored_from, len(request.token_ids))
    return ScriptedReply(log_probabilities=tuple(-0.5 if index % 2 == 0 else -1.5 for index in indices))


def suite_of(path: Path, tokenizer: Any = None, **options: Any) -> TextLossSuite:
    return build(TextLossSettings.of(path=path, **options), tokenizer or ScriptedTokenizer())


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_bos_that_a_text_spells_out_is_there_once_and_is_not_scored(tmp_path: Path) -> None:
    tokenizer = SpellsBos(adds_bos=True)
    records = []
    for name, text in (("plain", TEXT), ("spelled", f"<s>{TEXT}")):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        suite = suite_of(tmp_path / f"{name}.txt", tokenizer, ctx=4096)
        (key,) = suite.plan().keys
        request = suite.ask(key).requests[0]
        assert request.token_ids == tuple(tokenizer.encode_prompt(TEXT))
        assert request.scored_from == 1
        records.append(run_in(tmp_path / name, suite, ScriptedAdapter(half_a_nat_each, tokenizer=tokenizer)))
    assert records[0].results == records[1].results
    assert figure_values(records[0]) == figure_values(records[1])


@pytest.mark.parametrize("overlap", [0, 40])
def test_with_a_bos_every_byte_is_scored_once(text_file: Path, tmp_path: Path, overlap: int) -> None:
    tokenizer = ScriptedTokenizer(adds_bos=True)
    suite = suite_of(text_file, tokenizer, ctx=128, overlap=overlap)
    assert all(suite.ask(key).sample.prompt_tokens <= 128 for key in suite.plan().keys)
    record = run_in(tmp_path / "run", suite, ScriptedAdapter(half_a_nat_each, tokenizer=tokenizer))
    assert figure_values(record)["scored_bytes"] == len(TEXT)
    (row,) = record.results
    assert row.value is not None
    tokens = figure_values(record)["scored_tokens"]
    assert tokens is not None
    assert 0.9 * tokens < row.value * len(TEXT) * math.log(2) < 1.1 * tokens


def test_without_a_bos_the_first_token_of_a_text_is_left_out(text_file: Path) -> None:
    suite = suite_of(text_file, ctx=128, overlap=16)
    first, second = (suite.ask(key) for key in suite.plan().keys[:2])
    assert first.requests[0].scored_from == 1
    assert sum(first.token_bytes) == len(first.sample.prompt) - len("Line")
    (request,) = second.requests
    assert request.scored_from is not None
    # The context is tokenized with the text, and the first scored token begins the text.
    scored = ScriptedTokenizer().decode(request.token_ids[request.scored_from :])
    assert second.sample.prompt.endswith(scored)
    assert sum(second.token_bytes) == len(scored)
    assert first.sample.prompt + scored == TEXT[: len(first.sample.prompt + scored)]
    assert 8 <= request.scored_from <= 24


def test_all_numbers_agree_with_sums_by_hand(text_file: Path, tmp_path: Path) -> None:
    suite = suite_of(text_file, ctx=128, ngram=3)
    record = run_in(tmp_path / "run", suite, ScriptedAdapter(half_a_nat_each))
    nats = {True: 0.0, False: 0.0}
    tokens = {True: 0, False: 0}
    byte_count = 0
    for key in suite.plan().keys:
        ids = ScriptedTokenizer().encode(suite.ask(key).sample.prompt)
        pieces = [ScriptedTokenizer().decode([token_id]) for token_id in ids]
        for index in range(1, len(pieces)):
            copied = any(pieces[end - 2 : end + 1] == pieces[index - 2 : index + 1] for end in range(2, index))
            copied = copied and index >= 2
            nats[copied] += 0.5 if index % 2 == 0 else 1.5
            tokens[copied] += 1
            byte_count += len(pieces[index].encode())
    (row,) = record.results
    figures = {figure.label: figure.value for figure in record.figures}
    assert row.value == pytest.approx(sum(nats.values()) / math.log(2) / byte_count)
    assert figures["nats_per_token"] == pytest.approx(sum(nats.values()) / sum(tokens.values()))
    assert figures["nats_per_token/copy"] == pytest.approx(nats[True] / tokens[True])
    assert figures["nats_per_token/rest"] == pytest.approx(nats[False] / tokens[False])
    assert figure_values(record)["copy_share"] == pytest.approx(tokens[True] / sum(tokens.values()))
    assert row.ci95 is not None
    assert row.ci95[0] <= row.value <= row.ci95[1]
    report = render_run(record)
    assert "bits per byte" in report
    assert "tokens that end a repeated n-gram" in report


def test_a_real_model_gives_what_one_forward_pass_gives(text_file: Path, tmp_path: Path) -> None:
    """The loss of a byte-level hybrid does not depend on the edges of windows, segments or blocks."""
    tokenizer = HfTokenizer(byte_tokenizer().backend_tokenizer, name="bytes")
    suite = suite_of(text_file, tokenizer, ctx=300, samples=3)
    adapter = TransformersAdapter(small_model("olmo_hybrid"), tokenizer, SCRIPTED_IDENTITY, segment_tokens=70)
    record = run_in(tmp_path / "run", suite, adapter)
    plain, total, count = small_model("olmo_hybrid"), 0.0, 0
    for key in suite.plan().keys:
        id_1T = torch.tensor([tokenizer.encode(suite.ask(key).sample.prompt)])
        with torch.no_grad():
            logp_TV = plain(input_ids=id_1T).logits[0].log_softmax(-1)
        total -= float(logp_TV[:-1].gather(1, id_1T[0, 1:, None]).sum())
        count += id_1T.shape[1] - 1
    assert record.figures[0].value == pytest.approx(total / count, abs=1e-4)
    assert figure_values(record)["scored_bytes"] == figure_values(record)["scored_tokens"] == count


def test_a_failed_request_is_no_loss(text_file: Path, tmp_path: Path) -> None:
    def reply(request: Request) -> ScriptedReply:
        return ScriptedReply(error="NaN") if request.id.startswith("text/128/1/") else half_a_nat_each(request)

    record = run_in(tmp_path / "run", suite_of(text_file, ctx=128, samples=4), ScriptedAdapter(reply))
    (row,) = record.results
    assert (row.n, row.errors) == (3, 1)
    assert record.counts.errors == 1


def test_a_document_of_one_token_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in ("Hi", "one two three", "")), encoding="utf-8")
    suite = suite_of(path, ctx=128)
    keys = suite.plan().keys
    assert len(keys) == 2
    with pytest.raises(SampleDoesNotFitError, match="window 0 is one token with nothing before it"):
        suite.ask(keys[0])
    record = run_in(tmp_path / "run", suite, ScriptedAdapter(half_a_nat_each))
    (row,) = record.results
    assert (row.n, row.unscored, figure_values(record)["scored_tokens"]) == (1, 1, 2)


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UsageError, match=r"a\.txt has no text"):
        suite_of(tmp_path / "a.txt").plan()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ctx": 64}, "context 64: at least 128"),
        ({"ctx": 1000, "overlap": 501}, "overlap 501: from 0 to half the context, 500"),
        ({"ngram": 0}, "n-grams of 0: from 1 to 64"),
        ({"samples": 0}, "0 samples: at least 1"),
    ],
)
def test_bad_settings_name_value_limit_and_remedy(options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TextLossSettings.of(path=None, **options)


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 5))
def test_copies_are_n_grams_seen_before(ids: list[int], ngram: int) -> None:
    expected = [
        end + 1 >= ngram
        and any(ids[at : at + ngram] == ids[end + 1 - ngram : end + 1] for at in range(end + 1 - ngram))
        for end in range(len(ids))
    ]
    assert is_copy(ids, ngram) == expected
