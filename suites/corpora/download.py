"""Complete or failed downloads by pooch, which is imported only when something is downloaded."""

import contextlib
import hashlib
import io
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit import __version__

TIMEOUT_SECONDS = 30
RETRIES = 2
LEFTOVERS = "tmp*"
"""Glob of the temporary files that killed downloads leave."""


class DownloadError(Exception):
    """A file could not be downloaded; the message names its source and the reason."""


def download(url: str, path: Path, sha256: str, *, progress: bool = False) -> None:
    """Download `url` to `path`, with a progress bar on stderr if requested.

    Raises DownloadError if there is no answer, the body is cut short or the sha256 is another, each after RETRIES
    retries, and OSError if the file cannot be written; `path` is then as it was.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        path.parent,
        base_url="",
        registry={path.name: f"sha256:{sha256}"},
        urls={path.name: url},
        retry_if_failed=RETRIES,
    )
    with _one_line(url, sha256):
        store.fetch(path.name, downloader=_downloader(progress))
    path.chmod(0o644)  # pooch leaves it readable by its owner alone


def download_bytes(url: str, *, sha256: str | None = None) -> bytes:
    """A small file as a whole, without retries; DownloadError as in `download`."""
    content = io.BytesIO()
    with _one_line(url, sha256 or ""):
        _downloader()(url, content, None)
        if sha256 is not None and hashlib.sha256(content.getvalue()).hexdigest() != sha256:
            raise ValueError("another sha256")
    return content.getvalue()


def _downloader(progress: bool = False) -> Any:
    import pooch

    headers = {"User-Agent": f"evalkit/{__version__}"}
    return pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 18, timeout=TIMEOUT_SECONDS, headers=headers)


@contextlib.contextmanager
def _one_line(url: str, sha256: str) -> Iterator[None]:
    """Errors of requests, whose messages are long, and of pooch, which raises ValueError for another sha256."""
    import requests

    try:
        yield
    except requests.RequestException as error:
        answer = None if error.response is None else f"answered {error.response.status_code} {error.response.reason}"
        raise DownloadError(f"{_shown(url)} {answer or f'cannot be downloaded ({_root(error)})'}") from None
    except ValueError:
        raise DownloadError(f"{_shown(url)} is not what was published: its sha256 is not {sha256[:16]}…") from None


def _root(error: BaseException) -> str:
    """The message of the innermost of chained exceptions."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _shown(url: str) -> str:
    """Host and file, for error messages."""
    parts = urllib.parse.urlsplit(url)
    folder, _, file = parts.path.rpartition("/")
    return f"{parts.netloc}/{'…/' if folder.strip('/') else ''}{file}"
