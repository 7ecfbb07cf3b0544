"""Prepare the next items in a thread while the current one is being worked on."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(prepare: Callable[[T], R], items: Iterable[T], *, depth: int) -> Generator[R, None, None]:
    """Yield `prepare(item)` in order, at most `depth` prepared ahead, so that memory stays bounded.

    An exception in `prepare` is raised here, after the results before it. Closing the generator, or an exception
    such as KeyboardInterrupt while it waits, stops the thread after the item it is at.
    """
    results: queue.Queue[tuple[bool, R | BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(done: bool, value: R | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                results.put((done, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(False, prepare(item)):
                    return
            put(True, None)
        except BaseException as error:  # noqa: BLE001  # raised again in the consumer's thread
            put(True, error)

    thread = threading.Thread(target=work, name="prepare-samples", daemon=True)
    try:
        thread.start()
        while True:
            done, value = results.get()
            if done:
                if isinstance(value, BaseException):
                    raise value
                return
            yield value  # type: ignore[misc]  # not done: the value is a result
    finally:
        stopped.set()
        if thread.is_alive():
            thread.join()
