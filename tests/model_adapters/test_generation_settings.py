"""Answers end at the tokens of the checkpoint or its tokenizer, and settings that are not applied are reported."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.engine.engine import stop_ids
from model_adapters.generation_settings import GREEDY_SETTINGS
from model_adapters.loading import LoadedModel, load_model
from tests.model_adapters.small_models import BOS_ID, EOS_ID, save_small_checkpoint, small_model


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("original") / "checkpoint", "llama")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


def edit(file: Path, **changes: Any) -> None:
    """Set keys of a JSON file; ... removes one."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


def state_eos(folder: Path, *, config: Any, generation: Any, tokenizer: str | None = "<eos>") -> None:
    """The end-of-sequence settings of the three files; ... omits a key."""
    edit(folder / "config.json", eos_token_id=config)
    edit(folder / "generation_config.json", eos_token_id=generation)
    edit(folder / "tokenizer_config.json", eos_token=... if tokenizer is None else tokenizer)


def load(folder: Path) -> LoadedModel:
    return load_model(ModelOptions(str(folder), device="cpu", dtype="float32"))


@pytest.mark.parametrize(
    ("config", "generation"),
    [(EOS_ID, ...), (..., EOS_ID), ([7, EOS_ID], ...), (..., [EOS_ID, 9]), (7, EOS_ID), (EOS_ID, None)],
)
def test_a_stated_end_is_used_and_nothing_is_reported(folder: Path, config: Any, generation: Any) -> None:
    state_eos(folder, config=config, generation=generation)
    loaded = load(folder)
    stated = config if generation in (..., None) else generation
    assert stop_ids(loaded.model) == {*(stated if isinstance(stated, list) else [stated])}
    assert loaded.warnings == ()


@pytest.mark.parametrize("nothing", [..., None])
def test_an_end_that_nobody_states_is_the_tokenizers_and_not_the_familys(folder: Path, nothing: Any) -> None:
    """Llama's default is 2, which is an ordinary byte in this vocabulary."""
    state_eos(folder, config=nothing, generation=nothing)
    loaded = load(folder)
    assert stop_ids(loaded.model) == {EOS_ID}
    assert loaded.warnings == (
        "generation_config.json and config.json state no eos_token_id; answers end at the tokenizer's end-of-sequence "
        "token 258 ('<eos>')",
    )


def test_without_any_end_answers_take_their_budget(folder: Path) -> None:
    state_eos(folder, config=..., generation=..., tokenizer=None)
    loaded = load(folder)
    assert stop_ids(loaded.model) == frozenset()
    assert loaded.warnings == ("no end-of-sequence token is stated, so every answer takes its whole token budget",)


@pytest.mark.parametrize(
    ("config", "generation", "stated", "file"),
    [
        (2, ..., "2", "config.json"),
        (EOS_ID, [2, BOS_ID], f"2, {BOS_ID}", "generation_config.json"),
        (-1, ..., "-1", "config.json"),
    ],
)
def test_a_stated_end_without_the_tokenizers_is_a_warning(
    folder: Path, config: Any, generation: Any, stated: str, file: str
) -> None:
    state_eos(folder, config=config, generation=generation)
    loaded = load(folder)
    assert stop_ids(loaded.model) == {*map(int, stated.split(", "))}
    assert loaded.warnings == (
        f"answers end at token {stated}, as {file} says, and not at the tokenizer's end-of-sequence token "
        "258 ('<eos>')",
    )


@pytest.mark.parametrize("wrong", ["2", 2.0, True, [EOS_ID, "2"]])
def test_an_end_that_is_no_token_is_refused(folder: Path, wrong: Any) -> None:
    edit(folder / "generation_config.json", eos_token_id=wrong)
    with pytest.raises(UsageError) as raised:
        load(folder)
    assert str(raised.value) == (
        f"{folder}: generation_config.json has eos_token_id = {json.dumps(wrong)}; write a token id or a list of them"
    )


