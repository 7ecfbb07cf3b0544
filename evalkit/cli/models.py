"""`evalkit models`: what --model can name without a download."""

import typer

app = typer.Typer(no_args_is_help=True, help="The models that come with evalkit.")


@app.command("list", epilog="Example: evalkit models list")
def list_command() -> None:
    """List the embedded models; any checkpoint directory or hub id works with --model as well."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from model_adapters.catalog import list_models

    table = Table("name", "architecture", "parameters", "trained", "note")
    for row in list_models():
        parameters = f"{row.parameters / 1e6:.1f} M"
        cells = (row.name, row.architecture, parameters, "yes" if row.trained else "no", row.note)
        table.add_row(*(Text(cell) for cell in cells))
    Console(highlight=False).print(table)
