"""Reads a prompt as a person would and works the answer out with its own machinery, sharing no code with the suite."""

import re
from collections import deque

import numpy as np

INSTRUCTION = re.compile(
    r"Add (?P<add>\d) to (?P<to>\w)\.|Swap (?P<a>\w) and (?P<b>\w)\.|"
    r"Copy (?P<src>\w) to (?P<dst>\w)\.|Set (?P<set>\w) to (?P<val>\d)\."
)


def solve(task: str, text: str) -> str:
    """The answer to the last question in `text`."""
    body = text.rsplit("\n\n", 1)[-1]
    return _SOLVERS[task](body)


def _parity(body: str) -> str:
    bits = re.findall(r"^Bit: ([01])$", body, re.MULTILINE)
    if not bits:
        bits = body.split("\n")[0].split()
        assert set(bits) <= {"0", "1"}
    state = np.array([1, 0])
    for bit in bits:
        state = np.array([[0, 1], [1, 0]]) @ state if bit == "1" else state
    return "even" if state[0] else "odd"


def _counter(body: str) -> str:
    ring = deque("01234")
    ring.rotate(-int(_one(r"The counter stands at (\d)\.", body)))
    for verb, step in re.findall(r"(Add|Subtract) (\d)\.", body):
        ring.rotate(-int(step) if verb == "Add" else int(step))
    return ring[0]


def _shell(body: str) -> str:
    start = dict(re.findall(r"Position (\d) hides the (\w+)\.", body))
    swaps = re.findall(r"The cups in (\d) and (\d) are swapped\.", body)
    circles = re.findall(r"The cup in (\d) goes to (\d), that in (\d) to (\d), that in (\d) to (\d)\.", body)
    for circle in circles:
        assert circle[1] == circle[2]
        assert circle[3] == circle[4]
        assert circle[5] == circle[0]
    assert not (swaps and circles)
    cycles = swaps or [circle[::2] for circle in circles]
    return start[_origin(_one(r"In the end position (\d) hides the$", body), cycles)]


def _symbols(body: str) -> str:
    symbols = _one(r"\[([a-z ]+)\]", body).split()
    cycles = [cycle.split() for cycle in re.findall(r"\((\d \d(?: \d)?)\)", body)]
    return symbols[int(_origin(_one(r"Place (\d):$", body), cycles)) - 1]


def _registers(body: str) -> str:
    names = "ABCD"
    # A row vector [A B C D 1] times one matrix per instruction; the last column is the constant.
    state = np.array([*(int(_one(rf"{name} holds (\d)\.", body)) for name in names), 1])
    for match in INSTRUCTION.finditer(body):
        matrix = np.eye(5, dtype=np.int64)
        if match["add"]:
            matrix[4, names.index(match["to"])] = int(match["add"])
        elif match["a"]:
            pair = [names.index(match["a"]), names.index(match["b"])]
            matrix[:, pair] = matrix[:, pair[::-1]]
        elif match["src"]:
            matrix[:, names.index(match["dst"])] = np.eye(5, dtype=np.int64)[names.index(match["src"])]
        else:
            column = np.zeros(5, dtype=np.int64)
            column[4] = int(match["val"])
            matrix[:, names.index(match["set"])] = column
        state = (state @ matrix) % 10
    return str(state[names.index(_one(r"In the end (\w) holds$", body))])


def _entities(body: str) -> str:
    where: dict[str, str] = dict(re.findall(r"The (\w+) is in box (\d)\.", body))
    for source, target in re.findall(r"What is in box (\d) goes into box (\d)\.", body):
        assert target not in where.values(), "a move into a full box"
        (moved,) = [thing for thing, box in where.items() if box == source]
        where[moved] = target
    asked = _one(r"In the end box (\d) holds the$", body)
    (answer,) = [thing for thing, box in where.items() if box == asked]
    return answer


def _recall(body: str) -> str:
    stored = dict(re.findall(r"Slot (\w) stores the number (\d{5})\.", body))
    assert len(stored) == 5
    pointer = np.zeros(5, dtype=np.int64)
    pointer["ABCDE".index(_one(r"The pointer is at slot (\w)\.", body))] = 1
    for first, second in re.findall(r"Slots (\w) and (\w) trade the pointer\.", body):
        pointer = _cycle_matrix(["ABCDE".index(first), "ABCDE".index(second)]) @ pointer
    return stored["ABCDE"[int(np.argmax(pointer))]]


def _origin(place: str, cycles: list[tuple[str, ...]] | list[list[str]]) -> str:
    """Original place (1 … 5) of the thing that ends at `place`: columns of the product of permutation matrices."""
    product = np.eye(5, dtype=np.int64)
    for cycle in cycles:
        product = _cycle_matrix([int(digit) - 1 for digit in cycle]) @ product
    return str(int(np.argmax(product[int(place) - 1])) + 1)


def _cycle_matrix(cycle: list[int]) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """M[new, old] = 1."""
    matrix = np.eye(5, dtype=np.int64)
    for old, new in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        matrix[old, old] = 0
        matrix[new, old] = 1
    return matrix


def _one(pattern: str, text: str) -> str:
    (found,) = re.findall(pattern, text)
    return str(found)


_SOLVERS = {
    "parity": _parity,
    "counter": _counter,
    "s5_shell": _shell,
    "a5_shell": _shell,
    "s5_symbols": _symbols,
    "a5_symbols": _symbols,
    "registers": _registers,
    "entities": _entities,
    "state_recall": _recall,
}
