"""Pictures of a context extension, as PNG and SVG: the grid of depth and length, and the loss by position."""

from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.records import RunRecord
from reports.context_extension import grid_cells, position_series
from reports.plain_text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

FORMATS = ("png", "svg")


def write_pictures(record: RunRecord, folder: Path) -> list[Path]:
    """Write what the run has figures for into `folder`, and return the files."""
    import matplotlib

    # Text in an SVG stays text, and neither format holds a date: equal runs give equal bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "evalkit", "text.parse_math": False}):
        written = []
        for name, picture in (("depth_grid", _grid(record)), ("position_loss", _positions(record))):
            if picture is not None:
                written += _save(picture, folder, name)
    return written


def _save(picture: "Picture", folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    for file in files:
        picture.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else {"Software": None})
    return files


def _grid(record: RunRecord) -> "Picture | None":
    cells = grid_cells(record.figures)
    if not cells:
        return None
    from matplotlib.figure import Figure as Picture

    ctxs = sorted({ctx for _, ctx in cells})
    depths = sorted({depth for depth, _ in cells}, key=lambda depth: float(depth.split("-")[0]))
    values = [[_or_nan(cells[depth, ctx].value if (depth, ctx) in cells else None) for ctx in ctxs] for depth in depths]
    picture = Picture(figsize=(max(5.0, 1.8 + 0.9 * len(ctxs)), 1.9 + 0.35 * len(depths)), layout="constrained")
    axes = picture.subplots()
    image = axes.imshow(values, cmap="RdYlGn", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(ctxs)), [f"{ctx:,}" for ctx in ctxs], rotation=45, ha="right")
    axes.set_yticks(range(len(depths)), depths)
    axes.set(xlabel="context length (tokens)", ylabel="needle depth")
    axes.set_title(_title(record, "needles found (0-100)"), fontsize=9)
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if value == value:
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8)
    picture.colorbar(image, ax=axes)
    return picture


def _positions(record: RunRecord) -> "Picture | None":
    series = position_series(record.figures, "nats")
    if not series:
        return None
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(7, 4), layout="constrained")
    axes = picture.subplots()
    middles = [(first + end) / 2 for first, end, _ in series]
    axes.plot(middles, [_or_nan(figure.value) for _, _, figure in series], marker="o", markersize=3)
    bounds = [figure.ci95 or (float("nan"), float("nan")) for _, _, figure in series]
    axes.fill_between(middles, [low for low, _ in bounds], [high for _, high in bounds], alpha=0.25)
    axes.set(xlabel="position (tokens)", ylabel="nats per token")
    axes.set_title(_title(record, "loss by position"), fontsize=9)
    axes.grid(alpha=0.3)
    return picture


def _title(record: RunRecord, what: str) -> str:
    override = record.model.positions.override
    control = "" if override is None else f"\ncontrol experiment: positions forced to {one_line(override)}"
    return f"{one_line(record.model.path)[-60:]}\n{what}{control}"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
