"""A whole check with a model that finds and predicts up to 2,048 tokens, and neither beyond."""

from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.analysis.finished_run import StoredRun, load_run
from evalkit.errors import UsageError
from evalkit.records import Request, RunRecord
from evalkit.running.answering import OneModel
from evalkit.running.model_options import ChatMode, ChatOptions
from evalkit.running.runner import run
from evalkit.running.store import RunStore
from model_adapters.scripted import ScriptedAdapter, ScriptedReply, ScriptedTokenizer
from reports.markdown import render_run
from suites.context_extension import (
    ContextExtensionSuite,
    ExtensionSettings,
    build,
    conclude,
)
from suites.corpora import Essays
from suites.mmlu import MmluSettings
from suites.ruler import RulerCorpora
from suites.text_loss.sources import EssayText
from tests.chat_templates import CHATML
from tests.evalkit.run_factory import figure_values
from tests.evalkit.runs import Observer, manifest_of, settings
from tests.evalkit.sample_records import sample_record
from tests.suites.mmlu.small_data import write_mmlu
from tests.suites.numbered_prose import numbered_essays

PROSE = numbered_essays(3000)
HELD = 2048
SETTINGS = replace(
    ExtensionSettings.of(ctx=4096, tasks=("niah_single_1", "niah_multivalue"), samples=6, depths=3, windows=3),
    ctxs=(1024, 2048, 4096),
)
CORPORA = RulerCorpora(lambda: PROSE, RulerCorpora.embedded().squad, RulerCorpora.embedded().hotpotqa)


def suite(asked: ExtensionSettings = SETTINGS) -> ContextExtensionSuite:
    return build(asked, ScriptedTokenizer(), source=EssayText(PROSE), corpora=CORPORA)


def reply(request: Request) -> ScriptedReply:
    if request.scored_from is not None:
        positions = range(request.scored_from, len(request.token_ids))
        return ScriptedReply(log_probabilities=tuple(-1.0 if place < HELD else -1.5 for place in positions))
    if len(request.token_ids) > HELD:
        return ScriptedReply("nothing")
    targets = TARGETS[request.id]
    return ScriptedReply(", ".join(targets))


TARGETS: dict[str, tuple[str, ...]] = {}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Path]:
    folder = tmp_path_factory.mktemp("run")
    checked = suite()
    plan = checked.plan()
    TARGETS.update({key.id: checked.ask(key).sample.targets for key in plan.keys})
    adapter = ScriptedAdapter(reply, batch_sequences=2)
    manifest = manifest_of(checked, adapter.identity)
    with RunStore.open(folder, manifest, resume=False) as store:
        record = run(checked, OneModel(checked, adapter), store, settings(), Observer())
        finished = StoredRun(folder, record, {key.id: store.records[key.id] for key in plan.keys})
        record = conclude(replace(SETTINGS, trained=2048), finished, {})
        store.finish(record)
        store.write_report(render_run(record))
    return record, folder


def test_the_plan_holds_the_grid_and_the_documents() -> None:
    keys = suite().plan().keys
    assert len({key.id for key in keys}) == len(keys) == 2 * 3 * 6 + 3 + 3
    assert [key.task for key in keys[-6:]] == ["short_text"] * 3 + ["long_text"] * 3
    assert {key.ctx for key in keys if key.task == "short_text"} == {1024}


def test_the_short_part_asks_the_same_questions() -> None:
    short, whole = suite(SETTINGS.short_only()), suite()
    ids = {key.id for key in whole.plan().keys}
    shared = [key for key in short.plan().keys if key.id in ids]
    assert len(shared) == 2 * 6 + 3
    assert all(short.ask(key).sample == whole.ask(key).sample for key in shared)


def test_verdicts_say_where_it_breaks(stored: tuple[RunRecord, Path]) -> None:
    record, _ = stored
    assert {verdict.target: verdict.outcome for verdict in record.verdicts} == {
        "position_loss/2048-4096": "fail",
        "effective_length/fixed": "fail",
        "effective_length/own_share": "fail",
    }
    assert figure_values(record)["effective_length"] == 2048
    position = record.verdicts[0]
    assert position.value == pytest.approx(0.5, abs=1e-6)


def test_figures_tell_grid_and_positions(stored: tuple[RunRecord, Path]) -> None:
    figures = {figure.label: figure.value for figure in stored[0].figures}
    # niah_multivalue has four needles, so it is not in the depth grid; the mean is over both tasks.
    assert {name: value for name, value in figures.items() if name.startswith("grid/")} == {
        f"grid/{ctx}/{depth}": value
        for ctx, value in ((1024, 100.0), (2048, 100.0), (4096, 0.0))
        for depth in ("0-0.333", "0.333-0.667", "0.667-1")
    }
    assert (figures["mean/2048"], figures["mean/4096"]) == (100.0, 0.0)
    assert figures["position_nats/1920-2048"] == pytest.approx(1.0)
    assert figures["position_nats/2048-2176"] == pytest.approx(1.5)


