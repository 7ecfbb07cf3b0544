"""Excerpts of a long prompt show the evidence for the right answer."""

from pathlib import Path

import pytest

from evalkit.records import Sample
from evalkit.running.excerpts import excerpts
from model_adapters.scripted import ScriptedTokenizer
from suites import lm_eval_tasks, mmlu, ruler
from suites.ruler import TASKS
from suites.ruler.prepared import PreparedWriter
from tests.suites.lm_eval_tasks.own_tasks import write_task
from tests.suites.mmlu.small_data import write_mmlu
from tests.suites.ruler import small_corpora

TOKENIZER = ScriptedTokenizer()


def evidence_of(sample: Sample) -> list[str]:
    return [sample.prompt[start:end] for start, end in sample.evidence]


def marked(sample: Sample) -> list[str]:
    """The marked parts of a sample's excerpts, each with the text around it."""
    return [piece.text[start:end] for piece in excerpts(sample) for start, end in piece.marks]


@pytest.mark.parametrize("task", TASKS)
def test_ruler_marks_what_is_requested_where_it_is_hidden(task: str, tmp_path: Path) -> None:
    suite = small_corpora.suite(TOKENIZER, ctxs=(8192,), tasks=(task,), samples=3)
    with PreparedWriter(tmp_path) as writer:
        for key in suite.plan().keys:
            sample = suite.ask(key).sample
            writer.write(sample)
            kept = "\n".join(piece.text for piece in excerpts(sample))
            assert len(kept) < 2100
            if task in ("cwe", "fwe"):
                assert sample.evidence == ()
            elif task == "qa_1":
                (answer,) = evidence_of(sample)
                assert answer == sample.targets[0]
                assert sample.prompt[: sample.evidence[0][0]].endswith(" opened in ")
            elif task == "qa_2":
                _, answer = evidence_of(sample)
                assert answer == sample.targets[0]
                assert "was born in " in kept
            else:
                assert evidence_of(sample) == list(sample.targets)
                assert sorted(marked(sample)) == sorted(sample.targets)
                before = "VAR " if task == "vt" else " is: "
                assert all(f"{before}{target}" in kept for target in sample.targets)
    prepared = ruler.build(ruler.RulerSettings.of(ctx=(8192,), tasks=(task,), data=tmp_path), TOKENIZER)
    if not task.startswith("qa"):
        assert [prepared.ask(key).sample.evidence for key in prepared.plan().keys] == [
            suite.ask(key).sample.evidence for key in suite.plan().keys
        ]


def test_mmlu_marks_the_right_choice(tmp_path: Path) -> None:
    settings = mmlu.MmluSettings.of(subjects=["virology"], data=write_mmlu(tmp_path, ["virology"]))
    suite = mmlu.build(settings, TOKENIZER)
    for key in suite.plan().keys:
        asked = suite.ask(key)
        choice = f"{'ABCD'[asked.question.answer]}. {asked.question.choices[asked.question.answer]}"
        assert evidence_of(asked.sample) == marked(asked.sample) == [choice]


def test_lm_evals_open_questions_mark_the_target_in_their_context(tmp_path: Path) -> None:
    text = "The box is blue. " * 60
    rows = [{"context": f"{text}The key is under the Doormat. {text}", "answer": "doormat"}]
    config = {"output_type": "generate_until", "doc_to_text": "{{context}}", "doc_to_target": "{{answer}}"}
    write_task(tmp_path, "keys", {"test": rows}, metric_list=[{"metric": "exact_match"}], **config)
    suite = lm_eval_tasks.build(lm_eval_tasks.LmEvalSettings.of(tasks=("keys",), include_path=tmp_path), TOKENIZER)
    (key,) = suite.plan().keys
    assert marked(suite.ask(key).sample) == ["Doormat"]
