"""A run sends pending samples, judges answers, and separates failures from wrong answers."""

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.finished_run import load_run
from evalkit.errors import IncompatibleRunError, RequestFailedError
from evalkit.records import Asked, Completion, Counts, Excerpt, Request, SampleKey, SampleRecord, Score
from evalkit.running.answering import PREPARED_AHEAD
from evalkit.running.run_files import read_manifest
from evalkit.running.store import RunStore, read_run, read_samples
from model_adapters.scripted import ScriptedAdapter, ScriptedReply
from tests.evalkit.runs import Observer, manifest_of, right_adapter, run_in
from tests.evalkit.tiny_suite import TinySuite, right_answer


def asked(adapter: ScriptedAdapter) -> list[str]:
    return [request.id for request in adapter.requests]


def preparing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prepare-samples")]


class TestOneRun:
    def test_a_line_says_all_about_its_sample(self, tmp_path: Path) -> None:
        run_in(tmp_path, TinySuite(samples=1))
        (line,) = read_samples(tmp_path)
        prompt = "What is 0 + 42?"
        assert line == SampleRecord(
            id="sum/512/0/42",
            task="sum",
            ctx=512,
            index=0,
            seed=42,
            prompt_tokens=6,
            completion_tokens=4,
            prompt_sha256=hashlib.sha256(prompt.encode()).hexdigest(),
            depths=(0.5,),
            gold_positions=(1,),
            targets=("42",),
            prediction="It is 42.",
            finish_reason="stop",
            metric="all",
            score=1.0,
            failure=None,
            error=None,
            unscored=None,
            prefill_seconds=0.5,
            decode_seconds=0.25,
            generation_tokens=8,
            session=1,
            excerpts=(Excerpt(0, prompt),),
        )

    def test_the_record_adds_it_up(self, tmp_path: Path) -> None:
        suite = TinySuite(tasks=("sum", "never"), samples=4)
        wrong = ScriptedAdapter(lambda r: right_answer(r) if r.id != "sum/512/3/42" else "7", prefill_seconds=0.5)
        record = run_in(tmp_path / "run-7", suite, wrong)
        assert (record.suite, record.suite_version, record.dialect, record.seed) == ("tiny", "1", "plain", 42)
        assert record.run_id == "run-7"
        assert record.results[0].value == 75.0
        assert record.counts == Counts(n=4, errors=0, unscored=0)
        assert record.failures == {"other": 1}
        assert [cell.reason for cell in record.unscored] == ["it never fits"]
        assert record.model == wrong.identity
        assert (record.config, record.engine) == ({"ctxs": (512,)}, wrong.describe())
        assert (record.planned, record.unfinished) == (4, False)
        assert record.config_passed == {"ctx": "512"}
        assert record.memory == wrong.memory()
        assert record.timing.prefill_seconds == 2.0
        assert record.timing.prefill_tokens_per_second == 12.0
        assert record.timing.decode_tokens_per_second is None

    def test_the_folder_given_as_a_dot_still_names_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run_in(Path(), TinySuite(samples=1)).run_id == tmp_path.name

    def test_the_observer_hears_of_every_sample(self, tmp_path: Path) -> None:
        observer = Observer()
        run_in(tmp_path, TinySuite(samples=3), observer=observer)
        assert [key.index for key in observer.pending] == [0, 1, 2]
        assert [key.index for key in observer.sent] == [0, 1, 2]
        assert [record.index for record in observer.ended] == [0, 1, 2]

    def test_answers_in_any_order_are_stored_as_they_come_and_counted_as_planned(self, tmp_path: Path) -> None:
        adapter = ScriptedAdapter(right_answer, batch_sequences=2)
        record = run_in(tmp_path, TinySuite(samples=5), adapter)
        assert [line.index for line in read_samples(tmp_path)] == [1, 0, 3, 2, 4]
        assert record.results[0].value == 100.0

    def test_a_prompt_with_a_lone_surrogate_is_asked_like_any_other(self, tmp_path: Path) -> None:
        class Broken(TinySuite):
            def ask(self, key: SampleKey) -> Asked:
                asked = TinySuite.ask(self, key)
                return replace(asked, sample=replace(asked.sample, prompt="\ud800"))

        assert run_in(tmp_path, Broken(samples=1)).results[0].value == 100.0


