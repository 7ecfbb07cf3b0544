"""lm-eval's evaluator on our engine: our suite's numbers to the last digit, and those of lm-eval's own `hf` model."""

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from evalkit.errors import RequestFailedError, UsageError
from evalkit.records import Completion, ContinuationScore, Request, SuiteSummary
from evalkit.running.answering import sample_record
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedReply
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from suites.lm_eval_tasks import LmEvalSettings, LmEvalSuite, load_tasks
from tests.model_adapters.printable_tokenizer import printable_tokenizer
from tests.model_adapters.small_models import byte_tokenizer, small_model
from tests.suites.lm_eval_tasks.own_tasks import KINDS, write_tasks

TASKS = ("things", *(kind for kind in KINDS if kind not in ("colours", "pronoun")))
"""The group and what is not in it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module", params=["olmo_hybrid", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return small_model(request.param)


def tokenizer() -> HfTokenizer:
    tokenizer = byte_tokenizer()
    return HfTokenizer(tokenizer.backend_tokenizer, name="bytes", text_start=tokenizer.bos_token_id)


def adapter(model: PreTrainedModel) -> TransformersAdapter:
    return TransformersAdapter(model, tokenizer(), SCRIPTED_IDENTITY)


def evaluated(lm: Any, folder: Path, tasks: tuple[str, ...] = TASKS) -> dict[str, Any]:
    from lm_eval.evaluator import evaluate

    settings = LmEvalSettings.of(tasks=tasks, include_path=folder)
    results = evaluate(lm, load_tasks(settings).task_dict(), bootstrap_iters=0, log_samples=True)
    assert results is not None
    return dict(results)


def answered(model: PreTrainedModel, folder: Path, *, max_tokens: int | None) -> SuiteSummary:
    """Our suite's summary, without storing a run."""
    loaded = load_tasks(LmEvalSettings.of(tasks=TASKS, include_path=folder))
    suite = LmEvalSuite(LmEvalSettings.of(tasks=TASKS, include_path=folder), tokenizer(), max_tokens, loaded)
    every = [suite.ask(key) for key in suite.plan().keys]
    found = {answer.request_id: answer for answer in adapter(model).generate(r for one in every for r in one.requests)}
    wholes = [Completion.joined(one.sample.id, [found[request.id] for request in one.requests]) for one in every]
    judged = zip(every, wholes, strict=True)
    return suite.summarize([sample_record(one, whole, suite.judge(one, whole)) for one, whole in judged])


@pytest.mark.parametrize("max_tokens", [None, 400])
def test_the_numbers_are_those_of_our_suite_to_the_last_digit(
    model: PreTrainedModel, folder: Path, max_tokens: int | None
) -> None:
    """A limit small enough for rolling texts to need several windows; no other prompt is as long."""
    from model_adapters.lm_eval_bridge import EvalkitLM

    theirs = evaluated(EvalkitLM(adapter(model), max_tokens=max_tokens), folder)
    ours = {figure.label: figure.value for figure in answered(model, folder, max_tokens=max_tokens).figures}
    reported = {
        (f"group/{name}" if name in theirs.get("groups", {}) else name) + f"/{key.removesuffix(',none')}": value
        for name, metrics in theirs["results"].items()
        for key, value in metrics.items()
        if "," in key and "_stderr" not in key
    }
    assert ours == reported
    assert {"colours/acc_norm", "group/things/acc", "prose/bits_per_byte", "sums/exact_match,digits"} <= ours.keys()


