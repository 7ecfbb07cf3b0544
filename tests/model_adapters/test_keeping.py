"""The model of the last run: kept for the next one on it, and gone before another one is loaded."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.records import Request
from evalkit.running.model_options import ChatMode, ModelOptions
from evalkit.values import TokenBudget
from model_adapters import loading
from model_adapters.keeping import ModelKeeper
from model_adapters.memory_forecast import forecast_memory
from model_adapters.module_patches import patches_of
from model_adapters.opening import OpenedModel, open_model
from model_adapters.preflight import kept_checks
from tests.chat_templates import OPENS
from tests.model_adapters.chat_model import save_chat_model
from tests.model_adapters.small_models import save_small_checkpoint, small_model


@pytest.fixture
def options(tmp_path: Path) -> ModelOptions:
    return ModelOptions(str(save_small_checkpoint(tmp_path / "checkpoint", "olmo_hybrid")), device="cpu")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were loaded, in order."""
    own, loaded = loading.load_model, list[str]()

    def load_model(options: ModelOptions, ctxs: tuple[int, ...] = ()) -> loading.LoadedModel:
        loaded.append(options.model)
        return own(options, ctxs)

    monkeypatch.setattr(loading, "load_model", load_model)
    return loaded


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is freed by chance: only what is collected on purpose, and what nothing refers to."""
    gc.disable()
    yield
    gc.enable()


def answers(opened: OpenedModel, prompt: tuple[int, ...] = tuple(range(40, 90))) -> tuple[int, ...]:
    (completion,) = opened.make_adapter().generate([Request("one", prompt, 8)])
    return completion.token_ids


def refer_to_themselves(options: ModelOptions, keeper: ModelKeeper) -> weakref.ref[object]:
    """Load a model and replace its layers' code as on a GPU; returns a reference to its first weights."""
    model = keeper.load(options, ()).model
    for layer in model.model.layers:
        patches_of(model).place(
            layer, "forward", lambda *args, layer=layer, **named: type(layer).forward(layer, *args, **named)
        )
    return weakref.ref(model.model.layers[0])


def test_runs_of_one_model_load_it_once_and_answer_as_alone(options: ModelOptions, loads: list[str]) -> None:
    keeper = ModelKeeper()
    first = answers(open_model(options, (128,), keeper))
    others = replace(options, batch_sequences=2, segment_tokens=32, chat=ChatMode.OFF)
    assert answers(open_model(others, (256,), keeper)) == first
    assert loads == [options.model]
    assert answers(open_model(options)) == first


def test_collections_skip_what_exists_while_a_model_is_loaded(options: ModelOptions) -> None:
    gc.unfreeze()
    keeper = ModelKeeper()
    keeper.load(options, ())
    assert gc.get_freeze_count() > 0
    keeper.make_room(options)
    assert gc.get_freeze_count() > 0
    keeper.close()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"gdn_kernel": "torch"}, {"batch_invariant": True}])
def test_other_options_load_it_again(options: ModelOptions, loads: list[str], change: dict[str, object]) -> None:
    keeper = ModelKeeper()
    keeper.load(options, ())
    keeper.load(replace(options, **change), ())  # type: ignore[arg-type]
    assert loads == [options.model] * 2


def test_a_checkpoint_that_was_overwritten_is_loaded_again(options: ModelOptions, loads: list[str]) -> None:
    keeper = ModelKeeper()
    before = keeper.load(options, ()).identity.fingerprint
    small_model("olmo_hybrid", seed=1).save_pretrained(options.model)
    assert keeper.load(options, ()).identity.fingerprint != before
    assert loads == [options.model] * 2


