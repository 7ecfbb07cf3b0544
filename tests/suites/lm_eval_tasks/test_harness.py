"""Tasks are found by name, and refused in one line if they cannot be run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks import manager

from evalkit.errors import UsageError
from suites.lm_eval_tasks import LmEvalSettings, load_tasks


def load(folder: Path, *tasks: str, **settings: Any) -> Any:
    return load_tasks(LmEvalSettings.of(tasks=tasks, include_path=folder, **settings))


def changed(own_tasks: Path, folder: Path, name: str, **config: Any) -> Path:
    """A folder with a changed copy of one of the tasks, called `changed`."""
    task = yaml.safe_load((own_tasks / f"{name}.yaml").read_text())
    folder.mkdir(exist_ok=True)
    (folder / "changed.yaml").write_text(yaml.safe_dump({**task, "task": "changed", **config}))
    return folder


def test_a_yaml_file_is_a_task_too(own_tasks: Path) -> None:
    settings = LmEvalSettings.of(tasks=[str(own_tasks / "sums.yaml")])
    assert list(load_tasks(settings).tasks) == ["sums"]


def test_shots(own_tasks: Path) -> None:
    assert load(own_tasks, "colours").tasks["colours"].get_config("num_fewshot") == 2
    assert load(own_tasks, "colours", shots=4).tasks["colours"].get_config("num_fewshot") == 4
    with pytest.raises(UsageError, match=r"^7 shots: task colours has 6 examples to choose from; lower --shots$"):
        load(own_tasks, "colours", shots=7)


def test_a_task_that_states_no_examples_keeps_none(own_tasks: Path, tmp_path: Path) -> None:
    folder = changed(own_tasks, tmp_path, "colours", num_fewshot=0)
    assert load(folder, "changed", shots=4).tasks["changed"].get_config("num_fewshot") == 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "drawn": ({"generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.8}}, "samples its answers"),
    "code": ({"unsafe_code": True}, "runs code that the model writes"),
    "pictures": ({"doc_to_image": "question"}, "has input other than text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused(own_tasks: Path, tmp_path: Path, case: str) -> None:
    config, message = REFUSED[case]
    folder = changed(own_tasks, tmp_path, "sums", **config)
    with pytest.raises(UsageError, match=message):
        load(folder, "changed")


def test_data_that_are_not_there(own_tasks: Path, tmp_path: Path) -> None:
    missing = {"data_files": {"test": str(tmp_path / "nowhere.jsonl")}, "cache_dir": str(tmp_path / "cache")}
    folder = changed(own_tasks, tmp_path, "sums", dataset_kwargs=missing)
    with pytest.raises(UsageError) as error:
        load(folder, "changed")
    assert str(error.value).startswith("lm-eval cannot load changed: ")
    assert "\n" not in str(error.value)


def test_an_unknown_name_has_a_hint(own_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # lm-eval reads its own thousands of files, because the name could be in one of them; here it has one folder.
    shutil.copytree(Path(manager.__file__).parent / "hellaswag", tmp_path / "hellaswag")
    monkeypatch.setattr(manager, "__file__", str(tmp_path / "manager.py"))
    with pytest.raises(UsageError, match=r"^lm-eval has no task 'hellaswga'; did you mean 'hellaswag'\?$"):
        load(own_tasks, "hellaswga")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ()}, "no task is named"),
        ({"tasks": ("a",), "shots": -1}, "-1 shots: from 0 to 1,000"),
        ({"tasks": ("a",), "samples": 0}, "0 samples: at least 1 is needed"),
        ({"tasks": ("a",), "include_path": Path("nowhere")}, "--include-path nowhere: no such folder"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LmEvalSettings.of(**settings)
