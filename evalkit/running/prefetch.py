"""Prefetching: prepare the next items in a thread while the current one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(prepare: Callable[[T], R], items: Iterable[T], *, depth: int) -> Generator[R, None, None]:
    """Yield `prepare(item)` in order, at most `depth` prepared ahead, so that memory stays bounded.

    Items are prepared one at a time, in one thread. An exception in `prepare` is raised here, after the results before
    it. Closing the generator, or an exception such as KeyboardInterrupt while it waits, ends the thread after the item
    that it is preparing.
    """
    waiting = iter(items)
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare-samples")
    try:
        ahead = deque(thread.submit(prepare, item) for item in islice(waiting, depth))
        while ahead:
            result = ahead.popleft().result()
            ahead.extend(thread.submit(prepare, item) for item in islice(waiting, 1))
            yield result
    finally:
        thread.shutdown(cancel_futures=True)
