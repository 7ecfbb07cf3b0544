"""What a run does at the moment: whoever works on it reports, and whoever shows progress listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Activity:
    """A phase of a run, with its progress if that is known."""

    phase: str
    """Such as `prefill` or `loading the weights`."""
    done: int = 0
    total: int = 0
    """Tokens; 0 if no progress is known."""


Listener = Callable[[Activity], None]
_listeners: list[Listener] = []


def report(activity: Activity) -> None:
    """Tell whoever listens in this process; with nobody listening nothing happens."""
    for listener in _listeners:
        listener(activity)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` with every activity that is reported within."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
