"""Pages that mkdocs makes from elsewhere: the command reference, the changelog, and how to add a suite.

A link to a file outside docs/ has no target on the site; there it becomes the file's name.
"""

import posixpath
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from evalkit.cli import app
from evalkit.cli.shared.option_groups import MODEL, RUN

REPOSITORY = Path(__file__).parent.parent
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
SHARED = {"Model": MODEL, "Run": RUN}
"""Sections of options that most commands share, described once."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    suite = section((REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"), "Adding a suite")
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    pages = {"commands.md": command_reference(), "adding-a-suite.md": suite, "changelog.md": changelog}
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=relocated(text, PurePosixPath(), PurePosixPath())))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace links that leave docs/."""
    if page.file.generated_by is not None:
        return markdown
    folder = PurePosixPath(page.file.src_uri).parent
    return relocated(markdown, "docs" / folder, folder)


def relocated(markdown: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Markdown of folder `source` of the repository as it reads in folder `page` of docs/."""

    def moved(link: re.Match[str]) -> str:
        target = link["target"]
        if target.startswith("#") or ":" in target:
            return link[0]
        place = posixpath.normpath(str(source / target))
        if not place.startswith("docs/"):
            return f"{link['text']} (`{place}`)"
        return f"[{link['text']}]({posixpath.relpath(place.removeprefix('docs/'), str(page))})"

    return LINK.sub(moved, markdown)


def section(markdown: str, title: str) -> str:
    """The section called `title` of a document, as a document of its own."""
    body = markdown.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return f"# {title}\n{body}"


def command_reference() -> str:
    """Every command with its arguments and options, from the commands themselves."""
    lines = ["# Commands", "", "Each command prints the same with `--help`."]
    for path, command in commands():
        lines += ["", f"## evalkit {path}", "", command.help or "", "", *options(command)]
        lines += ["", "```", *(command.epilog or "").partition(": ")[2].split(" · "), "```"]
    for title, bundle in SHARED.items():
        owner = next(command for _, command in commands() if shared(command, title))
        rows = [row(param) for param in owner.params if param.name in bundle.options]
        lines += ["", f"## {title} options", "", *table(rows)]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command, as it is typed after `evalkit`, in the order of the help."""
    waiting = [((), typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop(0)
        if not hasattr(command, "commands"):
            yield " ".join(path), command
        waiting += [((*path, name), inner) for name, inner in getattr(command, "commands", {}).items()]


def shared(command: Any, title: str) -> bool:
    """Whether the command has the options of that section."""
    return set(SHARED[title].options) <= {param.name for param in command.params}


def options(command: Any) -> list[str]:
    """Tables of a command's own options, and links to the sections that it shares."""
    sections = [title for title in SHARED if shared(command, title)]
    hidden = {"help", *(name for title in sections for name in SHARED[title].options)}
    rows = [row(param) for param in command.params if param.name not in hidden]
    links = [f"[{title.lower()} options](#{title.lower()}-options)" for title in sections]
    return [*table(rows), *(["", f"Also the {' and the '.join(links)}."] if links else [])]


def row(param: Any) -> tuple[str, str, str]:
    """How an option is typed, its default, and its help."""
    if param.param_type_name == "argument":
        flags = f"`{param.metavar or param.name.upper()}`"
    else:
        flags = ", ".join(f"`{name}`" for name in param.opts)
    kind = param.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        flags += f" {escaped(' | '.join(choice.value for choice in kind))}"
    default = "required" if param.required else default_of(param)
    return flags, default, escaped(" ".join((param.help or "").split()))


def default_of(param: Any) -> str:
    """The default as the help shows it; empty if there is none to show."""
    if isinstance(param.show_default, str):
        return escaped(param.show_default)
    value = getattr(param.default, "value", param.default)
    return "" if value in (None, False, (), []) or callable(value) else f"`{value}`"


def table(rows: list[tuple[str, str, str]]) -> list[str]:
    """A markdown table of options."""
    if not rows:
        return []
    return ["| option | default | |", "| --- | --- | --- |", *(f"| {' | '.join(cells)} |" for cells in rows)]


def escaped(text: str) -> str:
    """Text for a cell of a table: `|` and `<` would be read as markup."""
    return text.replace("|", "\\|").replace("<", "&lt;")