def test_another_chat_template_is_read(options: ModelOptions, loads: list[str]) -> None:
    keeper = ModelKeeper()
    assert keeper.load(options, ()).tokenizer.chat_template is None
    (Path(options.model) / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert keeper.load(options, ()).tokenizer.chat_template is not None
    assert loads == [options.model] * 2


def test_contexts_are_checked_for_each_run(tmp_path: Path, loads: list[str]) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 512}
    folder = save_small_checkpoint(tmp_path / "dynamic", "llama", rope_parameters=rope)
    options, keeper = ModelOptions(str(folder), device="cpu"), ModelKeeper()
    assert keeper.load(options, (256,)).warnings == ()
    (warning,) = keeper.load(options, ()).warnings
    assert warning.startswith("prompts of more than 512 tokens will be errors")
    with pytest.raises(UsageError, match="context 4,096 is above 512 tokens"):
        keeper.load(options, (512, 4096))
    assert keeper.load(options, (512,)).warnings == ()
    assert loads == [options.model]


@pytest.mark.usefixtures("no_collector")
def test_nothing_of_a_model_is_left_when_the_next_one_is_loaded(
    options: ModelOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, other = ModelKeeper(), replace(options, model=str(save_small_checkpoint(tmp_path / "other", "llama")))
    weights = refer_to_themselves(options, keeper)
    assert weights() is not None
    own = loading.load_model

    def load_model(options: ModelOptions, ctxs: tuple[int, ...] = ()) -> loading.LoadedModel:
        assert weights() is None, "two models are in memory"
        return own(options, ctxs)

    monkeypatch.setattr(loading, "load_model", load_model)
    keeper.load(other, ())


@pytest.mark.usefixtures("no_collector")
def test_a_model_is_freed_when_its_keeper_is_closed(options: ModelOptions) -> None:
    keeper = ModelKeeper()
    weights = refer_to_themselves(options, keeper)
    keeper.close()
    assert weights() is None


def test_a_model_is_checked_once(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    own, made = kept_checks.short_preflight, list[object]()

    def short_preflight(*args: object, **named: object) -> object:
        made.append(args)
        return own(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(kept_checks, "short_preflight", short_preflight)
    keeper = ModelKeeper()
    first = open_model(options, (128,), keeper).preflight
    assert first
    assert open_model(options, (256,), keeper).preflight == first
    assert len(made) == 1
    assert open_model(replace(options, skip_preflight=True), (), keeper).preflight == ()
    keeper.close()
    open_model(options, (), keeper)
    assert len(made) == 2


def test_runs_with_and_without_thoughts_share_a_model_and_its_checks(tmp_path: Path, loads: list[str]) -> None:
    """The identity then holds the switches of its chat template, which cannot be hashed."""
    options = ModelOptions(str(save_chat_model(tmp_path, OPENS)), device="cpu")
    chats = [
        replace(options, chat=mode, thinking=TokenBudget(budget))
        for mode, budget in ((ChatMode.USER, 16), (ChatMode.PREFILL, 0), (ChatMode.OFF, 0))
    ]
    keeper = ModelKeeper()
    opened = [open_model(chat, (512,), keeper) for chat in chats]
    found = [one.identity.thinking for one in opened]
    assert [thinking and (thinking.budget_tokens, thinking.switches) for thinking in found] == [
        (16, {"enable_thinking": True}),
        (0, {"enable_thinking": False}),
        None,
    ]
    assert loads == [options.model]
    assert opened[0].preflight
    assert all(one.preflight is opened[0].preflight for one in opened)


def test_weights_that_are_loaded_count_as_free(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = sum(weight.nbytes for weight in loading.load_model(options).model.parameters())
    keeper = ModelKeeper()
    assert keeper.make_room(options) == 0
    keeper.load(options, ())
    assert keeper.make_room(options) == weights
    monkeypatch.setattr("model_adapters.memory_forecast.available_bytes", lambda _: 2 << 30)
    before = forecast_memory(options, 256)
    monkeypatch.setattr("model_adapters.memory_forecast.available_bytes", lambda _: (2 << 30) - weights)
    assert forecast_memory(options, 256, weights) == before


def test_memory_is_collected_once_between_two_models(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    collected = list[None]()
    monkeypatch.setattr("model_adapters.keeping._collect", lambda: collected.append(None))
    keeper = ModelKeeper()
    for each, times in ((options, 0), (options, 1), (replace(options, gdn_kernel="torch"), 2)):
        keeper.make_room(each)
        keeper.load(each, ())
        assert len(collected) == times
    keeper.close()
    keeper.close()
    assert len(collected) == 3
