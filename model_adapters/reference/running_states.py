"""The state after every update of a state-tracking prompt, read back from its text, for dense supervision.

An answer says one thing about the last of many states. In training each update is labelled as well, with what now
holds at the place that it names, so that a state is learned where it changes.
"""

import re
from collections.abc import Callable, Iterator

from suites.state_tracking.automata import MODULUS
from suites.state_tracking.registers import BASE

Follow = Callable[[str, list[str]], Iterator[str]]
"""From the opening statements and the updates to the state's name after each update."""

_SENTENCE = re.compile(r"[^.]+\.")
_TUPLE = re.compile(r"\([\d ]+\)")
_BIT = re.compile(r"[01]")


def _parity(_: str, updates: list[str]) -> Iterator[str]:
    ones = 0
    for bit in updates:
        ones += int(bit)
        yield ("even", "odd")[ones % 2]


def _counter(opening: str, updates: list[str]) -> Iterator[str]:
    value = int(re.findall(r"\d", opening)[0])
    for update in updates:
        step = int(re.findall(r"\d", update)[0])
        value = (value + (step if "Add" in update else -step)) % MODULUS
        yield str(value)


def _permuted(contents: list[str], updates: list[str]) -> Iterator[str]:
    for update in updates:
        # A rotation's sentence names its first place again at its end.
        places = list(dict.fromkeys(int(digit) - 1 for digit in re.findall(r"\d", update)))
        held = [contents[place] for place in places]
        for place, thing in zip([*places[1:], places[0]], held, strict=True):
            contents[place] = thing
        yield contents[places[0]]


def _symbols(opening: str, updates: list[str]) -> Iterator[str]:
    yield from _permuted(re.findall(r"\w", opening), updates)


def _shell(opening: str, updates: list[str]) -> Iterator[str]:
    yield from _permuted(re.findall(r"hides the (\w+)\.", opening), updates)


def _registers(opening: str, updates: list[str]) -> Iterator[str]:
    values = {name: int(digit) for name, digit in re.findall(r"(\w) holds (\d)", opening)}
    for update in updates:
        kind, first, second = re.findall(r"(\w+) (\w) \w+ (\w)\.", update)[0]
        if kind == "Swap":
            values[first], values[second] = values[second], values[first]
            changed = first
        elif kind == "Set":
            values[first], changed = int(second), first
        else:
            values[second] = values[first] if kind == "Copy" else (values[second] + int(first)) % BASE
            changed = second
        yield str(values[changed])


def _entities(opening: str, updates: list[str]) -> Iterator[str]:
    holds = {box: thing for thing, box in re.findall(r"The (\w+) is in box (\d)", opening)}
    for update in updates:
        source, target = re.findall(r"\d", update)
        holds[target] = holds.pop(source)
        yield holds[target]


def _recall(opening: str, updates: list[str]) -> Iterator[str]:
    pointer = re.findall(r"pointer is at slot (\w)", opening)[0]
    for update in updates:
        first, second = re.findall(r"Slots (\w) and (\w)", update)[0]
        pointer = {first: second, second: first}.get(pointer, pointer)
        yield pointer


_TASKS: dict[str, tuple[re.Pattern[str], Follow]] = {
    "parity": (_BIT, _parity),
    "counter": (_SENTENCE, _counter),
    "s5_shell": (_SENTENCE, _shell),
    "s5_symbols": (_TUPLE, _symbols),
    "a5_shell": (_SENTENCE, _shell),
    "a5_symbols": (_TUPLE, _symbols),
    "registers": (_SENTENCE, _registers),
    "entities": (_SENTENCE, _entities),
    "state_recall": (_SENTENCE, _recall),
}


def running_states(task: str, text: str) -> Iterator[tuple[int, str]]:
    """(end of an update in characters of `text`, name of the state then) for every episode of a prompt of `task`.

    Each episode has statements of the first state on one line, if any, updates on the next, and the question.
    """
    pattern, follow = _TASKS[task]
    start = 0
    for paragraph in text.split("\n\n"):
        *opening, updates, question = ["", *paragraph.split("\n")]
        if opening:
            updates_start = start + len(paragraph) - len(question) - 1 - len(updates)
            found = list(pattern.finditer(updates))
            states = follow(" ".join(opening), [match.group() for match in found])
            yield from ((updates_start + match.end(), state) for match, state in zip(found, states, strict=True))
        start += len(paragraph) + 2
