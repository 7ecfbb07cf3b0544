"""The cache: corpora and checksums that can be downloaded or computed again."""

import os
from pathlib import Path

CACHE_VARIABLE = "EVALKIT_CACHE"


def cache_folder() -> Path:
    """The cache folder: EVALKIT_CACHE if it is set and not empty, else ~/.cache/evalkit.

    The folder may not exist yet; whoever writes to it creates it.
    """
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "evalkit"
