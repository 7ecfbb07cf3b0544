"""Samples are prepared in order, a bounded number ahead, by a thread that ends with the stream."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.running.prefetch import prefetch


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prepare-samples")]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60  # far above what a busy machine needs
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@given(st.lists(st.integers()), st.integers(min_value=1, max_value=4))
def test_results_come_in_order(items: list[int], depth: int) -> None:
    assert list(prefetch(lambda item: item * 2, items, depth=depth)) == [item * 2 for item in items]
    assert not threads()


def test_at_most_depth_are_prepared_ahead() -> None:
    prepared: list[int] = []

    def prepare(item: int) -> int:
        prepared.append(item)
        return item

    with closing(prefetch(prepare, range(100), depth=2)) as results:
        assert next(results) == 0
        wait_until(lambda: len(prepared) == 3)
        time.sleep(0.15)
        assert prepared == [0, 1, 2]


def test_an_exception_is_raised_after_the_results_before_it() -> None:
    def prepare(item: int) -> int:
        if item == 2:
            raise ZeroDivisionError("of item 2")
        return item

    results = prefetch(prepare, range(5), depth=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="of item 2"):
        next(results)
    assert not threads()


def test_an_exception_of_the_items_is_raised_too() -> None:
    with pytest.raises(ZeroDivisionError):
        list(prefetch(str, (1 // item for item in (1, 0)), depth=1))


@pytest.mark.parametrize("depth", [1, 3])
def test_closing_stops_the_thread_though_the_queue_is_full(depth: int) -> None:
    results = prefetch(str, range(1_000_000), depth=depth)
    next(results)
    assert threads()
    results.close()
    assert not threads()


def test_an_interrupt_while_waiting_stops_the_thread() -> None:
    asked, release = threading.Event(), threading.Event()

    def prepare(item: int) -> int:
        if item == 1:
            release.wait(60)
        return item

    def ask() -> None:
        asked.set()
        next(results)

    def interrupt() -> None:
        asked.wait(60)
        wait_until(lambda: sys._current_frames()[main].f_code.co_name == "wait")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # the current item ends after the interrupt has arrived
        release.set()

    main = threading.get_ident()
    results = prefetch(prepare, range(3), depth=1)
    assert next(results) == 0
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        ask()
    interrupter.join()
    assert not threads()
