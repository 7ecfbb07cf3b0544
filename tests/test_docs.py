"""The documentation: links lead somewhere, the site builds, and its command reference is that of the commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import COMMANDS, REPOSITORY, run_python

DOCUMENTS = sorted(
    path
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"))
    if path.relative_to(REPOSITORY).parts[0] != "build"
)
GENERATED = {"docs/commands.md", "docs/adding-a-suite.md", "docs/changelog.md"}


def links(text: str) -> Iterator[str]:
    """Targets of links to files or headings, except in code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    yield from (target for target in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in target)


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_or_heading(path: Path) -> None:
    for link in links(path.read_text(encoding="utf-8")):
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists() or str(target.relative_to(REPOSITORY)) in GENERATED, link
        assert not anchor or anchor in anchors(target), link


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    arguments = ["build", "--strict", "--quiet", "--config-file", str(REPOSITORY / "mkdocs.yml"), "--site-dir"]
    done = run_python("-m", "mkdocs", *arguments, folder, NO_MKDOCS_2_WARNING="1")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    return folder


def test_the_reference_has_every_command_and_its_options(site: Path) -> None:
    page = (site / "commands.html").read_text(encoding="utf-8")
    headings = re.findall(r'<h2 id="[^"]*">(evalkit [^<]*)<', page)
    assert sorted(headings) == [f"evalkit {command}" for command in COMMANDS]
    for option in ("--ctx", "--gdn-kernel", "--resume", "--policy", "--rank-by", "--prepare-only"):
        assert f"<code>{option}</code>" in page


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = re.findall(r'<(?:script|link|img)[^>]*\s(?:src|href)="([^"]*)"', page.read_text(encoding="utf-8"))
        assert [source for source in loaded if "//" in source] == []


def test_a_link_out_of_the_documents_becomes_a_name(site: Path) -> None:
    page = (site / "examples/index.html").read_text(encoding="utf-8")
    assert "<code>model_adapters/reference/history/hybrid/extend/report.md</code>" in page
    assert "(docs/" not in (site / "changelog.html").read_text(encoding="utf-8")
