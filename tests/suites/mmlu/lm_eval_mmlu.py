"""lm-eval's own MMLU tasks over data in a folder."""

import json
from pathlib import Path
from typing import Any

from suites.mmlu.csv_folder import CsvFolder

FOLDERS = {"mc": "default", "cloze": "continuation"}


def shipped(variant: str, subject: str) -> Path:
    """The YAML file of lm-eval's task."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent / "mmlu" / FOLDERS[variant]
    return folder / f"mmlu_{subject}.yaml"


def task_over(variant: str, subject: str, data: Path, cache: Path, **changed: Any) -> Any:
    """lm-eval's task with only the source of its data, and the parts that are named, changed."""
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(shipped(variant, subject))
    folder = write_rows(subject, data, cache)
    files = {split: str(folder / f"{split}.jsonl") for split in ("test", "dev")}
    kwargs = {"data_files": files, "cache_dir": str(cache / "datasets")}
    config.update(dataset_path="json", dataset_name=None, dataset_kwargs=kwargs, num_fewshot=5, **changed)
    (task,) = TaskManager(include_defaults=False).load([config])["tasks"].values()
    task.set_fewshot_seed(1234)
    return task


def write_rows(subject: str, data: Path, cache: Path) -> Path:
    """A subject in the hub's format: question, list of choices, and the answer's index."""
    loaded = CsvFolder(data).load(subject)
    folder = cache / subject
    folder.mkdir(parents=True, exist_ok=True)
    for split, questions in (("test", loaded.test), ("dev", loaded.dev)):
        lines = [{"question": q.question, "choices": list(q.choices), "answer": q.answer} for q in questions]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
