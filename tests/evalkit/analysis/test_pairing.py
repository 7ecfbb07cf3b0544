"""Samples are paired by id, and runs with different questions are refused by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.analysis.comparison import compare
from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.pairing import pair_runs, unlike_things
from evalkit.errors import IncompatibleRunError, UsageError
from evalkit.records import SERVED, CorpusUse, ModelIdentity, ThinkingUse
from tests.evalkit.run_factory import ERRORED, UNSCORED, RunSpec, changed, make_run

SPEC = RunSpec({("vt", 4096): [1.0, 0.5, 0.0, 1.0], ("cwe", 4096): [1.0, 0.0]})


def pairing_of(tmp_path: Path, base: RunSpec, new: RunSpec) -> Any:
    return pair_runs(make_run(tmp_path / "base", base), make_run(tmp_path / "new", new))


def test_samples_are_paired_by_id(tmp_path: Path) -> None:
    new = changed(SPEC, {("cwe", 4096): [0.0, 0.0, 1.0], ("vt", 4096): [1.0, ERRORED, UNSCORED]})
    pairing = pairing_of(tmp_path, SPEC, new)
    vt, cwe = pairing.rows
    assert [pair.base.id for pair in vt.pairs] == ["vt/4096/0/42"]
    assert vt.new_states == {"paired": 1, "errored": 1, "unscored": 1, "missing": 1}
    assert [pair.change for pair in cwe.pairs] == [-1.0, 0.0]
    assert cwe.base_states["missing"] == 1
    assert not pairing.same_model_and_answers


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dialect": "olmes"}, "dialect: nvidia in BASE, olmes in NEW"),
        ({"seed": 43}, "seed: 42 in BASE, 43 in NEW"),
        ({"suite_version": "2"}, "suite version: 1 in BASE, 2 in NEW"),
        ({"suite": "other"}, "suite: ruler in BASE, other in NEW"),
        ({"corpora": {"essays": "prose"}}, "corpus essays: novels"),
        ({"generation_tokens": 50}, "the generation budget is 128 tokens in BASE, 50 in NEW"),
        ({"question_settings": {"field": "content"}}, "field: text in BASE, content in NEW"),
    ],
)
def test_unlike_things_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    base = replace(SPEC, question_settings={"field": "text"})
    with pytest.raises(IncompatibleRunError) as error:
        pairing_of(tmp_path, base, replace(changed(base, base.scores), **changes))
    assert named in str(error.value)
    assert "--unpaired" in str(error.value)
    assert error.value.exit_code == 2


def test_a_corpus_that_one_run_alone_needed_does_not_part_them(tmp_path: Path) -> None:
    new = changed(SPEC, SPEC.scores, corpora={"essays": "novels", "squad": "dev"})
    assert unlike_things(make_run(tmp_path / "a", SPEC).record, make_run(tmp_path / "b", new).record) == []


def test_runs_of_prepared_files_pair_in_the_tasks_that_both_have(tmp_path: Path) -> None:
    def prepared(name: str, spec: RunSpec, **files: str) -> StoredRun:
        run = make_run(tmp_path / name, spec)
        uses = tuple(CorpusUse("samples", f"{task}@4096", sha256, "x.jsonl") for task, sha256 in files.items())
        return replace(run, record=replace(run.record, corpora=uses))

    both = prepared("both", SPEC, vt="aa", cwe="bb")
    fewer = prepared("fewer", changed(SPEC, {("cwe", 4096): [1.0, 1.0]}), cwe="bb")
    for base, new in ((both, fewer), (fewer, both)):
        assert {row.task: len(row.pairs) for row in pair_runs(base, new).rows} == {"vt": 0, "cwe": 2}
    other = prepared("other", changed(SPEC, SPEC.scores), vt="cc", cwe="bb")
    with pytest.raises(IncompatibleRunError, match=r"corpus samples: vt@4096 \(aa\) in BASE, vt@4096 \(cc\) in NEW"):
        pair_runs(both, other)


def test_another_description_of_the_same_positions_is_no_other_model(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", SPEC)
    reworded = replace(base.record.model.positions, description="no positions")
    model = replace(base.record.model, positions=reworded)
    new = replace(base, record=replace(base.record, model=model))
    assert pair_runs(base, new).same_model_and_answers
    quantized = replace(base, record=replace(base.record, model=replace(model, quantization="fp8")))
    assert not pair_runs(base, quantized).same_model_and_answers


def test_other_prompts_under_equal_settings_are_refused(tmp_path: Path) -> None:
    base, new = make_run(tmp_path / "base", SPEC), make_run(tmp_path / "new", changed(SPEC, SPEC.scores))
    new.samples["vt/4096/0/42"] = replace(new.samples["vt/4096/0/42"], prompt_sha256="other")  # type: ignore[index]
    with pytest.raises(IncompatibleRunError, match=r"vt/4096/0/42 .* the prompts differ"):
        pair_runs(base, new)


def test_another_tokenizer_asks_the_same_question_in_another_prompt(tmp_path: Path) -> None:
    pairing = pairing_of(tmp_path, SPEC, changed(SPEC, SPEC.scores, tokenizer="gpt2"))
    assert not any(pair.same_prompt for pair in pairing.pairs())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokenizer": "gpt2", "chat_template": "sha256:1"}, "tokenizers"),
        ({"chat_template": "sha256:1"}, "chat templates"),
        ({"thinking": ThinkingUse(64, {"enable_thinking": True}, "<t>", "</t>")}, "settings of thinking"),
    ],
)
def test_another_chat_asks_the_same_question_in_another_prompt(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    base = replace(SPEC, chat_template="sha256:0", thinking=ThinkingUse(64, {"enable_thinking": True}))
    pairing = pairing_of(tmp_path, base, replace(base, **changes))
    assert sum(not pair.same_prompt for pair in pairing.pairs()) == 6
    assert compare(pairing).notes[0] == (
        f"The {named} differ: 6 of 6 pairs are the same question in a different prompt."
    )


def test_equal_scores_in_another_chat_are_no_certain_tie(tmp_path: Path) -> None:
    thinking = ThinkingUse(64, {"enable_thinking": True}, "<think>", "</think>")
    base = replace(SPEC, chat_template="sha256:0", thinking=thinking)
    assert pairing_of(tmp_path, base, replace(base, thinking=replace(thinking))).same_model_and_answers
    for name, other in (("a", {"chat_template": "sha256:1"}), ("b", {"thinking": replace(thinking, open="<t>")})):
        assert not pairing_of(tmp_path / name, base, replace(base, **other)).same_model_and_answers


def test_losses_under_another_tokenizer_are_of_other_text(tmp_path: Path) -> None:
    loss = RunSpec({("text", 4096): [0.5, 0.6]}, suite="loss", metric="bits_per_byte")
    with pytest.raises(IncompatibleRunError, match="another tokenizer cuts the text into other windows"):
        pairing_of(tmp_path, loss, changed(loss, loss.scores, tokenizer="gpt2"))


def test_nothing_in_common_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no scored sample in common"):
        pairing_of(tmp_path, SPEC, changed(SPEC, {("fwe", 4096): [1.0]}))


def test_the_same_model_with_the_same_answers_is_known(tmp_path: Path) -> None:
    assert pairing_of(tmp_path, SPEC, SPEC).same_model_and_answers
    assert not pairing_of(tmp_path / "other", SPEC, changed(SPEC, SPEC.scores)).same_model_and_answers


def test_two_served_models_of_one_name_may_differ(tmp_path: Path) -> None:
    """A server does not show its weights, so equal answers to a few questions are no proof that they are the same."""
    run = make_run(tmp_path / "base", SPEC)
    served = replace(run, record=replace(run.record, model=ModelIdentity.by_name("model", f"{SERVED}model")))
    pairing = pair_runs(served, served)
    assert not pairing.same_model_and_answers
    low, high = next(row.ci95 for row in compare(pairing).rows if row.ci95 is not None)
    assert low < 0 < high
