"""`evalkit data`: the corpora behind the suites."""

import sys

import typer

from evalkit.errors import UsageError
from evalkit.values import read_value

app = typer.Typer(no_args_is_help=True, help="List, download and verify the corpora behind the suites.")


@app.command("list", epilog="Example: EVALKIT_DATA=./corpora evalkit data list")
def list_command() -> None:
    """Show which corpus is used for each role, and where it comes from."""
    from reports.subject_facts import short_source
    from reports.terminal import print_rows
    from suites.corpora import list_corpora

    rows = [(c.role, c.name, short_source(c.source), c.sha256[:16], c.state) for c in list_corpora()]
    print_rows(("role", "name", "source", "sha256", "sha256 is"), rows)


@app.command("fetch", epilog="Example: evalkit data fetch --roles squad,hotpotqa")
def fetch_command(
    roles: str | None = typer.Option(
        None, "--roles", help="Comma-separated roles: essays, squad, hotpotqa.", show_default="all"
    ),
) -> None:
    """Download the public corpora into the cache and check their sha256."""
    from suites.corpora import fetch

    chosen = read_value(roles, tuple[str, ...] | None, "--roles")
    for row in fetch(chosen, report=lambda line: typer.echo(line, err=True), progress=sys.stderr.isatty()):
        known = "as published" if row.pinned else "recorded now, checked from now on"
        done = "already there" if row.kept else "fetched"
        typer.echo(f"{row.role}: {done}: {row.path} ({row.bytes:,} bytes, sha256 {row.sha256[:16]}: {known})")


@app.command("verify", epilog="Example: evalkit data verify")
def verify_command() -> None:
    """Check the cached corpora against their pinned sha256; exit 2 if one differs."""
    from reports.terminal import print_rows
    from suites.corpora import verify

    rows = verify()
    print_rows(("role", "path", "state"), [(row.role, str(row.path), row.state) for row in rows])
    broken = [row.role for row in rows if row.state == "corrupt"]
    if broken:
        raise UsageError(f"corrupt in the cache: {', '.join(broken)}; download again with `evalkit data fetch`")
