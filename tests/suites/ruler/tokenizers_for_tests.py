"""Tokenizers with traits that sizing must survive."""

from collections.abc import Sequence

from evalkit.running.protocols import Tokenizer
from model_adapters.scripted import ScriptedTokenizer


class CountingTokenizer:
    """Another tokenizer, with a note of every text it was given."""

    def __init__(self, inner: Tokenizer) -> None:
        self._inner = inner
        self.texts: list[int] = []
        """Characters of each text."""

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    @property
    def vocab_size(self) -> int:
        return self._inner.vocab_size

    def encode(self, text: str) -> list[int]:
        self.texts.append(len(text))
        return self._inner.encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        self.texts.append(len(text))
        return self._inner.encode_with_offsets(text)

    def encode_prompt(self, text: str) -> list[int]:
        self.texts.append(len(text))
        return self._inner.encode_prompt(text)

    def special_prompt_tokens(self) -> int:
        return self._inner.special_prompt_tokens()

    def decode(self, token_ids: Sequence[int]) -> str:
        return self._inner.decode(token_ids)


class CharacterTokenizer:
    """A token a character, and three special ones before a prompt."""

    fingerprint = "sha256:characters"
    vocab_size = 0x110000 + 3

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return self.encode(text), [(place, place + 1) for place in range(len(text))]

    def encode_prompt(self, text: str) -> list[int]:
        return [0x110000, 0x110001, 0x110002, *self.encode(text)]

    def special_prompt_tokens(self) -> int:
        return 3

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(chr(token_id) for token_id in token_ids if token_id < 0x110000)


class LongTextsCostMore(ScriptedTokenizer):
    """One more token for every forty: no count of parts adds up to the whole."""

    fingerprint = "sha256:superadditive"

    def encode(self, text: str) -> list[int]:
        ids = super().encode(text)
        return ids + ids[: len(ids) // 40]
