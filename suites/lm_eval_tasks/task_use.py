"""A task as a corpus of the record: its data, and a digest of data and definition."""

import hashlib
import json
from typing import Any

from evalkit.records import CorpusUse

_WHERE = ("dataset_path", "dataset_name", "dataset_kwargs", "metadata", "task_alias", "tag")
"""Parts of a definition with paths and names of data, which are left out because documents are digested themselves."""


def task_use(task: Any) -> CorpusUse:
    """The sha256 covers the task's definition and all its documents, even if fewer are run."""
    definition = {name: value for name, value in task.dump_config().items() if name not in _WHERE}
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True, default=str).encode())
    for doc in task.eval_docs:
        digest.update(json.dumps(doc, sort_keys=True, default=str).encode())
    path, name = task.get_config("dataset_path"), task.get_config("dataset_name")
    source = "/".join(str(part) for part in (path, name) if part) or "its own code"
    return CorpusUse(f"lm-eval/{task.task_name}", task.task_name, digest.hexdigest(), source)
