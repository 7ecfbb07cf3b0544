"""Samples of the suites with their answers, as training text."""

import random
import re
from collections.abc import Iterator

from evalkit.records import Sample

_NEEDLE = re.compile(r"One of the special magic (\w+) for ([\w-]+) is: ([\w-]+)\.")


def answer_text(sample: Sample) -> str:
    """The full answer, which continues `sample.prompt` directly.

    Several values of one key are in reading order, because the prompt implies no other order.
    """
    targets = sample.targets
    task = sample.key.task
    if task.startswith("niah"):
        if task == "niah_multivalue":
            targets = tuple(sorted(targets, key=sample.prompt.find))
        return f" {_listed(targets)}."
    if task == "cwe":
        return "".join(f" {rank}. {word}" for rank, word in enumerate(targets, start=1))
    if task in ("vt", "fwe"):
        return "".join(f" {word}" for word in targets)
    return f" {targets[0]}"


def follow_ups(sample: Sample, rng: random.Random) -> Iterator[tuple[str, str]]:
    """More questions about the needles of the same haystack, as (opening, answer), in random order.

    The answer of a prompt of thousands of tokens has ten of them; these questions train on the other needles too.
    """
    values: dict[tuple[str, str], list[str]] = {}
    for kind, key, value in _NEEDLE.findall(sample.prompt):
        values.setdefault((kind, key), []).append(value)
    asked = list(values)
    rng.shuffle(asked)
    for kind, key in asked:
        found = values[kind, key]
        if len(found) == 1:
            opening = f" The special magic {kind.removesuffix('s')} for {key} mentioned in the provided text is"
        else:
            opening = f" The special magic {kind} for {key} mentioned in the provided text are"
        yield opening, f" {_listed(tuple(found))}."


def solved_pieces(sample: Sample) -> Iterator[tuple[str, str]]:
    """A state-tracking prompt as (text, answer) pairs: its worked examples, then its question with the answer."""
    *solved, body = sample.prompt.split("\n\n")
    opening = f"{solved.pop(0)}\n\n"
    for example in solved:
        text, _, answer = example.rpartition(" ")
        yield opening + text, f" {answer}"
        opening = "\n\n"
    yield opening + body, f" {sample.targets[0]}"


def _listed(values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return values[0]
    return f"{', '.join(values[:-1])}, and {values[-1]}"
