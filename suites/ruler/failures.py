"""Failure kinds: one for every sample below full score."""

import re
from collections.abc import Sequence

from evalkit.records import Completion, FailureKind, Sample
from suites.ruler import metrics
from suites.ruler.tasks import Metric

# Forms of values in the needle and variable tasks: a prediction without one has not reached its answer.
_SHAPES = (
    re.compile(r"\b\d{7}\b"),
    re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE),
    re.compile(r"\b[A-Z]{5}\b"),
)
_SEPARATOR_IN_DIGITS = re.compile(r"(?<=\d)[,._'’\- \u00a0\u2009\u202f](?=\d)")
_UUID = _SHAPES[1]
_CUT_CHARACTERS = 3
_ECHO_CHARACTERS = 40


def failure_kind(sample: Sample, completion: Completion, metric: Metric) -> FailureKind:
    """The kind of a failure, the first of this list that applies:

    1. `empty`: nothing is left after post-processing;
    2. `wrong_format`: a missing target is present once separators between digits are removed (`5,449,368`);
    3. `budget_cut`: generation ended at its budget inside a missing target;
    4. `partial`: some targets are present and others missing;
    5. `wrong_needle`: it has the answer to a question that was not asked;
    6. `prompt_echo`: it begins with 40 characters of the prompt, or is a shorter piece of it with several words;
    7. `budget_cut`: it ended at its budget before anything in the form of an answer;
    8. `other`.
    """
    prediction = metrics.postprocess(completion.text)
    if not prediction:
        return "empty"
    hits = metrics.found(prediction, sample.targets, metric)
    missing = [target for target, hit in zip(sample.targets, hits, strict=True) if not hit]
    if any(_is_there_with_separators(target, prediction) for target in missing):
        return "wrong_format"
    cut = completion.finish_reason == "length"
    if cut and any(_ends_inside(target, prediction) for target in missing):
        return "budget_cut"
    if any(hits):
        return "partial"
    if _names_any(prediction, sample.distractors):
        return "wrong_needle"
    if _is_echo(prediction, sample.prompt):
        return "prompt_echo"
    if cut and not _has_shape_of(sample.targets, prediction):
        return "budget_cut"
    return "other"


def _is_there_with_separators(target: str, prediction: str) -> bool:
    if _UUID.fullmatch(target):
        return target.replace("-", "").lower() in re.sub(r"[\s\-‐‑–—]", "", prediction).lower()
    digits = _SEPARATOR_IN_DIGITS.sub("", target)
    return digits.isdecimal() and len(digits) > 3 and digits in _SEPARATOR_IN_DIGITS.sub("", prediction)


def _ends_inside(target: str, prediction: str) -> bool:
    lower, whole = prediction.lower(), target.lower()
    return any(lower.endswith(whole[:length]) for length in range(_CUT_CHARACTERS, len(whole)))


def _names_any(prediction: str, distractors: Sequence[str]) -> bool:
    """Whether a distractor is in the prediction as a separate word."""
    lower = prediction.lower()
    for distractor in distractors:
        name = distractor.lower()
        if name in lower and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", lower):
            return True
    return False


def _is_echo(prediction: str, prompt: str) -> bool:
    start = prediction[:_ECHO_CHARACTERS]
    whole = len(prediction) >= _ECHO_CHARACTERS
    return (whole or len(prediction.split()) > 3) and start in prompt


def _has_shape_of(targets: Sequence[str], prediction: str) -> bool:
    """Whether the prediction has a value in the form of the targets; True if they have no such form."""
    shapes = [shape for shape in _SHAPES if all(shape.fullmatch(target) for target in targets)]
    return not shapes or any(shape.search(prediction) for shape in shapes)