def test_lm_evals_own_model_gives_the_same(model: PreTrainedModel, folder: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    from model_adapters.lm_eval_bridge import EvalkitLM

    ours = evaluated(EvalkitLM(adapter(model), max_tokens=None), folder)["samples"]
    # Load the weights again: a model used by our engine cannot run anywhere else.
    same = small_model(model.config.model_type)
    theirs = evaluated(HFLM(pretrained=same, tokenizer=byte_tokenizer(), batch_size=4), folder)["samples"]
    assert ours.keys() == theirs.keys() == set(KINDS)
    for task in KINDS:
        for here, there in zip(ours[task], theirs[task], strict=True):
            assert here["prompt_hash"] == there["prompt_hash"]
            for left, right in zip(here["resps"], there["resps"], strict=True):
                assert_same(left[0], right[0])


def test_stop_strings_end_answers_as_lm_evals_own_model_ends_them(model: PreTrainedModel) -> None:
    """Stop strings of one, two and three tokens, of a special token, several, and one that never occurs."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from model_adapters.lm_eval_bridge import EvalkitLM

    printable = printable_tokenizer()
    reference = HFLM(pretrained=small_model(model.config.model_type), tokenizer=printable, batch_size=1)
    contexts = [f"In the year {1500 + 7 * number} the letter went to" for number in range(2)]

    def instances(stops: list[list[str]]) -> list[Instance]:
        stated = [{"until": stop, "max_gen_toks": 32, "do_sample": False} for stop in stops]
        pairs = [(context, options) for context in contexts for options in stated]
        return [Instance("generate_until", {}, pair, n, ("task", n, 1)) for n, pair in enumerate(pairs)]

    whole = reference.generate_until(instances([[]]))
    stops = [[], ["nowhere in it"], ["<eos>"], ["<bos>", "<pad>"]]
    for text in whole:
        stops += [[text[place : place + length]] for place, length in ((9, 1), (14, 2), (19, 3), (24, 5))]
        stops.append([text[20:23], text[15]])
    theirs = reference.generate_until(instances(stops))
    fast = HfTokenizer(printable.backend_tokenizer, name="printable", text_start=printable.bos_token_id)
    ours = EvalkitLM(TransformersAdapter(model, fast, SCRIPTED_IDENTITY), max_tokens=None)
    assert ours.generate_until(instances(stops)) == theirs
    assert len(set(theirs)) > 8


def assert_same(ours: Any, theirs: Any) -> None:
    """Texts and greedy choices are equal; log-likelihoods of a few hundred agree within 1e-4 per token."""
    if isinstance(ours, tuple):
        assert ours[0] == pytest.approx(theirs[0], abs=1e-3)
        assert ours[1] == theirs[1]
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-5)
    else:
        assert ours == theirs


class TestRefusals:
    def test_a_failed_request_is_named(self, folder: Path) -> None:
        from model_adapters.lm_eval_bridge import EvalkitLM

        failing = ScriptedAdapter(lambda request: ScriptedReply(error="out of memory"), tokenizer=tokenizer())
        with pytest.raises(RequestFailedError, match=r"^document 0 of last_word: out of memory$"):
            evaluated(EvalkitLM(failing, max_tokens=None), folder, ("last_word",))

    def test_nothing_is_cut_off(self, folder: Path) -> None:
        from model_adapters.lm_eval_bridge import EvalkitLM

        asked = ScriptedAdapter({}, tokenizer=tokenizer())
        with pytest.raises(
            UsageError, match=r"^document 0 of last_word: it takes .* `evalkit run --suite lm-eval:last_"
        ):
            evaluated(EvalkitLM(asked, max_tokens=10), folder, ("last_word",))
        assert asked.requests == []

    def test_continuations_of_one_context_are_one_request(self, folder: Path) -> None:
        from model_adapters.lm_eval_bridge import EvalkitLM

        def reply(request: Request) -> ScriptedReply:
            scores = tuple(ContinuationScore(-1.0 - n, is_greedy=n == 0) for n in range(len(request.continuations)))
            return ScriptedReply(continuations=scores)

        asked = ScriptedAdapter(reply, tokenizer=tokenizer(), batch_sequences=3)
        results = evaluated(EvalkitLM(asked, max_tokens=None), folder, ("colours", "pronoun"))
        # Two contexts for each of five pronouns, one for each of seven colours.
        assert len(asked.requests) == 17
        # The first choice is the most probable one.
        assert results["results"]["colours"]["acc,none"] == 2 / 7
