"""Runs that a command reads from the hub instead of a folder."""

from pathlib import Path

from evalkit.installation import library

HUB = "hub:"
HELP = "hub:ORG/NAME@REVISION/FOLDER downloads it."


def run_path(text: str) -> Path:
    """The path as it was typed, or the local copy of `hub:[datasets/]ORG/NAME[@REVISION][/FOLDER]`.

    Raises UsageError if it cannot be downloaded.
    """
    if not text.startswith(HUB):
        return Path(text)
    from evalkit.running.run_files import MANIFEST, RUN, SAMPLES, SESSIONS, STARTED

    library("huggingface_hub")
    from model_adapters.hub import run_folder

    return run_folder(text, (RUN, SAMPLES, MANIFEST, SESSIONS, STARTED))
