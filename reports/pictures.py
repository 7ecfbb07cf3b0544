"""Pictures as files, PNG and SVG: equal results give equal bytes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import UsageError
from reports.plain_text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
_DPI = 150
_LONGEST_LABEL = 60


@contextmanager
def drawing() -> Iterator[None]:
    """Settings that pictures are drawn and saved under: text stays text, and nothing in it is read as mathematics."""
    import matplotlib

    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "evalkit", "text.parse_math": False}),
        warnings.catch_warnings(),
    ):
        # A name in a script that the font lacks is drawn as boxes; that is no reason to speak up.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save(picture: "Figure", folder: Path, name: str) -> list[Path]:
    """Write `picture` in every format, without a date; UsageError where the folder cannot be written."""
    files = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            picture.savefig(file, dpi=_DPI, metadata={"Date": None} if file.suffix == ".svg" else {"Software": None})
    except OSError as error:
        raise UsageError(f"pictures cannot be written to {folder}: {error.strerror}") from None
    return files


def label(text: str) -> str:
    """Text from outside, short enough for a legend."""
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST_LABEL else f"…{shown[1 - _LONGEST_LABEL :]}"


def new_figure(width: float, height: float) -> "Figure":
    """A figure in inches that no display is needed for."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
