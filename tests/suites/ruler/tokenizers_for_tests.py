"""Tokenizers with traits that sizing must survive."""

from collections.abc import Sequence

from model_adapters.scripted import ScriptedTokenizer


class CharacterTokenizer:
    """One token per character, and three special tokens before a prompt."""

    fingerprint = "sha256:characters"

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return self.encode(text), [(place, place + 1) for place in range(len(text))]

    def encode_prompt(self, text: str) -> list[int]:
        return self.add_special_tokens(self.encode(text))

    def add_special_tokens(self, token_ids: list[int]) -> list[int]:
        return [0x110000, 0x110001, 0x110002, *token_ids]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(chr(token_id) for token_id in token_ids if token_id < 0x110000)


class LongTextsCostMore(ScriptedTokenizer):
    """One additional token for every forty, so that the parts' counts do not add up to the whole."""

    fingerprint = "sha256:superadditive"

    def encode(self, text: str) -> list[int]:
        ids = super().encode(text)
        return ids + ids[: len(ids) // 40]
