"""Stop strings: end an answer at a given text, however it is tokenized."""

from collections.abc import Iterable

from evalkit.running.protocols import Tokenizer

SPARE_TOKENS = 4
"""Tokens decoded in addition, because decoders treat a text's first token differently (some drop its leading space)."""


def reaches_stop(stop: Iterable[str], token_ids: list[int], tokenizer: Tokenizer) -> bool:
    """Whether the newest token completes a stop string in an answer's text.

    A stop string may begin and end inside tokens, and one character's bytes may span several tokens. Special tokens are
    searched both as spelled and as the empty text that they decode to. Empty stop strings are ignored.
    """
    stop = [text for text in stop if text]
    if not stop:
        return False
    # Each token holds at least one byte of text, so this tail is enough at every step.
    tail = token_ids[-(max(len(text.encode()) for text in stop) + SPARE_TOKENS) :]
    return _holds(stop, _texts(tail, tokenizer)) and _holds(stop, _texts(token_ids, tokenizer))


def _texts(token_ids: list[int], tokenizer: Tokenizer) -> tuple[str, str]:
    return tokenizer.decode(token_ids), tokenizer.spell(token_ids)


def _holds(stop: Iterable[str], texts: Iterable[str]) -> bool:
    return any(one in text for text in texts for one in stop)
