"""Texts are cut as lm-eval cuts them, and shared beginnings are never assumed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evalkit.errors import SampleDoesNotFitError
from evalkit.running.text_requests import PROBES, TextRequests, cut_at
from model_adapters.scripted import BOS, ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from tests.evalkit.spelled_bos import SpellsBos

TEXTS = TextRequests(ScriptedTokenizer(), max_tokens=None)


class OneTokenEach(ScriptedTokenizer):
    """A tokenizer with one token per character."""

    def encode(self, text: str) -> list[int]:
        return [ord(character) + 2 for character in text]


@given(st.integers(0, 60), st.integers(1, 25))
def test_windows_are_lm_evals(tokens: int, max_tokens: int) -> None:
    texts = TextRequests(OneTokenEach(), max_tokens=max_tokens)
    if tokens == 0:
        with pytest.raises(SampleDoesNotFitError):
            texts.rolling("x", "")
        return
    text = "".join(chr(300 + n) for n in range(tokens))
    windows = get_rolling_token_windows(OneTokenEach().encode(text), BOS, max_tokens, 1)
    theirs = [(tuple(context + scored), len(context)) for context, scored in map(make_disjoint_window, windows)]
    ours = [(request.token_ids, request.scored_from) for request in texts.rolling("x", text)]
    assert ours == theirs
    assert sum(len(ids) - (first or 0) for ids, first in ours) == tokens


class TestPairs:
    @given(st.text(max_size=40), st.text(min_size=1, max_size=10))
    def test_context_and_continuation_are_the_whole(self, context: str, continuation: str) -> None:
        try:
            ((before, after),) = TEXTS.pairs(context, [continuation])
        except SampleDoesNotFitError:
            return  # a continuation that merges with the context leaves nothing to score
        whole = tuple(ScriptedTokenizer().encode(context + continuation))
        assert len(before) + len(after) == len(whole) + (context == "")
        assert whole[-len(after) :] == after

    def test_spaces_at_the_end_belong_to_the_continuation(self) -> None:
        ((before, after),) = TEXTS.pairs("It is  ", ["red"])
        assert ScriptedTokenizer().decode(before) == "It is"
        assert ScriptedTokenizer().decode(after) == "  red"

    def test_an_empty_context_is_the_text_start(self) -> None:
        assert TEXTS.pairs("", ["red"])[0][0] == (BOS,)

    def test_a_special_token_is_not_doubled(self) -> None:
        texts = TextRequests(SpellsBos(adds_bos=True), max_tokens=None)
        assert texts.prompt("<s>red") == texts.prompt("red")

    @given(st.lists(st.text("ab .\n", min_size=1, max_size=30), min_size=1, max_size=8), st.data())
    def test_many_contexts_are_cut_as_each_by_itself(self, contexts: list[str], data: st.DataObject) -> None:
        texts = TextRequests(ScriptedTokenizer(), max_tokens=None)
        for number, context in enumerate(contexts * 3):
            made = [(context, data.draw(st.text("ab .", min_size=1, max_size=6))) for _ in range(2)]
            try:
                expected = [pair for context, after in made for pair in TEXTS.pairs(context, [after])]
            except SampleDoesNotFitError:
                with pytest.raises(SampleDoesNotFitError):
                    texts.continuations(str(number), made)
                continue
            requests = texts.continuations(str(number), made)
            found = [(request.token_ids, after) for request in requests for after in request.continuations]
            assert found == expected

    def test_a_tokenizer_that_looks_back_over_lines_is_read_whole(self) -> None:
        class Joins(ScriptedTokenizer):
            """Encodes "b" differently after a line that begins with "Q"."""

            def encode(self, text: str) -> list[int]:
                ids = super().encode(text)
                return [*ids[:-1], 7] if text.startswith("Q") and text.endswith("b") else ids

        texts = TextRequests(Joins(), max_tokens=None)
        for number in range(PROBES + 3):
            (request,) = texts.continuations("x", [(f"Q{number}\nA:", " a"), (f"Q{number}\nA:", " b")])
            assert request.continuations[1] == (7,)

    @pytest.mark.shared_data
    @pytest.mark.parametrize("name", ["allenai_dolma2", "gpt2"])
    def test_real_tokenizers_are_read_by_the_last_line(self, shared_data: Path, name: str) -> None:
        tokenizer = HfTokenizer.from_file(shared_data / "tokenizers" / f"{name}.tokenizer.json")
        quick, slow = (TextRequests(tokenizer, max_tokens=None) for _ in range(2))
        for number in range(60):
            context = f"Question {number}: what is 7 × {number}?\nA. {'x' * number}\n\nAnswer:"
            pairs = [(context, f" {letter * (number % 3 + 1)}") for letter in "ABCD"]
            (request,) = quick.continuations("x", pairs)
            expected = [pair for context, after in pairs for pair in slow.pairs(context, [after])]
            assert [(request.token_ids, after) for after in request.continuations] == expected
        assert quick._quick
        assert quick._checked == PROBES

    def test_continuations_of_unlike_contexts_are_several_requests_in_order(self) -> None:
        pairs = [("One", " a"), ("One", " b"), ("Two", " c"), ("One", " d")]
        requests = TEXTS.continuations("x", pairs)
        assert [request.id for request in requests] == ["x#0", "x#1", "x#2"]
        spelled = [ScriptedTokenizer().decode(ids) for request in requests for ids in request.continuations]
        assert spelled == [" a", " b", " c", " d"]


class TestLengths:
    def test_the_last_token_of_a_continuation_takes_no_place(self) -> None:
        texts = TextRequests(OneTokenEach(), max_tokens=10)
        assert texts.continuations("x", [("a" * 8, "bbb")])
        with pytest.raises(SampleDoesNotFitError, match="it takes 11 tokens, the model was trained to 10"):
            texts.continuations("x", [("a" * 9, "bbb")])

    def test_an_open_answer_needs_room_for_its_budget(self) -> None:
        texts = TextRequests(OneTokenEach(), max_tokens=10)
        assert texts.generation("x", "a" * 6, 4).generation_tokens == 4
        with pytest.raises(SampleDoesNotFitError):
            texts.generation("x", "a" * 7, 4)


class TestSharedPrefix:
    @given(st.lists(st.text("ab .\n", max_size=12), min_size=2, max_size=5, unique_by=str.rstrip))
    def test_it_is_most_of_what_all_begin_with(self, rests: list[str]) -> None:
        start = "A header of many words that all prompts of this task begin with, one way or another.\n\n" * 2
        prefix = TEXTS.shared_prefix("x", [start + rest for rest in rests])
        assert prefix is not None
        assert all(prefix.begins(TEXTS.prompt((start + rest).rstrip())) for rest in rests)
        # All common words but the last.
        assert ScriptedTokenizer().decode(prefix.token_ids).count("one way or") == 2

    def test_special_tokens_belong_to_it(self) -> None:
        texts = TextRequests(SpellsBos(adds_bos=True), max_tokens=None)
        start = "A header of many words that all prompts of this task begin with, one way or another. " * 3
        for spelled in ("", "<s>"):
            prefix = texts.shared_prefix("x", [f"{spelled}{start}{n}" for n in ("one", "two")])
            assert prefix is not None
            assert prefix.begins(texts.prompt(f"{start}three"))

    def test_prompts_are_divided_only_where_that_gives_the_same_tokens(self) -> None:
        class Joins(ScriptedTokenizer):
            """Encodes a text that begins with a space differently, as tokenizers do that put one before each text."""

            def encode(self, text: str) -> list[int]:
                return [7, *super().encode(text)] if text.startswith(" ") else super().encode(text)

        start = "A header of many words that all prompts of this task begin with, one way or another. " * 3
        for tokenizer in (ScriptedTokenizer(), Joins()):
            texts = TextRequests(tokenizer, max_tokens=None)
            prefix = texts.shared_prefix("x", [f"{start}{n}" for n in ("one", "two")])
            assert prefix is not None
            endings = (*map(str, range(PROBES + 3)), "one", "one way or another", " two")
            # The last ones leave the shared text after the prefix's tokens, within a word and behind it.
            contexts = [*(start + ending for ending in endings), f"{start[:-1]}s", f"{start.rstrip()}x", start[:-9]]
            for context in contexts:
                assert texts.prompt(context, prefix) == texts.prompt(context)
            assert texts._divides == (type(tokenizer) is ScriptedTokenizer)

    @pytest.mark.shared_data
    @pytest.mark.parametrize("name", ["allenai_dolma2", "gpt2"])
    def test_real_tokenizers_are_read_after_the_prefix(self, shared_data: Path, name: str) -> None:
        tokenizer = HfTokenizer.from_file(shared_data / "tokenizers" / f"{name}.tokenizer.json")
        texts = TextRequests(tokenizer, max_tokens=None)
        for seam in ("\n\n", ".\n\n", "\n\n12", " don't ", "   ", "e "):
            start = "A header of many words that all prompts of this task begin with, one way or another. " * 3
            contexts = [f"{start}Answer: B{seam}{n}th question's\nA. {n}\nAnswer:" for n in range(40)]
            prefix = texts.shared_prefix(seam, contexts)
            assert prefix is not None
            assert [texts.prompt(context, prefix) for context in contexts] == [*map(texts.prompt, contexts)]
        assert texts._divides

    def test_too_little_is_none(self) -> None:
        assert TEXTS.shared_prefix("x", ["Few words one", "Few words two"]) is None
        assert TEXTS.shared_prefix("x", ["many words " * 100]) is None
        assert TEXTS.shared_prefix("x", []) is None

    def test_a_prompt_that_begins_otherwise_does_not_use_it(self) -> None:
        start = "A header of many words that all prompts of this task begin with, one way or another. " * 3
        prefix = TEXTS.shared_prefix("task", [f"{start}{n}" for n in ("one", "two")])
        assert prefix is not None
        uses = [
            TEXTS.continuations("x", [(context, " a")], prefix)[0].prefix_id
            for context in (f"{start}three", f"Not {start}three")
        ]
        assert uses == ["task", None]


def test_the_first_of_any_stop_string_ends_a_text() -> None:
    assert cut_at("one. two\nthree", ["\n", ".", ""]) == "one"
    assert cut_at("one", []) == "one"
