"""Messages of transformers, which are kept off the terminal or cut to one line."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Context in which transformers logs errors only and shows no progress bar; its settings are restored."""
    from transformers.utils import logging

    verbosity, progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if progress:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def first_line(error: BaseException) -> str:
    """The message of an error, cut to its first line, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else type(error).__name__


def reason(error: BaseException) -> str:
    """The first line of an error and of its cause, which some errors only wrap."""
    # A KeyError's text is the bare key.
    line = f"{type(error).__name__}: {first_line(error)}" if isinstance(error, KeyError) else first_line(error)
    return line if error.__cause__ is None else f"{line}: {first_line(error.__cause__)}"
