"""Custom tasks, written once, a small model on disk, and runs of both."""

from pathlib import Path

import pytest

from tests.suites.lm_eval_tasks.own_tasks import write_tasks


@pytest.fixture(scope="session")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of YAML files with all kinds of tasks."""
    return write_tasks(tmp_path_factory.mktemp("tasks"))
