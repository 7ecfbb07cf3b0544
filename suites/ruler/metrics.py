"""RULER's metrics: the references found in a prediction, and the score."""

import re
import string
from collections.abc import Sequence

from suites.ruler.tasks import Metric

_CONTROL = re.compile(r"[\x00-\x1f]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def postprocess(prediction: str) -> str:
    """The prediction in the form that is judged: stripped, with control characters replaced by line ends."""
    return _CONTROL.sub("\n", prediction.strip()).strip()


def normalize(text: str) -> str:
    """Lower case without ASCII punctuation, articles and repeated spaces (SQuAD's normalization)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def found(prediction: str, targets: Sequence[str], metric: Metric) -> tuple[bool, ...]:
    """For each of `targets`, whether the post-processed `prediction` has it."""
    if metric == "part_normalized":
        normal = normalize(prediction)
        # An alias such as "The" is empty after normalization, and would be found in every text.
        return tuple(bool(alias := normalize(target)) and alias in normal for target in targets)
    lower = prediction.lower()
    return tuple(target.lower() in lower for target in targets)


def value_of(hits: Sequence[bool], metric: Metric) -> float:
    """The score in [0, 1] of one sample: the fraction found (`all`), or whether any was (`part`)."""
    if metric == "all":
        return sum(hits) / len(hits)
    return float(any(hits))
