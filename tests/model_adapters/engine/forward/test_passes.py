"""However rows are spread over passes, the logits are those of transformers' own pass over each whole text."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.passes import Pass
from model_adapters.engine.memory.rows import Row
from model_adapters.engine.memory.slotted_cache import SlottedCache
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import FAMILIES, small_model

WINDOW, MOST_TOKENS, SLOTS = 24, 90, 4
MODELS = (*FAMILIES, "olmo3 fp64", "mamba2", "deepseek_v3", "kimi_linear", "gemma3n_text")


@lru_cache(maxsize=1)
def models(name: str) -> tuple[PreTrainedModel, ModelRunner]:
    """A model in transformers, and the same model in the engine."""

    def make() -> PreTrainedModel:
        family = name.removesuffix(" fp64")
        window = {"sliding_window": WINDOW} if family == "olmo3" else {}
        model = small_model(family, **window) if family in FAMILIES else other_model(family)
        return model.double() if name.endswith("fp64") else model

    return make(), ModelRunner(make())


def own_logits(model: PreTrainedModel, token_ids: tuple[int, ...]) -> torch.Tensor:
    """Logits [T, V] by one pass of transformers without a cache."""
    with torch.no_grad():
        logits_1TV: torch.Tensor = model(input_ids=torch.tensor([token_ids]), use_cache=False).logits
    return logits_1TV[0]


@dataclass(frozen=True)
class Cut:
    """The distribution of texts over passes."""

    lengths: tuple[int, ...]
    """Lengths of the texts, each in its own slot."""
    passes: tuple[tuple[tuple[int, int, bool], ...], ...]
    """Text, tokens and whether they are kept, for each pass; a text continues after its kept tokens."""


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    lengths = tuple(draw(st.lists(st.integers(1, MOST_TOKENS), min_size=1, max_size=SLOTS)))
    read, passes = [0] * len(lengths), []
    while any(done < length for done, length in zip(read, lengths, strict=True)):
        rows: list[tuple[int, int, bool]] = []
        for text in draw(st.permutations(range(len(lengths)))):
            left = lengths[text] - read[text]
            if left and draw(st.booleans()):
                branches = draw(st.integers(0, 3))
                counts = draw(st.lists(st.integers(1, left), min_size=branches, max_size=branches))
                rows += [(text, tokens, False) for tokens in counts]
                if not branches:
                    rows.append((text, draw(st.integers(1, left)), True))
                    read[text] += rows[-1][1]
        if not rows:
            text = next(text for text, length in enumerate(lengths) if read[text] < length)
            rows = [(text, lengths[text] - read[text], True)]
            read[text] = lengths[text]
        passes.append(tuple(rows))
    return Cut(lengths, tuple(passes))


def run(runner: ModelRunner, cache: SlottedCache, texts: list[tuple[int, ...]], cut: Cut) -> list[Any]:
    """Text, start and logits of each row of each pass."""
    found = []
    for rows in cut.passes:
        starts = [cache.lengths[text] for text, _, _ in rows]
        step = Pass(
            cache,
            [
                Row(text, start, tokens, keeps=keeps, outputs=tokens)
                for (text, tokens, keeps), start in zip(rows, starts, strict=True)
            ],
        )
        ids = [
            token_id
            for (text, tokens, _), start in zip(rows, starts, strict=True)
            for token_id in texts[text][start : start + tokens]
        ]
        output = runner.run(step, torch.tensor([ids]))
        logits_XV = runner.logits_of(output, output.last_hidden_state)
        step.advance()
        parts = logits_XV.split([tokens for _, tokens, _ in rows])
        found += [(text, start, part) for (text, _, _), start, part in zip(rows, starts, parts, strict=True)]
    return found


@pytest.mark.parametrize("name", MODELS)
@given(cut=cuts())
@settings(max_examples=8, deadline=None)
def test_any_cut_of_any_rows_into_passes_gives_the_same_logits(name: str, cut: Cut) -> None:
    model, runner = models(name)
    texts = [random_prompt(length, seed=seed) for seed, length in enumerate(cut.lengths)]
    expected = [own_logits(model, text) for text in texts]
    cache = runner.new_cache(slots=SLOTS, max_tokens=MOST_TOKENS)
    for text, start, logits_TV in run(runner, cache, texts, cut):
        torch.testing.assert_close(logits_TV, expected[text][start : start + len(logits_TV)].float(), atol=2e-4, rtol=0)
    assert cache.lengths[: len(texts)] == list(cut.lengths)


def test_a_slot_that_is_written_to_is_in_no_other_row() -> None:
    _, runner = models("llama")
    cache = runner.new_cache(slots=1, max_tokens=9)
    with pytest.raises(ValueError, match="two rows of a pass are in one slot"):
        Pass(cache, [Row(0, 0, 3), Row(0, 0, 4, keeps=False)])