class Rereading(TinySuite):
    """A suite that sends sample n as n + 1 requests and judges the answers together."""

    def ask(self, key: SampleKey) -> Asked:
        asked = TinySuite.ask(self, key)
        (request,) = asked.requests
        return replace(asked, requests=tuple(replace(request, id=f"{key.id}#{n}") for n in range(key.index + 1)))


class TestSeveralRequests:
    @given(st.permutations([f"sum/512/{n}/42#{part}" for n in range(3) for part in range(n + 1)]))
    def test_the_order_of_the_answers_does_not_matter(self, order: list[str]) -> None:
        class Shuffling(ScriptedAdapter):
            def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
                answers = {completion.request_id: completion for completion in super().generate(list(requests))}
                yield from (answers[name] for name in order)

        with TemporaryDirectory() as folder:
            answering = Shuffling(lambda request: f"{request.id[-1]}.", prefill_seconds=0.5)
            run_in(Path(folder), Rereading(samples=3), answering)
            lines = read_samples(Path(folder))
        last = {name.partition("#")[0]: order.index(name) for name in order}
        assert [line.id for line in lines] == sorted(last, key=last.__getitem__)
        for line in lines:
            assert line.prediction == "".join(f"{part}." for part in range(line.index + 1))
            assert (line.prefill_seconds, line.completion_tokens) == (0.5 * (line.index + 1), 2 * (line.index + 1))

    def test_one_failure_fails_the_sample(self, tmp_path: Path) -> None:
        failing = ScriptedAdapter(lambda request: ScriptedReply(error="NaN") if "#1" in request.id else "42")
        run_in(tmp_path, Rereading(samples=3), failing)
        assert [line.error for line in read_samples(tmp_path)] == [None, "NaN", "NaN"]

    def test_a_request_id_that_is_used_twice_is_a_bug(self, tmp_path: Path) -> None:
        class Twice(TinySuite):
            def ask(self, key: SampleKey) -> Asked:
                asked = TinySuite.ask(self, key)
                return replace(asked, requests=asked.requests * 2)

        with pytest.raises(ValueError, match="two requests are called sum/512/0/42"):
            run_in(tmp_path, Twice(samples=1))


