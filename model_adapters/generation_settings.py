"""Generation settings of a checkpoint: the tokens that end answers, and settings that greedy decoding ignores.

transformers' `generate` reads generation_config.json, or the same keys of config.json if there is no such file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.checkpoint import CONFIG, Checkpoint, read_object
from model_adapters.tokenizer import HfTokenizer

GENERATION_CONFIG = "generation_config.json"
SHOWN_CHARACTERS = 60

GREEDY_SETTINGS: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "guidance_scale": (1,),
    "sequence_bias": ({}, []),
    "encoder_repetition_penalty": (1,),
    "repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "force_words_ids": (),
    "constraints": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "exponential_decay_length_penalty": (),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "token_healing": (False,),
    "watermarking_config": (),
    "stop_strings": ([], ""),
}
"""Settings that change transformers' answers without sampling -> values, in addition to null, without effect."""


@dataclass(frozen=True, slots=True)
class EndOfSequence:
    """The tokens that end an answer."""

    token_ids: tuple[int, ...]
    """Empty if an answer always uses its whole budget."""
    warning: str | None
    """A warning about them, in one line."""


def end_of_sequence(checkpoint: Checkpoint, tokenizer: HfTokenizer) -> EndOfSequence:
    """The end-of-sequence tokens that the checkpoint states, or else its tokenizer's.

    Never a family's default, which is an ordinary token in other vocabularies. Raises UsageError for a value that is
    no token id.
    """
    own = tokenizer.text_end
    shown = None if own is None else f"{own} ({tokenizer.token(own)!r})"
    for file, values in _files(checkpoint):
        if ids := _token_ids(checkpoint, file, values.get("eos_token_id")):
            if own is None or own in ids:
                return EndOfSequence(ids, None)
            stated = ", ".join(map(str, ids))
            return EndOfSequence(
                ids,
                f"answers end at token {stated}, as {file} says, and not at the tokenizer's end-of-sequence token "
                f"{shown}",
            )
    if own is None:
        return EndOfSequence((), "no end-of-sequence token is stated, so every answer takes its whole token budget")
    return EndOfSequence(
        (own,),
        f"{GENERATION_CONFIG} and {CONFIG} state no eos_token_id; answers end at the tokenizer's end-of-sequence token "
        f"{shown}",
    )


def set_end_of_sequence(model: PreTrainedModel, end: EndOfSequence) -> None:
    """Make a model end its answers at these tokens, and not at a default of its family."""
    # One id as a number, as configurations have it: a model that is saved again keeps its config.json.
    ids: int | list[int] | None = end.token_ids[0] if len(end.token_ids) == 1 else list(end.token_ids) or None
    model.config.eos_token_id = ids
    if model.generation_config is not None:
        model.generation_config.eos_token_id = ids


def unapplied_settings(checkpoint: Checkpoint) -> str | None:
    """A warning that names the settings with which transformers' greedy answers differ from evalkit's."""
    file, values = _files(checkpoint)[0]
    unapplied = [
        f"{name} = {_shown(values[name])}"
        for name, neutral in GREEDY_SETTINGS.items()
        if values.get(name) is not None and values[name] not in neutral
    ]
    if not unapplied:
        return None
    return (
        f"{file} sets {', '.join(unapplied)}; evalkit decodes greedily without "
        f"{'it' if len(unapplied) == 1 else 'them'}, so answers can differ from those of transformers' generate"
    )


def _files(checkpoint: Checkpoint) -> list[tuple[str, Mapping[str, Any]]]:
    """The files that state generation settings and what they state; the first is the one that transformers follows."""
    text = checkpoint.config.get("text_config")
    config = {**(text if isinstance(text, Mapping) else {}), **_set(checkpoint.config)}
    path = checkpoint.folder / GENERATION_CONFIG
    if not path.exists():
        return [(CONFIG, config)]
    return [(GENERATION_CONFIG, read_object(checkpoint.name, path)), (CONFIG, config)]


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _token_ids(checkpoint: Checkpoint, file: str, value: Any) -> tuple[int, ...]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    for token_id in ids:
        if type(token_id) is not int:
            raise UsageError(
                f"{checkpoint.name}: {file} has eos_token_id = {json.dumps(value)}; write a token id or a list of them"
            )
    return tuple(ids)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
