"""What identifies the code of an installed package."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, distribution


def installed_code(package: str) -> str | None:
    """`none`, or the version, with a digest of the files if they came from elsewhere than an index of packages.

    Two builds of a clone have the same version. Returns None if the files can change without an installer, as those of
    an editable installation do.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return "none"
    record, origin = found.read_text("RECORD"), json.loads(found.read_text("direct_url.json") or "{}")
    if record is None or origin.get("dir_info", {}).get("editable"):
        return None
    return f"{found.version} {_digest(record)}" if origin else found.version


def _digest(record: str) -> str:
    """Of the files that are the same wherever they are installed: no scripts, and nothing that the installer adds."""
    lines = [
        line
        for line in record.splitlines()
        if not line.startswith("..") and ".dist-info/" not in line and "__pycache__" not in line
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
