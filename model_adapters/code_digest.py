"""A digest of this package's source code, for what is kept only as long as the code is the same."""

import hashlib
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=4)
def code_digest(*folders: str) -> str:
    """The sha256 in hex of the Python files in these folders of the package, or in all of it."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for folder in folders or (".",):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