class TestFailures:
    def test_a_failed_request_is_an_error_and_not_a_wrong_answer(self, tmp_path: Path) -> None:
        def reply(request: Request) -> str:
            if request.id == "sum/512/1/42":
                raise RequestFailedError("out of memory")
            return right_answer(request)

        record = run_in(tmp_path, TinySuite(samples=3), ScriptedAdapter(reply))
        failed = read_samples(tmp_path)[1]
        assert (failed.error, failed.score, failed.failure) == ("out of memory", None, None)
        assert (record.results[0].value, record.results[0].n, record.results[0].errors) == (100.0, 2, 1)
        assert record.counts == Counts(n=3, errors=1, unscored=0)
        assert record.failures == {}

    def test_a_failed_request_is_not_judged(self, tmp_path: Path) -> None:
        class Judging(TinySuite):
            def judge(self, asked: Asked, completion: Completion) -> Score:
                assert completion.error is None
                return TinySuite.judge(self, asked, completion)

        failing = ScriptedAdapter(lambda request: ScriptedReply(error="NaN") if "/1/" in request.id else "42")
        run_in(tmp_path, Judging(samples=3), failing)
        assert [(line.metric, line.score) for line in read_samples(tmp_path)] == [("all", 1), ("all", None), ("all", 0)]

    def test_resuming_repeats_errors_only(self, tmp_path: Path) -> None:
        def failing(request: Request) -> ScriptedReply:
            return ScriptedReply(error="NaN logits")

        run_in(tmp_path, TinySuite(samples=3), ScriptedAdapter(failing))
        mixed = ScriptedAdapter(
            lambda request: failing(request) if request.id == "sum/512/1/42" else right_answer(request)
        )
        run_in(tmp_path, TinySuite(samples=3), mixed, resume=True)
        again = right_adapter()
        record = run_in(tmp_path, TinySuite(samples=3), again, resume=True)
        assert asked(again) == ["sum/512/1/42"]
        assert record.counts.errors == 0

    def test_what_cannot_fit_is_unscored_and_asked_for_once(self, tmp_path: Path) -> None:
        suite = TinySuite(tasks=("too_long", "sum"), samples=2)
        adapter = right_adapter()
        record = run_in(tmp_path, suite, adapter)
        assert asked(adapter) == ["sum/512/0/42", "sum/512/1/42"]
        assert record.counts == Counts(n=4, errors=0, unscored=2)
        assert read_samples(tmp_path)[0].unscored == "too_long needs more than 512 tokens"
        again = right_adapter()
        run_in(tmp_path, TinySuite(tasks=("too_long", "sum"), samples=3), again, resume=True)
        assert asked(again) == ["sum/512/2/42"]

    def test_a_bug_in_the_preparation_is_raised(self, tmp_path: Path) -> None:
        class Buggy(TinySuite):
            def ask(self, key: SampleKey) -> Asked:
                if key.index == 1:
                    raise ZeroDivisionError("a bug")
                return TinySuite.ask(self, key)

        with pytest.raises(ZeroDivisionError, match="a bug"):
            run_in(tmp_path, Buggy(samples=3))
        assert [line.index for line in read_samples(tmp_path)] == [0]
        assert not preparing_threads()

    def test_a_bug_in_the_scoring_is_raised(self, tmp_path: Path) -> None:
        class Buggy(TinySuite):
            def judge(self, asked: Asked, completion: Completion) -> Score:
                raise ZeroDivisionError("a bug")

        with pytest.raises(ZeroDivisionError, match="a bug"):
            run_in(tmp_path, Buggy(samples=300))
        assert not preparing_threads()

    def test_an_adapter_that_forgets_a_request_is_a_bug(self, tmp_path: Path) -> None:
        class Forgetful(ScriptedAdapter):
            def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
                return (c for c in super().generate(requests) if c.request_id != "sum/512/1/42")

        with pytest.raises(RuntimeError, match="left 1 requests unanswered, such as sum/512/1/42"):
            run_in(tmp_path, TinySuite(samples=3), Forgetful(right_answer))

    def test_an_adapter_that_stops_early_leaves_no_thread(self, tmp_path: Path) -> None:
        class Lazy(ScriptedAdapter):
            def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
                yield self._answer(next(iter(requests)))

        with pytest.raises(RuntimeError, match="left 299 requests unanswered"):
            run_in(tmp_path, TinySuite(samples=300), Lazy(right_answer))
        assert not preparing_threads()

    @pytest.mark.parametrize("interrupted", ["sum/512/0/42", "sum/512/2/42"])
    def test_an_interrupt_in_the_model_loses_nothing_and_leaves_no_thread(
        self, tmp_path: Path, interrupted: str
    ) -> None:
        def reply(request: Request) -> str:
            if request.id == interrupted:
                raise KeyboardInterrupt
            return right_answer(request)

        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path, TinySuite(samples=300), ScriptedAdapter(reply))
        assert not preparing_threads()
        before = read_samples(tmp_path)
        again = right_adapter()
        run_in(tmp_path, TinySuite(samples=300), again, resume=True)
        assert asked(again)[0] == interrupted
        assert read_samples(tmp_path)[: len(before)] == before


