"""The small checkpoint that comes with evalkit, and the recipe that made it.

`reference:hybrid` alternates Gated DeltaNet and attention as OLMo Hybrid does. It is a plain transformers
checkpoint: nothing in the evaluation path knows it from any other. The recipe can also train a baseline in the
shape of Olmo 3.
"""

from pathlib import Path

from evalkit.registry import check_known

NAMES = ("hybrid",)


def folder(name: str) -> Path:
    """The checkpoint folder of one reference model; UsageError for an unknown name."""
    check_known("reference model", [name], NAMES)
    return Path(__file__).parent / name
