"""RULER's metrics: which references a prediction holds, and the score of that."""

import re
import string
from collections.abc import Sequence

from suites.ruler.tasks import Metric

_CONTROL = re.compile(r"[\x00-\x1f]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def postprocess(prediction: str) -> str:
    """The prediction as it is judged: outer white space gone, control characters made line ends."""
    return _CONTROL.sub("\n", prediction.strip()).strip()


def normalize(text: str) -> str:
    """Lower case without ASCII punctuation, articles and repeated spaces (SQuAD's normalization)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def found(prediction: str, targets: Sequence[str], metric: Metric) -> tuple[bool, ...]:
    """Which of `targets` the post-processed `prediction` holds, in their order."""
    if metric == "part_normalized":
        normal = normalize(prediction)
        # An alias such as "The" has nothing left to look for: every text would hold it.
        return tuple(bool(alias := normalize(target)) and alias in normal for target in targets)
    lower = prediction.lower()
    return tuple(target.lower() in lower for target in targets)


def value_of(hits: Sequence[bool], metric: Metric) -> float:
    """The score in [0, 1] of one sample: the fraction found (`all`), or whether any was (`part`)."""
    if metric == "all":
        return sum(hits) / len(hits)
    return float(any(hits))
