"""A register machine: four registers of one digit, with assignment, addition, copy and swap."""

from dataclasses import dataclass

from suites.draws import Draws
from suites.state_tracking.episode import Episode, Task

REGISTERS = ("A", "B", "C", "D")
BASE = 10
_KINDS = ("add",) * 8 + ("swap",) * 6 + ("copy",) * 3 + ("assign",) * 3
"""Kinds of instructions, repeated by their frequency."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction; `source` is a register (copy, swap) or an amount (add, assign)."""

    kind: str
    target: str
    source: str | int

    def tell(self) -> str:
        """The instruction as a sentence."""
        match self.kind:
            case "add":
                return f"Add {self.source} to {self.target}."
            case "swap":
                return f"Swap {self.target} and {self.source}."
            case "copy":
                return f"Copy {self.source} to {self.target}."
            case _:
                return f"Set {self.target} to {self.source}."


def draw_registers(draws: Draws, updates: int) -> Episode:
    """The value of one register at the end.

    The instructions are drawn from the last to the first, tracing the register that the answer comes from:
    an assignment never hits it, because the updates before it would no longer count. One addition to it, before the
    last update, has an amount from 0 to 9, so that the answer is uniform even if everything else is known.
    """
    asked = ancestor = draws.pick(REGISTERS)
    decisive = draws.below(updates - 1)
    operations: list[Operation] = []
    for position in reversed(range(updates)):
        operation = (
            Operation("add", ancestor, draws.below(BASE)) if position == decisive else _operation(draws, ancestor)
        )
        ancestor = _ancestor(operation, ancestor)
        operations.append(operation)
    operations.reverse()
    start = {register: draws.below(BASE) for register in REGISTERS}
    answer = run(start, operations)[asked]
    return Episode(
        opening=tuple(f"{register} holds {digit}." for register, digit in start.items()),
        updates=tuple(operation.tell() for operation in operations),
        question=f"In the end {asked} holds",
        answer=str(answer),
        alternatives=tuple(str(digit) for digit in range(BASE) if digit != answer),
    )


def run(start: dict[str, int], operations: list[Operation]) -> dict[str, int]:
    """Values of the registers after all operations."""
    state: dict[str, int] = dict(start)
    for operation in operations:
        target, source = operation.target, operation.source
        if operation.kind == "swap":
            state[target], state[str(source)] = state[str(source)], state[target]
        elif operation.kind == "copy":
            state[target] = state[str(source)]
        else:
            before = state[target] if operation.kind == "add" else 0
            state[target] = (before + int(source)) % BASE
    return state


def _operation(draws: Draws, ancestor: str) -> Operation:
    kind = draws.pick(_KINDS)
    if kind in ("swap", "copy"):
        target, other = draws.sample(REGISTERS, 2)
        return Operation(kind, target, other)
    others = REGISTERS if kind == "add" else tuple(register for register in REGISTERS if register != ancestor)
    return Operation(kind, draws.pick(others), draws.below(BASE))


def _ancestor(operation: Operation, register: str) -> str:
    """The register whose value before `operation` decides that of `register` after it."""
    if operation.kind in ("copy", "swap") and operation.target == register:
        return str(operation.source)
    if operation.kind == "swap" and operation.source == register:
        return operation.target
    return register


REGISTER_MACHINE = Task(
    name="registers",
    instruction=(
        "Four registers A, B, C and D hold one digit each; of a sum only the last digit is kept. "
        "Follow the instructions and say what a register holds in the end."
    ),
    answers=BASE,
    draw=draw_registers,
)
