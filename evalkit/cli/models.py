"""`evalkit models`: models that need no download."""

import typer

app = typer.Typer(no_args_is_help=True, help="The models that come with evalkit.")


@app.command("list", epilog="Example: evalkit models list")
def list_command() -> None:
    """List the embedded models; any checkpoint directory or hub id works with --model as well."""
    from model_adapters.catalog import list_models
    from reports.terminal import print_rows

    rows = [
        (row.name, row.architecture, f"{row.parameters / 1e6:.1f} M", "yes" if row.trained else "no", row.note)
        for row in list_models()
    ]
    print_rows(("name", "architecture", "parameters", "trained", "note"), rows)
