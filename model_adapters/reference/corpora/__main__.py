"""Regenerate the embedded corpora: `python -m model_adapters.reference.corpora`."""

import lzma

import typer

from model_adapters.reference.corpora.texts import generated_corpora, text_of
from suites.corpora.embedded import DATA, FILES, SEED


def main() -> None:
    """Write the compressed files, and print the sha256 of their texts for suites/corpora/embedded.py."""
    corpora = generated_corpora(SEED)
    for corpus in (corpora.essays(), corpora.squad(), corpora.hotpotqa()):
        content = lzma.compress(text_of(corpus).encode(), preset=9 | lzma.PRESET_EXTREME)
        (DATA / FILES[corpus.use.role]).write_bytes(content)
        print(corpus.use.role, corpus.use.sha256)


if __name__ == "__main__":
    typer.run(main)
