"""A tokenizer for small models in which every id has text, so that a random model's answers are readable."""

import string
from itertools import islice, product

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.model_adapters.small_models import BOS_ID, EOS_ID, PAD_ID, VOCAB_SIZE

MERGED = ("ab", "abc", " a", "\n\n", "b\n", "é!", "🙂")
_SPECIAL = {"<pad>": PAD_ID, "<bos>": BOS_ID, "<eos>": EOS_ID}


def printable_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each printable ASCII character and each byte of "é🙂"; all other ids are longer texts.

    Texts are encoded one byte at a time, so that models may answer with tokens that no text is encoded to.
    """
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def spelled(text: str) -> str:
        return "".join(piece for piece, _ in bytes_of.pre_tokenize_str(text))

    singles = [character for text in (*string.printable[:95], "\n", "é🙂") for character in spelled(text)]
    pairs = ("".join(pair) for pair in product(string.ascii_lowercase, repeat=2))
    pieces = [*singles, *map(spelled, MERGED)]
    pieces += islice((pair for pair in pairs if pair not in pieces), VOCAB_SIZE - len(_SPECIAL) - len(pieces))
    free = (index for index in range(VOCAB_SIZE) if index not in _SPECIAL.values())
    vocabulary = {**dict(zip(pieces, free, strict=True)), **_SPECIAL}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = bytes_of, decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )
