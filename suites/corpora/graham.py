"""The essays as one text, gathered from the web pages on RULER's list."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

from suites.corpora.download import DownloadError, download_bytes
from suites.corpora.sources import Source

# Few enough to be polite to a personal web site.
CONNECTIONS = 4
ATTEMPTS = 3
MIN_ESSAY_CHARACTERS = 200

Report = Callable[[str], None]


def gather_essays(source: Source, report: Report) -> str:
    """All essays of the list as one text, the plain files first, each group in the list's order.

    Raises DownloadError if the list or a page cannot be downloaded or has no essay: a haystack with gaps would be a
    different corpus under the same name.
    """
    assert source.page_list is not None  # sources without downloads have a list
    listing = download_bytes(source.page_list.url, sha256=source.page_list.sha256).decode()
    urls = [line.strip() for line in listing.splitlines() if line.strip()]
    ordered = sorted(urls, key=lambda url: url.endswith(".html"))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        texts = []
        try:
            for done, text in enumerate(pool.map(lambda url: _essay(source, url), ordered), start=1):
                texts.append(text)
                report(f"{source.role}: {done} of {len(ordered)} pages")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return "\n\n".join(texts)


def _essay(source: Source, url: str) -> str:
    content = _first_answer([*_mirrors(source, url), url])
    text = _decoded(content)
    essay = text_of_page(text) if url.endswith(".html") else text
    if len(essay) < MIN_ESSAY_CHARACTERS:
        raise DownloadError(f"{url} holds no essay")
    return essay


def _mirrors(source: Source, url: str) -> list[str]:
    return [there + url.removeprefix(here) for here, there in source.mirrored if url.startswith(here)]


def _first_answer(urls: list[str]) -> bytes:
    for url in urls[:-1] + [urls[-1]] * (ATTEMPTS - 1):
        try:
            return download_bytes(url)
        except DownloadError:
            continue
    return download_bytes(urls[-1])


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        # The older pages are Windows-1252; a few of its codes are undefined.
        return content.decode("cp1252", errors="replace")


def text_of_page(html: str) -> str:
    """The essay on a page: the longest piece of text inside one `font` element, or the whole body without any."""
    reader = _PageReader()
    reader.feed(html)
    reader.close()
    blocks = reader.fonts or reader.body
    longest = max(("".join(block) for block in blocks), key=len, default="")
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]*\n[ \t]*", "\n", longest)).strip()


class _PageReader(HTMLParser):
    """Collects text by outermost `font` element; breaks and paragraphs become newlines."""

    _SKIPPED = frozenset(("script", "style", "title", "head"))
    _BREAKS = frozenset(("br", "p", "div", "tr", "li", "h1", "h2", "h3", "blockquote"))

    def __init__(self) -> None:
        super().__init__()
        self.fonts: list[list[str]] = []
        self.body: list[list[str]] = [[]]
        self._font_depth = 0
        self._skip_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # HTMLParser's signature
        if tag == "font":
            if self._font_depth == 0:
                self.fonts.append([])
            self._font_depth += 1
        elif tag in self._SKIPPED:
            self._skip_depth += 1
        elif tag in self._BREAKS:
            self._add("\n\n" if tag == "p" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "font":
            self._font_depth = max(0, self._font_depth - 1)
        elif tag in self._SKIPPED:
            self._skip_depth = max(0, self._skip_depth - 1)

    def handle_data(self, data: str) -> None:
        if not self._skip_depth:
            # A newline in the source is a space on the page.
            self._add(re.sub(r"\s+", " ", data))

    def _add(self, text: str) -> None:
        self.body[0].append(text)
        if self._font_depth:
            self.fonts[-1].append(text)
