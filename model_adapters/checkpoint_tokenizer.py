"""The tokenizer of a checkpoint, without its weights and without torch: a served model needs no more."""

from evalkit.running.model_options import ModelOptions
from model_adapters.checkpoint import Checkpoint, open_checkpoint
from model_adapters.tokenizer import HfTokenizer, has_tokenizer


def load_tokenizer(options: ModelOptions) -> HfTokenizer:
    """The tokenizer that `load_model` would load; raises UsageError."""
    checkpoint = open_checkpoint(options.model, trust_remote_code=options.trust_remote_code)
    return checkpoint_tokenizer(checkpoint, trust_remote_code=options.trust_remote_code)


def checkpoint_tokenizer(checkpoint: Checkpoint, *, trust_remote_code: bool) -> HfTokenizer:
    """An adapter's own tokenizer if it has one, else that of its base."""
    adapter = checkpoint.adapter
    folder = adapter.folder if adapter is not None and has_tokenizer(adapter.folder) else checkpoint.folder
    return HfTokenizer.from_folder(folder, name=checkpoint.name, trust_remote_code=trust_remote_code)