class TestResuming:
    def test_only_what_is_open_is_asked(self, tmp_path: Path) -> None:
        run_in(tmp_path, TinySuite(samples=3))
        adapter, observer = right_adapter(), Observer()
        record = run_in(tmp_path, TinySuite(samples=5), adapter, resume=True, observer=observer)
        assert asked(adapter) == ["sum/512/3/42", "sum/512/4/42"]
        assert [key.index for key in observer.pending] == [3, 4]
        assert record.counts.n == 5
        assert read_run(tmp_path).counts.n == 5

    def test_tasks_and_lengths_can_be_added(self, tmp_path: Path) -> None:
        run_in(tmp_path, TinySuite(samples=1))
        record = run_in(tmp_path, TinySuite(tasks=("sum", "more"), ctxs=(512, 1024), samples=1), resume=True)
        assert [(row.task, row.ctx) for row in record.results] == [
            ("sum", 512),
            ("more", 512),
            ("sum", 1024),
            ("more", 1024),
        ]

    def test_corpora_of_added_tasks_are_added_and_others_are_kept(self, tmp_path: Path) -> None:
        with RunStore.open(tmp_path, manifest_of(TinySuite(tasks=("sum", "later"))), resume=False):
            pass  # killed before its first sample
        run_in(tmp_path, TinySuite(), resume=True)
        record = run_in(tmp_path, TinySuite(tasks=("sum", "more")), resume=True)
        assert [corpus.role for corpus in record.corpora] == ["numbers", "numbers/sum", "numbers/more"]
        assert list(read_manifest(tmp_path).corpora) == ["numbers", "numbers/sum", "numbers/later", "numbers/more"]
        assert load_run(tmp_path).record.counts.n == 6

    def test_a_refused_command_changes_nothing(self, tmp_path: Path) -> None:
        failing = ScriptedAdapter(lambda request: ScriptedReply(error="NaN") if "/1/" in request.id else "no")
        run_in(tmp_path, TinySuite(tasks=("sum", "more")), failing)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(IncompatibleRunError, match="not in this run"):
            run_in(tmp_path, TinySuite(tasks=("sum", "other")), resume=True)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_a_finished_run_keeps_its_record(self, tmp_path: Path) -> None:
        first = run_in(tmp_path, TinySuite(samples=3))
        adapter = right_adapter()
        again = run_in(tmp_path, TinySuite(samples=3), adapter, resume=True)
        assert not adapter.requests
        assert again.timing == first.timing

    def test_samples_that_are_not_requested_are_refused(self, tmp_path: Path) -> None:
        run_in(tmp_path, TinySuite(samples=3))
        not_in_run = r"holds 2 samples not in this run \(such as sum/512/1/42\)"
        with pytest.raises(IncompatibleRunError, match=not_in_run):
            run_in(tmp_path, TinySuite(samples=1), resume=True)
        assert read_run(tmp_path).counts.n == 3

    def test_a_run_killed_before_its_record_is_finished_without_asking(self, tmp_path: Path) -> None:
        first = run_in(tmp_path, TinySuite(samples=3))
        (tmp_path / "run.json").unlink()
        adapter = right_adapter()
        record = run_in(tmp_path, TinySuite(samples=3), adapter, resume=True)
        assert not adapter.requests
        assert record == first


class TestPreparation:
    def test_the_next_prompt_is_made_while_the_model_works(self, tmp_path: Path) -> None:
        second_is_made = threading.Event()

        class Signalling(TinySuite):
            def ask(self, key: SampleKey) -> Asked:
                if key.index == 1:
                    second_is_made.set()
                return TinySuite.ask(self, key)

        def reply(request: Request) -> str:
            assert second_is_made.wait(60)
            return right_answer(request)

        run_in(tmp_path, Signalling(samples=2), ScriptedAdapter(reply))

    def test_prompts_are_not_piled_up(self, tmp_path: Path) -> None:
        prepared: list[int] = []
        ahead: list[int] = []

        class Counting(TinySuite):
            def ask(self, key: SampleKey) -> Asked:
                prepared.append(key.index)
                return TinySuite.ask(self, key)

        def reply(request: Request) -> str:
            time.sleep(0.005)
            ahead.append(len(prepared) - len(ahead))
            return right_answer(request)

        run_in(tmp_path, Counting(samples=30, ctxs=(65_536,)), ScriptedAdapter(reply))
        # The current one, and those after it.
        assert max(ahead) <= PREPARED_AHEAD + 1

    def test_the_time_to_the_first_prompt_is_reported(self, tmp_path: Path) -> None:
        class Slow(TinySuite):
            def ask(self, key: SampleKey) -> Asked:
                time.sleep(0.05)
                return TinySuite.ask(self, key)

        timing = run_in(tmp_path, Slow(samples=2)).timing
        first, whole = timing.first_prompt_seconds, timing.wall_seconds
        assert first is not None
        assert whole is not None
        assert 0.05 <= first < whole
