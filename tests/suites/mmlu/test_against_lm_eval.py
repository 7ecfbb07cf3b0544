"""The prompts are equal to those of lm-eval's own tasks over the same data."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.records import SampleKey
from model_adapters.scripted import ScriptedTokenizer
from suites.mmlu import MmluSettings, build
from suites.mmlu.subjects import GROUPS, SUBJECTS
from tests.suites.mmlu.lm_eval_mmlu import shipped, task_over

TAGS = {"mc": "mmlu_{group}_tasks", "cloze": "mmlu_{group}_continuation"}


@pytest.mark.shared_data
@pytest.mark.parametrize("variant", ["mc", "cloze"])
def test_prompts_choices_and_answers_are_lm_evals(real_mmlu: Path, tmp_path: Path, variant: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    for subject in ("abstract_algebra", "us_foreign_policy"):
        task = task_over(variant, subject, real_mmlu, tmp_path)
        task.build_all_requests()
        settings = MmluSettings.of(subjects=[subject], data=real_mmlu, variant=variant)
        suite = build(settings, ScriptedTokenizer())
        assert len(suite.plan().keys) == len(task.eval_docs)
        by_doc: dict[int, list[Any]] = {}
        for instance in task.instances:
            by_doc.setdefault(instance.doc_id, []).append(instance)
        for index, instances in by_doc.items():
            asked = suite.ask(SampleKey(subject, 0, index, 0))
            sample = asked.sample
            assert {instance.args[0] for instance in instances} == {sample.prompt}
            decoded = [ScriptedTokenizer().decode(ids) for ids in asked.requests[0].continuations]
            assert [instance.args[1] for instance in instances] == decoded
            target = task.doc_to_target(instances[0].doc)
            assert sample.targets == (task.doc_to_choice(instances[0].doc)[target],)


@pytest.mark.parametrize("variant", ["mc", "cloze"])
def test_every_subject_is_described_and_grouped_as_lm_eval_has_it(variant: str) -> None:
    from suites.mmlu.prompt import header

    for group, subjects in GROUPS.items():
        for subject in subjects:
            task = yaml.safe_load(shipped(variant, subject).read_text())
            assert task["dataset_name"] == subject
            assert task["tag"] == TAGS[variant].format(group=group)
            assert header(subject, (), "cloze" if variant == "cloze" else "mc") == task["description"]
    assert len(SUBJECTS) == 57
