"""A run's folder keeps every whole sample, refuses what does not belong to it, and loses nothing to a crash."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import CorpusUse, EngineDescription, PositionScheme, SampleRecord
from evalkit.records.codec import to_json
from evalkit.running.store import (
    MANIFEST,
    RUN,
    SAMPLES,
    SESSIONS,
    STARTED,
    Manifest,
    RunStore,
    check_out,
    numbered_folder,
    read_run,
    read_samples,
)
from model_adapters.scripted import SCRIPTED_IDENTITY
from tests.evalkit.runs import manifest_of, run_in
from tests.evalkit.tiny_suite import TinySuite
from tests.support import limited_file_size

SUITE = TinySuite()
CORPUS = CorpusUse("numbers", "counted", "ab" * 32, "embedded")
FORCED = PositionScheme("rope", "RoPE θ=500", theta=500.0, override="rope:theta=500")
ENGINE = EngineDescription(engine="evalkit", device="cuda:0", gdn_kernel="triton", batch_invariant="decode steps of 8")
MANIFEST_OF_SUITE = manifest_of(SUITE)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRecord:
    folder = tmp_path_factory.mktemp("one") / "run"
    run_in(folder, TinySuite(samples=1))
    return read_samples(folder)[0]


def opened(folder: Path, *, resume: bool = True) -> RunStore:
    return RunStore.open(folder, MANIFEST_OF_SUITE, resume=resume)


def fill(folder: Path, *records: SampleRecord) -> None:
    with opened(folder) as store:
        for record in records:
            store.append(record)


def kept(folder: Path) -> list[str]:
    with opened(folder) as store:
        return list(store.done)


class TestAppending:
    def test_each_sample_is_in_the_file_when_append_returns(self, tmp_path: Path, sample: SampleRecord) -> None:
        with opened(tmp_path / "run") as store:
            for index in range(3):
                store.append(replace(sample, id=str(index)))
                assert [record.id for record in read_samples(tmp_path / "run")] == [str(i) for i in range(index + 1)]

    def test_hostile_text_stays_one_line(self, tmp_path: Path, sample: SampleRecord) -> None:
        hostile = replace(sample, prediction="\ud800 \u2028 \x85 \r\n \x00 \x1b[2J \x9b")
        fill(tmp_path / "run", hostile)
        assert (tmp_path / "run" / SAMPLES).read_bytes().count(b"\n") == 1
        assert read_samples(tmp_path / "run") == [hostile]

    def test_a_full_disk_leaves_whole_lines_and_says_how_to_continue(
        self, tmp_path: Path, sample: SampleRecord
    ) -> None:
        folder = tmp_path / "run"
        with opened(folder) as store:
            store.append(sample)
            size = (folder / SAMPLES).stat().st_size
            with limited_file_size(size + 100), pytest.raises(UsageError, match="all samples stored so far are safe"):
                store.append(replace(sample, id="second"))
            assert "second" not in store.records
        assert (folder / SAMPLES).stat().st_size == size
        fill(folder, replace(sample, id="second"))
        assert kept(folder) == [sample.id, "second"]

    def test_a_full_disk_at_the_start_is_one_line(self, tmp_path: Path) -> None:
        with limited_file_size(10), pytest.raises(UsageError, match=r"cannot write to .*; choose another folder"):
            opened(tmp_path / "run")
        assert kept(tmp_path / "run") == []

    def test_a_full_disk_at_the_end_leaves_the_samples(self, tmp_path: Path) -> None:
        record = run_in(tmp_path / "first", SUITE)
        fill(tmp_path / "run", *read_samples(tmp_path / "first"))
        full = pytest.raises(UsageError, match="all samples stored so far are safe")
        with opened(tmp_path / "run") as store, limited_file_size(100), full:
            store.finish(record)
        assert sorted(os.listdir(tmp_path / "run")) == [".lock", MANIFEST, SAMPLES]


class TestResuming:
    @given(st.data())
    def test_cut_anywhere_it_keeps_the_whole_lines(
        self, tmp_path_factory: pytest.TempPathFactory, sample: SampleRecord, data: st.DataObject
    ) -> None:
        folder = tmp_path_factory.mktemp("cut")
        records = [replace(sample, id=str(index), prediction="é" * index) for index in range(3)]
        fill(folder, *records)
        whole = (folder / SAMPLES).read_bytes()
        cut = whole[: data.draw(st.integers(0, len(whole)))]
        (folder / SAMPLES).write_bytes(cut)
        assert kept(folder) == [str(index) for index in range(cut.count(b"\n"))]
        fill(folder, *records[cut.count(b"\n") :])
        assert (folder / SAMPLES).read_bytes() == whole

    def test_a_half_written_line_is_cut_off_before_the_next_is_appended(
        self, tmp_path: Path, sample: SampleRecord
    ) -> None:
        fill(tmp_path / "run", sample)
        with (tmp_path / "run" / SAMPLES).open("a") as file:
            file.write('{"id": "half')
        fill(tmp_path / "run", replace(sample, id="next"))
        assert [record.id for record in read_samples(tmp_path / "run")] == [sample.id, "next"]

    def test_errors_are_dropped_to_be_tried_again(self, tmp_path: Path, sample: SampleRecord) -> None:
        failed = replace(sample, id="failed", error="out of memory", finish_reason="error", score=None)
        fill(tmp_path / "run", sample, failed)
        assert kept(tmp_path / "run") == [sample.id]
        assert read_samples(tmp_path / "run") == [sample, failed]
        fill(tmp_path / "run", replace(failed, error=None))
        assert read_samples(tmp_path / "run") == [sample, replace(failed, error=None)]

    def test_it_starts_afresh_if_there_is_nothing(self, tmp_path: Path) -> None:
        assert kept(tmp_path / "deep" / "er") == []
        assert (tmp_path / "deep" / "er" / MANIFEST).exists()

    def test_a_malformed_whole_line_is_named_and_kept(self, tmp_path: Path, sample: SampleRecord) -> None:
        fill(tmp_path / "run", sample)
        with (tmp_path / "run" / SAMPLES).open("a") as file:
            file.write("{}\n")
        with pytest.raises(UsageError, match=r"samples\.jsonl:2 is not a sample record: SampleRecord: .* field id"):
            opened(tmp_path / "run")
        assert (tmp_path / "run" / SAMPLES).read_text().endswith("{}\n")


class TestRefusing:
    def test_a_folder_with_a_run_needs_resume(self, tmp_path: Path) -> None:
        opened(tmp_path / "run").close()
        with pytest.raises(UsageError, match="already holds a run; pass --resume"):
            opened(tmp_path / "run", resume=False)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"identity": replace(SCRIPTED_IDENTITY, fingerprint="sha256:other")}, "fingerprint: sha256:000"),
            ({"identity": replace(SCRIPTED_IDENTITY, tokenizer="sha256:other")}, "tokenizer: sha256:scripted-0 ->"),
            ({"identity": replace(SCRIPTED_IDENTITY, dtype="bfloat16")}, "dtype: float32 -> bfloat16"),
            ({"dialect": "olmes"}, "dialect: plain -> olmes"),
            ({"seed": 1}, "seed: 42 -> 1"),
            ({"version": "2"}, "suite_version: 1 -> 2"),
            ({"identity": replace(SCRIPTED_IDENTITY, quantization="fp8")}, "quantization: none -> fp8"),
            ({"identity": replace(SCRIPTED_IDENTITY, positions=FORCED)}, "positions: none -> RoPE θ=500"),
            ({"engine": replace(ENGINE, gdn_kernel="torch")}, "gdn_kernel: triton -> torch"),
            ({"engine": replace(ENGINE, batch_invariant="no")}, "batch_invariant: decode steps of 8 -> no"),
            ({"engine": replace(ENGINE, engine="vllm")}, "engine: evalkit -> vllm"),
            ({"engine": replace(ENGINE, device="cpu")}, "device: cuda -> cpu"),
            ({"evalkit": "0.2.0"}, "evalkit: 0.1.0 -> 0.2.0"),
            ({"question_settings": {"field": "content"}}, "field: text -> content"),
            ({"corpora": [replace(CORPUS, sha256="cd")]}, "corpus numbers: counted (abababababab) -> counted (cd)"),
            ({"corpora": [replace(CORPUS, name="others", sha256="cd")]}, "corpus numbers: counted (abababababab) -> "),
        ],
    )
    def test_a_run_made_with_something_else_is_named(
        self, tmp_path: Path, changes: dict[str, object], named: str
    ) -> None:
        values: dict[str, Any] = {
            "engine": ENGINE,
            "evalkit": "0.1.0",
            "corpora": [CORPUS],
            "question_settings": {"field": "text"},
        }
        RunStore.open(tmp_path / "run", manifest_of(SUITE, **values), resume=False).close()
        RunStore.open(tmp_path / "run", manifest_of(SUITE, **values), resume=True).close()
        with pytest.raises(IncompatibleRunError) as error:
            RunStore.open(tmp_path / "run", manifest_of(SUITE, **{**values, **changes}), resume=True)
        assert named in str(error.value)

    def test_another_name_for_the_same_weights_is_welcome(self, tmp_path: Path) -> None:
        opened(tmp_path / "run").close()
        moved = manifest_of(SUITE, identity=replace(SCRIPTED_IDENTITY, path="/elsewhere"))
        RunStore.open(tmp_path / "run", moved, resume=True).close()

    def test_other_words_for_the_same_positions_are_welcome(self, tmp_path: Path) -> None:
        opened(tmp_path / "run").close()
        reworded = replace(SCRIPTED_IDENTITY.positions, description="no position encoding")
        manifest = manifest_of(SUITE, identity=replace(SCRIPTED_IDENTITY, positions=reworded))
        RunStore.open(tmp_path / "run", manifest, resume=True).close()

    def test_two_processes_never_share_a_folder(self, tmp_path: Path) -> None:
        with opened(tmp_path / "run"), pytest.raises(UsageError, match="in use by another process"):
            opened(tmp_path / "run")
        opened(tmp_path / "run").close()

    def test_a_refused_folder_is_unlocked_again(self, tmp_path: Path) -> None:
        opened(tmp_path / "run").close()
        with pytest.raises(UsageError):
            opened(tmp_path / "run", resume=False)
        opened(tmp_path / "run").close()

    def test_samples_of_unknown_origin_are_not_continued(self, tmp_path: Path) -> None:
        (tmp_path / SAMPLES).write_text("{}\n")
        with pytest.raises(UsageError, match=r"has samples but no manifest\.json"):
            opened(tmp_path)

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"suite": 3}', "\x00"])
    def test_a_damaged_manifest_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(UsageError, match=r"manifest\.json cannot be read"):
            opened(tmp_path)

    @pytest.mark.parametrize("place", ["file/run", "file", "x" * 300, "loop/run"])
    def test_a_place_that_cannot_be_written_is_one_line(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(UsageError, match=r"cannot write to .*; choose another folder with --out"):
            opened(tmp_path / place)


class TestCheckingBeforehand:
    @pytest.mark.parametrize("place", ["file/run", "file", "loop/run"])
    def test_an_impossible_place_is_known_before_a_model_is_loaded(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(UsageError, match=r"cannot write to .*is not a folder; choose another folder with --out"):
            check_out(tmp_path / place, resume=True)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission_is_known(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o555)
        with pytest.raises(UsageError, match="no permission"):
            check_out(tmp_path / "run", resume=True)

    def test_an_existing_run_needs_resume(self, tmp_path: Path) -> None:
        opened(tmp_path).close()
        check_out(tmp_path, resume=True)
        with pytest.raises(UsageError, match="already holds a run"):
            check_out(tmp_path, resume=False)

    def test_nothing_is_created(self, tmp_path: Path) -> None:
        check_out(tmp_path / "a" / "b", resume=False)
        assert os.listdir(tmp_path) == []


class TestResults:
    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        record = run_in(tmp_path / "run", SUITE)
        assert json.loads(to_json(read_run(tmp_path / "run"))) == json.loads(to_json(record))
        assert json.loads(to_json(read_run(tmp_path / "run" / RUN))) == json.loads(to_json(record))

    def test_no_temporary_file_stays(self, tmp_path: Path) -> None:
        run_in(tmp_path / "run", SUITE)
        assert set(os.listdir(tmp_path / "run")) == {".lock", MANIFEST, "report.md", RUN, SAMPLES, SESSIONS, STARTED}

    def test_adding_a_sample_removes_results_that_no_longer_say_it_all(
        self, tmp_path: Path, sample: SampleRecord
    ) -> None:
        run_in(tmp_path / "run", SUITE)
        fill(tmp_path / "run", replace(sample, id="one more"))
        with pytest.raises(UsageError, match=r"the run has not finished \(4 of 3 samples\), continue it with --resume"):
            read_run(tmp_path / "run")
        assert not (tmp_path / "run" / "report.md").exists()

    def test_opening_a_finished_run_changes_nothing(self, tmp_path: Path) -> None:
        run_in(tmp_path / "run", SUITE)
        before = (tmp_path / "run" / RUN).read_bytes()
        assert len(kept(tmp_path / "run")) == 3
        assert (tmp_path / "run" / RUN).read_bytes() == before

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is not a run record: not JSON"),
            (b"{}", "is not a run record: RunRecord: object missing required field schema"),
            (b'{"schema": "evalkit.run/9"}', r"run\.json has schema evalkit\.run/9, .* upgrade evalkit to read it"),
            (b'{"schema": "evalkit.gate/1"}', r"its schema is evalkit\.gate/1, this evalkit reads evalkit\.run/2"),
            (b'{"schema": 1}', r"its schema is 1, this evalkit reads evalkit\.run/2"),
            (b"[1]", "is not a run record: RunRecord: expected object"),
            (b"\xff\xfe", "cannot be read: 'utf-8' codec"),
        ],
    )
    def test_a_foreign_file_is_named(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / RUN).write_bytes(content)
        with pytest.raises(UsageError, match=message):
            read_run(tmp_path)

    def test_a_folder_without_a_run_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"run\.json does not exist: not a run folder"):
            read_run(tmp_path)
        with pytest.raises(UsageError, match="missing does not exist: not a run folder"):
            read_run(tmp_path / "missing")

    def test_a_folder_in_place_of_the_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / RUN).mkdir()
        with pytest.raises(UsageError, match=r"run\.json cannot be read"):
            read_run(tmp_path)


class TestNumberedFolders:
    def test_each_run_gets_a_folder_of_its_own(self, tmp_path: Path) -> None:
        for expected in ("run", "run-2", "run-3"):
            folder = numbered_folder(tmp_path, "run", resume=False)
            assert folder.name == expected
            folder.mkdir()

    def test_resume_finds_the_newest(self, tmp_path: Path) -> None:
        assert numbered_folder(tmp_path, "run", resume=True).name == "run"
        for name in ("run", "run-2"):
            (tmp_path / name).mkdir()
            assert numbered_folder(tmp_path, "run", resume=True).name == name

    def test_folders_that_were_deleted_leave_gaps(self, tmp_path: Path) -> None:
        for name in ("run-2", "run-10", "run-x", "runs", "other-11"):
            (tmp_path / name).mkdir()
        assert numbered_folder(tmp_path, "run", resume=True).name == "run-10"
        assert numbered_folder(tmp_path, "run", resume=False).name == "run-11"


def test_differences_name_only_what_decides() -> None:
    there = replace(MANIFEST_OF_SUITE, model="elsewhere", seed=1)
    assert MANIFEST_OF_SUITE.differences(there) == ["seed: 42 -> 1"]
    assert isinstance(there, Manifest)