def test_the_stored_run_agrees_with_its_samples(stored: tuple[RunRecord, Path]) -> None:
    record, folder = stored
    # JSON has no tuples.
    assert load_run(folder).record == replace(record, config={**record.config, "ctxs": [512]})


def test_the_report_shows_verdicts_grid_and_losses(stored: tuple[RunRecord, Path]) -> None:
    report = (stored[1] / "report.md").read_text(encoding="utf-8")
    for expected in ("Verdicts", "FAIL", "Needles found", "Loss by position", "Effective length", "long text in 4,096"):
        assert expected in report


def test_a_control_experiment_is_named_in_every_table(stored: tuple[RunRecord, Path]) -> None:
    record = stored[0]
    positions = replace(record.model.positions, override="rope:theta=5e5")
    report = render_run(replace(record, model=replace(record.model, positions=positions)))
    titles = [line for line in report.splitlines() if line.startswith("## ")]
    assert len(titles) == 7
    assert all("CONTROL EXPERIMENT: positions forced to rope:theta=5e5" in title for title in titles)


def test_a_text_that_is_too_short_is_refused() -> None:
    short = Essays(PROSE.use, PROSE.sentences[:100])
    checked = build(SETTINGS, ScriptedTokenizer(), source=EssayText(short), corpora=CORPORA)
    with pytest.raises(UsageError, match=r"numbered holds no document of 4,096 tokens; give a longer text with --text"):
        checked.plan()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ctx": 1000}, "context 1,000: an extension is tested from 1,024"),
        ({"ctx": 8192, "samples": 0}, "0 samples"),
        ({"ctx": 8192, "depths": 41}, "41 depths: from 1 to 40"),
        ({"ctx": 8192, "depths": 10, "samples": 4}, "10 depths: each needs a sample, and a task has 4 samples per len"),
        ({"ctx": 8192, "windows": 0}, "0 windows"),
        ({"ctx": 8192, "tasks": ("niah_singel_2",)}, "did you mean 'niah_single_2'"),
    ],
)
def test_bad_settings_name_value_limit_and_remedy(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExtensionSettings.of(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("options", "depths"), [({}, 10), ({"samples": 4}, 4), ({"samples": 4, "depths": 3}, 3)])
def test_no_more_depths_than_samples_by_default(options: dict[str, int], depths: int) -> None:
    assert ExtensionSettings.of(ctx=8192, **options).depths == depths


def test_the_grid_doubles_up_to_the_tested_length() -> None:
    assert ExtensionSettings.of(ctx=65_536).ctxs == (4096, 8192, 16_384, 32_768, 65_536)
    assert ExtensionSettings.of(ctx=20_000).ctxs == (4096, 8192, 16_384, 20_000)
    assert ExtensionSettings.of(ctx=2048).ctxs == (2048,)


def test_questions_of_mmlu_are_part_of_the_suite(tmp_path: Path) -> None:
    data = write_mmlu(tmp_path / "mmlu", ["anatomy", "virology"], test=3)
    asked = replace(SETTINGS, mmlu=MmluSettings.of(subjects=["anatomy", "virology"], samples=2, data=data))
    checked, plain = suite(asked), suite()
    added = set(checked.plan().keys) - set(plain.plan().keys)
    assert {key.id for key in added} == {f"{task}/0/{n}/0" for task in ("anatomy", "virology") for n in range(2)}
    assert checked.version == f"{plain.version}+mmlu-1"
    key = next(key for key in added if key.task == "virology")
    assert len(checked.ask(key).requests[0].continuations) == 4
    records = [sample_record(key.task, 0, key.index, float(key.index == 0)) for key in added]
    told = checked.summarize(records)
    assert {row.task: row.value for row in told.results if row.task in ("anatomy", "virology")} == {
        "anatomy": 50.0,
        "virology": 50.0,
    }
    (figure,) = [figure for figure in told.figures if figure.name == "mmlu"]
    assert (figure.value, figure.n) == (50.0, 4)


def test_questions_take_the_template_and_documents_do_not(tmp_path: Path) -> None:
    tokenizer = ScriptedTokenizer(chat_template=CHATML)
    data = write_mmlu(tmp_path / "mmlu", ["virology"], test=2)
    given = replace(SETTINGS, mmlu=MmluSettings.of(subjects=("virology",), data=data))
    checked = build(given, tokenizer, source=EssayText(PROSE), corpora=CORPORA, chat=ChatOptions(ChatMode.USER))
    assert checked.dialect == "nvidia+chat-user"
    for key in checked.plan().keys:
        asked = checked.ask(key)
        text = tokenizer.decode(asked.requests[0].token_ids)
        assert ("<|im_start|>assistant" in text) == (key.task in (*SETTINGS.tasks, "virology"))
        assert key.ctx == 0 or asked.sample.prompt_tokens + asked.sample.generation_tokens <= key.ctx
        stop = ("<|im_end|>",) if key.task in SETTINGS.tasks else ()
        assert {request.stop for request in asked.requests} == {stop}