def test_a_damaged_generation_config_is_not_passed_over(folder: Path) -> None:
    """transformers would silently fall back to config.json."""
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(UsageError, match=r"generation_config\.json is not JSON: .*; restore or repair it"):
        load(folder)


ACTIVE: dict[str, Any] = {
    "suppress_tokens": [65, 66],
    "begin_suppress_tokens": [65],
    "repetition_penalty": 1.3,
    "encoder_repetition_penalty": 0.7,
    "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 3,
    "bad_words_ids": [[65]],
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 0,
    "min_length": 5,
    "min_new_tokens": 1,
    "sequence_bias": [[[65], 2.0]],
    "exponential_decay_length_penalty": [3, 1.5],
    "num_beams": 4,
    "penalty_alpha": 0.6,
    "guidance_scale": 1.5,
    "stop_strings": ["\n"],
    "dola_layers": "low",
}


@pytest.mark.parametrize("name", ACTIVE)
def test_a_setting_that_changes_greedy_answers_is_named_with_its_value(folder: Path, name: str) -> None:
    edit(folder / "generation_config.json", **{name: ACTIVE[name]})
    shown = json.dumps(ACTIVE[name])
    assert load(folder).warnings == (
        f"generation_config.json sets {name} = {shown}; evalkit decodes greedily without it, so answers can differ "
        "from those of transformers' generate",
    )


def test_several_settings_are_one_line_and_long_ones_are_cut(folder: Path) -> None:
    edit(folder / "generation_config.json", suppress_tokens=list(range(100)), repetition_penalty=1.1, min_length=3)
    (warning,) = load(folder).warnings
    assert warning.startswith(
        "generation_config.json sets repetition_penalty = 1.1, min_length = 3, suppress_tokens = [0,"
    )
    assert "…; evalkit decodes greedily without them" in warning
    assert len(warning) < 300


def test_settings_of_config_json_count_only_without_a_generation_config(folder: Path) -> None:
    """As in transformers, which reads only one of the two files."""
    edit(folder / "config.json", repetition_penalty=1.2)
    assert load(folder).warnings == ()
    (folder / "generation_config.json").unlink()
    assert load(folder).warnings == (
        "config.json sets repetition_penalty = 1.2; evalkit decodes greedily without it, so answers can differ from "
        "those of transformers' generate",
    )


def test_neutral_values_and_sampling_are_silent(folder: Path) -> None:
    neutral = {name: values[0] for name, values in GREEDY_SETTINGS.items() if values}
    nulls = dict.fromkeys(GREEDY_SETTINGS)
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1}
    edit(folder / "generation_config.json", **{**nulls, **neutral, **sampling})
    assert load(folder).warnings == ()


def generate(settings: dict[str, Any]) -> list[int]:
    """transformers' own greedy answer."""
    model = small_model("llama")
    model.generation_config = GenerationConfig(eos_token_id=EOS_ID, pad_token_id=0, **settings)
    ids = torch.arange(40, 70)[None]
    with torch.no_grad():
        found: torch.Tensor = model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
    return [int(token_id) for token_id in found[0, ids.shape[1] :]]


def test_what_is_called_neutral_is_so_in_transformers() -> None:
    numbers = {name: values[0] for name, values in GREEDY_SETTINGS.items() if values and values[0] in (0, 1)}
    assert len(numbers) >= 10
    assert generate({**numbers, "suppress_tokens": [], "begin_suppress_tokens": []}) == generate({})


@pytest.mark.parametrize("name", ["suppress_tokens", "begin_suppress_tokens", "repetition_penalty", "bad_words_ids"])
def test_what_is_named_changes_transformers_answer(name: str) -> None:
    plain = generate({})
    values = {
        "suppress_tokens": plain[:1],
        "begin_suppress_tokens": plain[:1],
        "repetition_penalty": 5.0,
        "bad_words_ids": [plain[:1]],
    }
    assert generate({name: values[name]}) != plain
