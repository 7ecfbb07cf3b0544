"""Downloads that end whole or not at all."""

import hashlib
import http.client
import io
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import IO

from evalkit import __version__

TIMEOUT_SECONDS = 30
_BLOCK = 1 << 18


class DownloadError(Exception):
    """A file could not be had; the message says from where and why."""


def download(url: str, into: IO[bytes], *, sha256: str | None = None) -> tuple[int, str]:
    """Write what lies at `url` to `into`; returns its bytes and sha256.

    Raises DownloadError where there is no answer, the body is shorter than announced, or the sha256 is another.
    """
    digest, received = hashlib.sha256(), 0
    for block in _blocks(url):
        digest.update(block)
        received += len(block)
        into.write(block)
    found = digest.hexdigest()
    if sha256 is not None and found != sha256:
        raise DownloadError(f"{_shown(url)} has sha256 {found[:16]}… where {sha256[:16]}… is published")
    return received, found


def download_bytes(url: str, *, sha256: str | None = None) -> bytes:
    """A small file as a whole; raises DownloadError as `download` does."""
    content = io.BytesIO()
    download(url, content, sha256=sha256)
    return content.getvalue()


def _blocks(url: str) -> Iterator[bytes]:
    """The body in blocks; DownloadError for every way in which the network can fail."""
    received = 0
    request = urllib.request.Request(url, headers={"User-Agent": f"evalkit/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            announced = response.headers.get("Content-Length")
            while block := response.read(_BLOCK):
                received += len(block)
                yield block
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{_shown(url)} answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{_shown(url)} cannot be reached ({getattr(error, 'reason', None) or error})") from None
    if announced is not None and received != int(announced):
        raise DownloadError(f"{_shown(url)} broke off after {received:,} of {int(announced):,} bytes")


def _shown(url: str) -> str:
    """Host and file, which is what a reader of an error can act on."""
    parts = urllib.parse.urlsplit(url)
    folder, _, file = parts.path.rpartition("/")
    return f"{parts.netloc}/{'…/' if folder.strip('/') else ''}{file}"
