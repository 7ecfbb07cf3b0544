"""Stop strings: where the text of an answer ends, whatever the tokens that spell it."""

from collections.abc import Iterable

from evalkit.running.protocols import Tokenizer
from model_adapters.engine.scheduling.sequence import Sequence

SPARE_TOKENS = 4
"""Decoders treat the first token of a text differently: some drop its leading space."""


def is_ended(sequence: Sequence, *, stop_ids: frozenset[int], tokenizer: Tokenizer | None) -> bool:
    """Whether the newest token of an answer ends it: by itself, or because it completes a stop string."""
    if sequence.token_ids[-1] in stop_ids:
        return True
    return tokenizer is not None and reaches_stop(sequence.request.stop, sequence.token_ids, tokenizer)


def reaches_stop(stop: Iterable[str], token_ids: list[int], tokenizer: Tokenizer) -> bool:
    """Whether the newest token of an answer completes one of the stop strings in its text.

    A stop string may begin and end inside tokens, and the bytes of a character may be in several. Special tokens are
    looked for as they are spelled and as the nothing that they say. Empty strings stop nothing.
    """
    stop = [text for text in stop if text]
    if not stop:
        return False
    # Each token has at least a byte of the text, so no more of them need to be decoded at every step.
    tail = token_ids[-(max(len(text.encode()) for text in stop) + SPARE_TOKENS) :]
    return _holds(stop, _texts(tail, tokenizer)) and _holds(stop, _texts(token_ids, tokenizer))


def _texts(token_ids: list[int], tokenizer: Tokenizer) -> tuple[str, str]:
    return tokenizer.decode(token_ids), tokenizer.spell(token_ids)


def _holds(stop: Iterable[str], texts: Iterable[str]) -> bool:
    return any(one in text for text in texts for one in stop)
