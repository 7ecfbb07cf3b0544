"""A local stand-in for the model hub: the HTTP interface used by huggingface_hub, over folders on disk."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support import serving


@dataclass
class HubServer:
    """Repositories with their commits, and the paths that were requested; those of datasets begin with `datasets/`."""

    url: str
    commits: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Repository -> commit -> the folder with its files."""
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def push(self, repository: str, folder: Path, *, branch: str = "main", tag: str | None = None) -> str:
        """Commit the files of a folder as the head of a branch; returns the commit."""
        listed = [f"{name} {hashlib.sha1((folder / name).read_bytes()).hexdigest()}" for name in _files(folder)]
        commit = hashlib.sha1("\n".join(listed).encode()).hexdigest()
        self.commits.setdefault(repository, {})[commit] = folder
        self.branches.setdefault(repository, {})[branch] = commit
        if tag is not None:
            self.tags.setdefault(repository, {})[tag] = commit
        return commit

    def downloaded(self) -> list[str]:
        """Names of the files whose content was requested, in order."""
        return [path.rpartition("/")[2] for path in self.requests if path.startswith("GET ") and "/resolve/" in path]


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    """A hub on a free local port."""
    with serving(_Handler) as server:
        hub = HubServer(f"http://127.0.0.1:{server.server_port}")
        server.hub = hub  # type: ignore[attr-defined]
        yield hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    @property
    def _hub(self) -> HubServer:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self._hub.requests.append(f"{self.command} {path}")
        found = re.fullmatch(
            r"(?:/api/(?:models/)?(?P<model>.+?)/(?P<what>revision|tree|refs)(?:/(?P<rev>.+))?"
            r"|/(?P<repo>.+?)/resolve/(?P<at>[0-9a-f]{40})/(?P<file>.+))",
            path,
        )
        repository = found and (found["model"] or found["repo"])
        if found is None or repository not in self._hub.commits:
            self._error(401, "RepoNotFound")
        elif repository in self._hub.gated:
            self._error(403, "GatedRepo")
        elif found["what"] == "refs":
            self._refs(repository)
        elif (commit := self._commit(repository, found["rev"] or found["at"])) is None:
            self._error(404, "RevisionNotFound")
        elif found["what"] == "revision":
            siblings = [{"rfilename": name} for name in _files(self._hub.commits[repository][commit])]
            self._json({"id": repository, "modelId": repository, "sha": commit, "siblings": siblings})
        elif found["what"] == "tree":
            folder = self._hub.commits[repository][commit]
            self._json([_entry(folder, name) for name in _files(folder)])
        else:
            self._file(self._hub.commits[repository][commit] / found["file"], commit)

    def _commit(self, repository: str, revision: str) -> str | None:
        named = {**self._hub.branches[repository], **self._hub.tags.get(repository, {})}
        commit = named.get(revision, revision)
        return commit if commit in self._hub.commits[repository] else None

    def _refs(self, repository: str) -> None:
        kinds = {"branches": ("heads", self._hub.branches), "tags": ("tags", self._hub.tags)}
        refs = {
            kind: [
                {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit}
                for name, commit in named.get(repository, {}).items()
            ]
            for kind, (folder, named) in kinds.items()
        }
        self._json({**refs, "converts": []})

    def _file(self, file: Path, commit: str) -> None:
        if not file.is_file():
            self._error(404, "EntryNotFound")
            return
        content = file.read_bytes()
        self._send(200, content, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _files(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _entry(folder: Path, name: str) -> dict[str, object]:
    content = (folder / name).read_bytes()
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
