"""Tokenizers of checkpoints, for suites: ids, offsets and a fingerprint."""

import hashlib
import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import tokenizers

from evalkit.errors import UsageError
from evalkit.installation import is_installed
from model_adapters.chat_template import JinjaTemplate, chat_template_of
from model_adapters.checkpoint import refuse_lfs_pointer
from model_adapters.messages import first_line, quiet_transformers
from model_adapters.rendered_text import RenderedText

# Batches here have one text: threads of their own would gain nothing, and processes that fork would be warned of them.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TOKENIZER_JSON = "tokenizer.json"
# Files that transformers can convert to a fast tokenizer if there is no tokenizer.json.
_CONVERTERS = {
    "sentencepiece": (
        "a SentencePiece model",
        {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"},
    ),
    "tiktoken": ("a vocabulary of tiktoken", {"tiktoken": "tiktoken"}),
}
"""Kind of a vocabulary -> how a message calls it, and the packages of its conversion with their modules."""
OTHER_VOCABULARIES = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tiktoken.model", "tekken.json")


class HfTokenizer:
    """evalkit.running.protocols.Tokenizer over a `tokenizers` backend; safe to use from several threads.

    Nothing is truncated or padded, even if the definition requests it, and merges are never dropped at random. Special
    tokens in a text are recognized, as in transformers. Texts are encoded as batches of one, during which other threads
    run: a single one would hold Python's lock, and a GPU would wait for its next kernels while prompts are prepared.
    """

    def __init__(
        self,
        backend: Any,
        *,
        name: str,
        text_start: int | None = None,
        text_end: int | None = None,
        chat_template: JinjaTemplate | None = None,
    ) -> None:
        """Wrap `backend`, a `tokenizers.Tokenizer`; raises UsageError if it has no vocabulary.

        `text_start` is the BOS that a checkpoint names, else its EOS; by default what stands before a prompt.
        `text_end` is its EOS.
        """
        self._text_tokens: int = backend.get_vocab_size() - len(backend.get_added_tokens_decoder())
        if self._text_tokens <= 0:
            raise UsageError(
                f"{name}: its tokenizer has no vocabulary; add the tokenizer.json that the model was trained with"
            )
        backend.no_truncation()
        backend.no_padding()
        if getattr(backend.model, "dropout", None):
            backend.model.dropout = None
        self._fingerprint = f"sha256:{hashlib.sha256(backend.to_str().encode()).hexdigest()}"
        self._prefix = _ids_before_text(backend)
        self._text_start = text_start if text_start is not None else next(iter(self._prefix), None)
        self._text_end = text_end
        self._chat_template = chat_template
        # It only adds special tokens, which are known now, and may remove spaces from the offsets.
        backend.post_processor = None
        self._backend = backend
        self._rendered = RenderedText(backend)

    @staticmethod
    def from_file(tokenizer_json: Path) -> "HfTokenizer":
        """The tokenizer of a tokenizer.json alone; raises UsageError if it cannot be read."""
        try:
            backend = tokenizers.Tokenizer.from_file(str(tokenizer_json))
        except Exception as error:  # tokenizers raises nothing more specific
            raise _unreadable(str(tokenizer_json), error) from error
        return HfTokenizer(backend, name=str(tokenizer_json))

    @staticmethod
    def from_folder(folder: Path, *, name: str, trust_remote_code: bool) -> "HfTokenizer":
        """The tokenizer of a checkpoint folder, called `name` in messages.

        tokenizer.json is the definition if there is one; otherwise transformers converts what there is. Raises
        UsageError if there is none, if it cannot be read, if its conversion needs a package that is not installed, and
        if it has no fast form.
        """
        if not has_tokenizer(folder):
            raise UsageError(f"{name}: no tokenizer; add the tokenizer.json that the model was trained with")
        _check_convertible(folder, name)
        try:
            with quiet_transformers():
                loaded = _from_files(folder, trust_remote_code=trust_remote_code)
                chat_template = chat_template_of(loaded)
        except Exception as error:  # tokenizers and converters raise plain exceptions
            raise _unreadable(name, error) from error
        backend = getattr(loaded, "backend_tokenizer", None)
        if backend is None:
            raise UsageError(
                f"{name}: {type(loaded).__name__} has no fast form, so token offsets are unknown; add a tokenizer.json"
            )
        bos, eos = loaded.bos_token_id, loaded.eos_token_id
        return HfTokenizer(
            backend,
            name=name,
            text_start=eos if bos is None else bos,
            text_end=eos,
            chat_template=chat_template,
        )

    @property
    def fingerprint(self) -> str:
        """sha256 of the definition as `tokenizers` writes it, without truncation and padding."""
        return self._fingerprint

    @property
    def chat_template(self) -> JinjaTemplate | None:
        return self._chat_template

    @property
    def text_tokens(self) -> int:
        """Entries of the vocabulary without added tokens, which a text seldom spells out."""
        return self._text_tokens

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def encode_rendered(self, text: str, plain: Sequence[tuple[int, int]]) -> list[int]:
        """Token ids of a rendered prompt; raises SampleDoesNotFitError, see `RenderedText`."""
        return self._rendered.encode(text, plain)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and (start, end) in characters, spaces included; a character that tokens split is in the span of each."""
        (encoding,) = self._backend.encode_batch([text], add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def encode_prompt(self, text: str) -> list[int]:
        """The tokens that the definition puts before a text (BOS, or none), then the text.

        A text that begins with BOS, as chat templates write it, does not get a second one. Tokens that the definition
        puts after a text are left out: an end-of-sequence token would end the prompt before its answer.
        """
        return self.add_special_tokens(self.encode(text))

    def add_special_tokens(self, token_ids: list[int]) -> list[int]:
        return token_ids if self._prefix[:1] == token_ids[:1] else [*self._prefix, *token_ids]

    @property
    def text_start(self) -> int | None:
        return self._text_start

    @property
    def text_end(self) -> int | None:
        """The end-of-sequence token that the tokenizer names; None if it names none."""
        return self._text_end

    def token(self, token_id: int) -> str | None:
        """The spelling of a token in the vocabulary; None for an unknown id."""
        spelled: str | None = self._backend.id_to_token(token_id)
        return spelled

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids, without special tokens and ids above the vocabulary, which a padded embedding has."""
        return str(self._backend.decode(list(token_ids), skip_special_tokens=True))

    def spell(self, token_ids: Sequence[int]) -> str:
        """Text of the ids with special tokens as the vocabulary spells them."""
        return str(self._backend.decode(list(token_ids), skip_special_tokens=False))


def _from_files(folder: Path, *, trust_remote_code: bool) -> Any:
    """transformers' tokenizer of a folder."""
    if (folder / TOKENIZER_JSON).is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    # Imported only here, because it imports torch, which takes 350 MB and which served models do not need.
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder defines a tokenizer."""
    return any((folder / file).is_file() for file in (TOKENIZER_JSON, *OTHER_VOCABULARIES))


def _check_convertible(folder: Path, name: str) -> None:
    """Refuse files that are not there in truth, and vocabularies whose conversion needs what is not installed."""
    for file in (TOKENIZER_JSON, *OTHER_VOCABULARIES):
        if (folder / file).is_file():
            refuse_lfs_pointer(name, folder / file)
    if (folder / TOKENIZER_JSON).is_file():
        return
    for file in OTHER_VOCABULARIES:
        if not file.endswith(".model") or not (folder / file).is_file():
            continue
        kind, packages = _CONVERTERS["tiktoken" if _is_tiktoken(folder / file) else "sentencepiece"]
        missing = [package for package, module in packages.items() if not is_installed(module)]
        if missing:
            raise UsageError(
                f"{name}: {file} is {kind}, which transformers converts with {' and '.join(packages)}; "
                f"pip install {' '.join(missing)}, or add a tokenizer.json"
            )


def _is_tiktoken(file: Path) -> bool:
    """Whether a vocabulary is tiktoken's text, a token in base64 and its rank per line, and not SentencePiece's."""
    with file.open("rb") as opened:
        return re.fullmatch(rb"[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n?", opened.readline(4096)) is not None


def _ids_before_text(backend: Any) -> list[int]:
    encoding = backend.encode("a", add_special_tokens=True)
    return [
        token_id
        for token_id, _ in takewhile(lambda pair: pair[1], zip(encoding.ids, encoding.special_tokens_mask, strict=True))
    ]


def _unreadable(name: str, error: Exception) -> UsageError:
    return UsageError(
        f"{name}: its tokenizer cannot be read ({first_line(error)}); save it again with the library that made it"
    )
