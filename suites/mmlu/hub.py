"""MMLU from the Hugging Face hub, the source that lm-eval uses too."""

from typing import Any

from evalkit.errors import UsageError
from suites.mmlu.questions import Question, SubjectQuestions

DATASET = "cais/mmlu"


class HubQuestions:
    """The hub's data set, downloaded subject by subject and kept in the cache of `datasets`."""

    def load(self, subject: str) -> SubjectQuestions:
        """Raises UsageError if it cannot be downloaded and is not in the cache."""
        import datasets

        datasets.disable_progress_bars()
        try:
            loaded = datasets.load_dataset(DATASET, subject)
        except Exception as error:  # the hub, the network and the cache fail in many ways
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UsageError(
                f"{DATASET} ({subject}) cannot be loaded: {reason}; for work offline name a folder of CSV files with "
                "--data"
            ) from error
        return SubjectQuestions(_split(loaded["test"]), _split(loaded["dev"]), DATASET)


def _split(rows: Any) -> tuple[Question, ...]:
    return tuple(Question(row["question"], tuple(row["choices"]), int(row["answer"])) for row in rows)
