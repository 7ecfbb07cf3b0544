"""Thoughts in the engine: one prefill, a closing tag at the budget, and the answers of transformers around it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import Completion, Request, Thinking
from evalkit.running.thinking import read_response
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.decode_graph import DecodeSteps
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.scheduling.sequence import Sequence as Progress
from model_adapters.engine.scheduling.sequence import take
from model_adapters.scripted import SCRIPTED_IDENTITY
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from tests.model_adapters.engine.prompts import random_prompt, transformers_generate
from tests.model_adapters.engine.recorder import Repeater
from tests.model_adapters.printable_tokenizer import printable_tokenizer
from tests.model_adapters.small_models import EOS_ID, small_model

TOKENIZER = HfTokenizer(printable_tokenizer().backend_tokenizer, name="printable")
IDS = [*TOKENIZER.encode("(ab)é \n"), EOS_ID]
CLOSE_IDS = tuple(TOKENIZER.encode("\n))\n"))
OPENING_IDS = tuple(TOKENIZER.encode(" It is"))
THOUGHTS = [
    Thinking(budget, "((", "))", CLOSE_IDS, answer_ids, opened=opened, open_tokens=0 if opened else 5, stop=stop)
    for budget in (0, 1, 4, 9)
    for opened in (True, False)
    for answer_ids in ((), OPENING_IDS)
    for stop in ((), ("aa",))
]


@given(
    picks=st.lists(st.sampled_from(IDS), min_size=60, max_size=60),
    thinking=st.sampled_from(THOUGHTS),
    budget=st.integers(1, 12),
)
def test_any_stream_of_tokens_is_split_within_its_budgets(picks: list[int], thinking: Thinking, budget: int) -> None:
    sequence = Progress(Request("a", (1,), budget, stop=("b)",), thinking=thinking))
    ended = False
    for pick in picks:
        ended = take(sequence, pick, stop_ids=frozenset({EOS_ID}), tokenizer=TOKENIZER)
        if ended or sequence.answer_tokens >= budget:
            break
    found = sequence.finish("stop" if ended else "length")
    assert len(sequence.token_ids) <= thinking.most_tokens + budget == sequence.need_tokens - 1
    before, after = found.token_ids[: found.thought_tokens], found.token_ids[found.thought_tokens :]
    assert len(after) == sequence.answer_tokens <= budget
    text = TOKENIZER.spell(before)
    if found.thought_end == "absent":
        assert before == ()
        assert not thinking.opened
    elif found.thought_end == "forced":
        assert before[-len(CLOSE_IDS) :] == CLOSE_IDS
        assert "))" not in TOKENIZER.spell(before[: -len(CLOSE_IDS)])
        assert len(before) - len(CLOSE_IDS) >= thinking.budget_tokens
    elif found.thought_end == "closed":
        own = before[: len(before) - len(thinking.answer_ids)]
        assert before == own + thinking.answer_ids
        assert read_response(TOKENIZER.spell(own), thinking).end == "closed"
        assert "))" not in TOKENIZER.spell(own[:-1])
    else:
        assert (after, "))" in text) == ((), False)
        assert text.endswith(("<eos>", "aa"))


@pytest.mark.parametrize(
    ("written", "end", "thought", "answer"),
    [("((a", "forced", "((\n))\n", "a"), ("(b", "absent", "", "("), ("(", "absent", "", "(")],
)
def test_an_opening_tag_may_be_longer_than_the_answer(written: str, end: str, thought: str, answer: str) -> None:
    thinking = Thinking(0, "((", "))", CLOSE_IDS, opened=False, open_tokens=6)
    sequence = Progress(Request("a", (1,), 1, thinking=thinking))
    picks = [*TOKENIZER.encode("(") * written.count("("), *TOKENIZER.encode(written.strip("("))]
    # In place of the tokens of the closing tag the model picks others.
    picks[2:2] = [EOS_ID] * len(CLOSE_IDS) if end == "forced" else []
    for pick in (*picks, EOS_ID):
        ended = take(sequence, pick, stop_ids=frozenset({EOS_ID}), tokenizer=TOKENIZER)
        if ended or sequence.answer_tokens >= 1:
            break
    found = sequence.finish("stop" if ended else "length")
    before, after = found.token_ids[: found.thought_tokens], found.token_ids[found.thought_tokens :]
    shown = found.thought_end, TOKENIZER.decode(before), TOKENIZER.decode(after), found.finish_reason
    assert shown == (end, thought, answer, "length")


def answers(requests: Sequence[Request], family: str) -> dict[str, Completion]:
    adapter = TransformersAdapter(small_model(family), TOKENIZER, SCRIPTED_IDENTITY, batch_sequences=3)
    # Steps that run ahead, as on a GPU: an inserted token is none that the model picked.
    engine = adapter._engine
    engine.executor.decoder = DecodeSteps(engine.runner, make_recorder=Repeater)
    return {one.request_id: one for one in adapter.generate(requests)}


@pytest.mark.parametrize("family", ["olmo_hybrid", "llama"])
def test_thoughts_and_answers_are_those_of_transformers(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests, wanted = [], {}
    for number in range(2):
        prompt = random_prompt(30 + 17 * number)
        whole = transformers_generate(family, Request("whole", prompt, 40))
        for budget in (budget for budget in (1, 7, 20) if budget + 8 < len(whole)):
            tag = TOKENIZER.spell(whole[budget : budget + 3])
            for close, answer_ids in (("no such tag", ()), (tag, ()), (tag, OPENING_IDS)):
                thinking = Thinking(budget + 8, "((", close, CLOSE_IDS, answer_ids)
                reached = [count for count in range(1, 41) if close in TOKENIZER.spell(whole[:count])]
                if reached and reached[0] <= budget + 8:
                    own, inserted, end = whole[: reached[0]], answer_ids, "closed"
                else:
                    own, inserted, end = whole[: budget + 8], CLOSE_IDS, "forced"
                name = f"{number}/{budget}/{close}/{len(answer_ids)}"
                requests.append(Request(name, prompt, 6 + number, thinking=thinking))
                continued = Request(name, (*prompt, *own, *inserted), 6 + number)
                answer = TOKENIZER.decode([t for t in transformers_generate(family, continued) if t != EOS_ID])
                wanted[name] = (answer, end, len(own) + len(inserted))
    prefilled: list[int] = []
    read = ModelRunner.prefill

    def counted(self: ModelRunner, *arguments: object) -> object:
        prefilled.append(1)
        return read(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelRunner, "prefill", counted)
    found = answers(requests, family)
    assert all(one.error is None for one in found.values())
    shown = {name: (one.text, one.thought_end, one.thought_tokens) for name, one in found.items()}
    assert {name: (text.strip(), *rest) for name, (text, *rest) in shown.items()} == {
        name: (text.strip(), *rest) for name, (text, *rest) in wanted.items()
    }
    assert {end for _, end, _ in wanted.values()} == {"forced", "closed"}
    assert len(prefilled) <= len(requests)


def test_tokens_and_texts_add_up() -> None:
    prompt = random_prompt(30)
    thinking = Thinking(10, "((", "no such tag", CLOSE_IDS)
    plain, thought = answers(
        [Request("plain", prompt, 10), Request("thought", prompt, 5, thinking=thinking)], "llama"
    ).values()
    if plain.request_id != "plain":
        plain, thought = thought, plain
    assert (plain.thought, plain.thought_tokens, plain.thought_end) == (None, None, None)
    assert thought.thought == plain.text.strip()
    assert (thought.thought_tokens, thought.completion_tokens, thought.finish_reason) == (14, 19, "length")


def test_without_a_tokenizer_the_request_is_refused() -> None:
    thinking = Thinking(10, "((", "))", CLOSE_IDS)
    (found,) = Engine(small_model("llama")).generate([Request("a", random_prompt(30), 9, thinking=thinking)])
    assert found.error == "a thought is followed in its text, which needs a tokenizer, and this engine has none"
    assert (found.thought_end, found.thought_tokens) == (None, 0)


def test_the_lines_after_a_thought_do_not_end_the_answer() -> None:
    def ended(text: str, answer_ids: tuple[int, ...] = ()) -> int:
        """Number of answer tokens after which generation ends; 0 if it does not."""
        thinking = Thinking(9, "((", "))", CLOSE_IDS, answer_ids)
        sequence = Progress(Request("a", (1,), 50, stop=("\n\n",), thinking=thinking))
        for pick in TOKENIZER.encode("a))") + [0] * len(answer_ids) + TOKENIZER.encode(text):
            if take(sequence, pick, stop_ids=frozenset({EOS_ID}), tokenizer=TOKENIZER):
                return sequence.answer_tokens
        return 0

    assert ended("\n\n it is\n") == 0
    assert ended("\n\n it is\n\nQ") == len(TOKENIZER.encode("\n\n it is\n\n"))
    assert ended("\n\nit", OPENING_IDS) == len(TOKENIZER.encode("\n\n"))
