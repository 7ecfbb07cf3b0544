"""A tokenizer that recognizes special tokens in a text, as real ones do."""

from model_adapters.scripted import BOS, ScriptedTokenizer


class SpellsBos(ScriptedTokenizer):
    """A tokenizer that reads `<s>` at the start of a text as its BOS."""

    def encode(self, text: str) -> list[int]:
        return self.encode_with_offsets(text)[0]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        if not text.startswith("<s>"):
            return super().encode_with_offsets(text)
        ids, offsets = super().encode_with_offsets(text.removeprefix("<s>"))
        return [BOS, *ids], [(0, 3), *((start + 3, end + 3) for start, end in offsets)]
