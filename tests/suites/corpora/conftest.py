"""A web site on loopback with all corpora."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from suites.corpora import download, fetching
from suites.corpora.sources import Download, Source
from tests.suites.corpora.published import PROSE, encoded, hotpot, squad
from tests.support import serving

SQUAD, HOTPOT = encoded(squad()), encoded(hotpot())
PAGE = (
    "<html><head><title>Taste</title><script>var x = 'not this';</script></head><body><font size=1>menu</font>"
    "<table><tr><td><font size=2 face=verdana>May 2001<br><br>Good work is <i>simple</i> &amp; true.\nIt lasts.<br><br>"
    f"{PROSE}"
    "<font color=red>It is also rare.</font></font></td></tr></table><p>footer</p></body></html>"
)


class Site:
    """A web site on loopback; its answers can be changed while it runs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: dict[str, bytes | int] = {}
        """Body or status by path."""
        self.missing_bytes = 0
        """Number of bytes by which every body is shorter than announced."""
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"{self.address}{path}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            answer = site.answers.get(self.path, 404)
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - site.missing_bytes])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}")
        yield site


def place(site: Site, path: str, published: bytes) -> Download:
    return Download(site.url(path), hashlib.sha256(published).hexdigest(), len(published))


@pytest.fixture
def sources(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Source]:
    """All three corpora on the site; HotpotQA also has a mirror."""
    urls = [site.url("/taste.html"), site.url("/main/lisp.txt")]
    listing = "\n".join([*urls, ""]).encode()
    site.answers = {
        "/squad": SQUAD,
        "/hotpot": HOTPOT,
        "/mirror": HOTPOT,
        "/list": listing,
        "/taste.html": PAGE.encode(),
        "/main/lisp.txt": f"Lisp is old. {PROSE}".encode(),
    }
    made = {
        "essays": Source("essays", "essays.json", "t", "l", page_list=place(site, "/list", listing)),
        "squad": Source("squad", "dev-v2.0.json", "t", "l", (place(site, "/squad", SQUAD),)),
        "hotpotqa": Source(
            "hotpotqa", "hotpot.json", "t", "l", (place(site, "/hotpot", HOTPOT), place(site, "/mirror", HOTPOT))
        ),
    }
    monkeypatch.setattr(fetching, "SOURCES", made)
    monkeypatch.setattr(download, "RETRIES", 0)
    return made
