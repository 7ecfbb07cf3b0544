"""A task's instances equal those that lm-eval builds, in any order of requests."""

from pathlib import Path

import pytest

from suites.lm_eval_tasks import LmEvalSettings, load_tasks
from suites.lm_eval_tasks.documents import TaskDocuments
from tests.suites.lm_eval_tasks.own_tasks import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_instances_are_lm_evals(own_tasks: Path, name: str) -> None:
    settings = LmEvalSettings.of(tasks=[name], include_path=own_tasks)
    built, ours = (load_tasks(settings).tasks[name] for _ in range(2))
    built.build_all_requests()
    documents = TaskDocuments(ours, None)
    count = len(documents.docs)
    by_index = {index: documents.instances(index) for index in reversed(range(count))}
    made = [instance for index in range(count) for instance in by_index[index]]
    assert [(i.args, i.doc_id, i.idx) for i in made] == [(i.args, i.doc_id, i.idx) for i in built.instances]


def test_examples_are_drawn_by_seed(own_tasks: Path) -> None:
    contexts = []
    for seed in (1234, 1234, 5):
        settings = LmEvalSettings.of(tasks=["colours"], include_path=own_tasks, seed=seed)
        documents = TaskDocuments(load_tasks(settings).tasks["colours"], None)
        contexts.append(list(documents.contexts()))
    assert contexts[0] == contexts[1] != contexts[2]
    assert all(context.count("Answer:") == 3 for context in contexts[0])


def test_fewer_documents_are_the_first_ones(own_tasks: Path) -> None:
    settings = LmEvalSettings.of(tasks=["colours"], include_path=own_tasks)
    whole, few = (TaskDocuments(load_tasks(settings).tasks["colours"], limit) for limit in (None, 3))
    assert list(few.docs) == list(whole.docs[:3])
    assert few.instances(2)[0].args == whole.instances(2)[0].args
