"""A tokenizer that counts its calls."""

from model_adapters.scripted import ScriptedTokenizer


class CountingTokenizer(ScriptedTokenizer):
    """Records every text."""

    def __init__(self, *, adds_bos: bool = False) -> None:
        super().__init__(adds_bos=adds_bos)
        self.texts: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.texts.append(text)
        return super().encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        self.texts.append(text)
        return super().encode_with_offsets(text)
