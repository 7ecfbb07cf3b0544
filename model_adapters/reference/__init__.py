"""The two small checkpoints that come with evalkit, and the recipe that made them.

`reference:hybrid` alternates Gated DeltaNet and attention as OLMo Hybrid does; `reference:transformer` is its baseline
in the shape of Olmo 3. Both are plain transformers checkpoints, which the evaluation treats like any other.
"""

from pathlib import Path

from evalkit.did_you_mean import check_known

NAMES = ("hybrid", "transformer")


def folder(name: str) -> Path:
    """The checkpoint folder of one reference model; UsageError for an unknown name."""
    check_known("reference model", [name], NAMES)
    return Path(__file__).parent / name
