"""A small random chat model on disk, whose answers are tokenized again as it wrote them: every token is a character."""

import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.model_adapters.small_models import small_model

_SPECIAL = ("<pad>", "<bos>", "<eos>")


def save_chat_model(folder: Path, template: str) -> Path:
    """A llama of random weights with a tokenizer of printable ASCII characters and the chat template."""
    pieces = [*_SPECIAL, *string.printable[:95].replace(" ", "Ġ"), "Ċ"]
    tokenizer = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    small_model("llama", vocab_size=len(pieces), **ids).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
