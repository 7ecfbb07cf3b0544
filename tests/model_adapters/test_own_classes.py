"""A checkpoint is loaded as transformers' own class, also after another package has registered one for its type."""

import importlib.metadata
from pathlib import Path

import pytest
import transformers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from tests.model_adapters.preflight.other_families import other_model
from tests.model_adapters.small_models import byte_tokenizer, save_small_checkpoint
from tests.support import run_python


class Mamba2Config(PreTrainedConfig):
    """Named as transformers' own, as in FLA."""

    model_type = "mamba2"


class Mamba2ForCausalLM(PreTrainedModel):
    config_class = Mamba2Config


class OtherMamba2ForCausalLM(PreTrainedModel):
    config_class = transformers.Mamba2Config


class NovelConfig(PreTrainedConfig):
    model_type = "novel"


class NovelForCausalLM(PreTrainedModel):
    config_class = NovelConfig


@pytest.fixture
def _clash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations of a package that has been imported."""
    for registry in (CONFIG_MAPPING, MODEL_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING):
        monkeypatch.setattr(registry, "_extra_content", {})
    for config, model in ((Mamba2Config, Mamba2ForCausalLM), (NovelConfig, NovelForCausalLM)):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForCausalLM.register(config, model, exist_ok=True)
    for auto in (AutoModel, AutoModelForCausalLM):
        auto.register(transformers.Mamba2Config, OtherMamba2ForCausalLM, exist_ok=True)


@pytest.fixture
def mamba2(tmp_path: Path) -> ModelOptions:
    other_model("mamba2").save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    return ModelOptions(str(tmp_path), device="cpu")


def test_a_type_of_transformers_is_loaded_as_its_own_class(
    mamba2: ModelOptions, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("_clash")
    assert CONFIG_MAPPING["mamba2"] is Mamba2Config
    loaded = load_model(mamba2)
    assert type(loaded.model) is transformers.Mamba2ForCausalLM
    assert type(loaded.model.config) is transformers.Mamba2Config
    assert CONFIG_MAPPING["novel"] is NovelConfig


def _has_fla() -> bool:
    try:
        return bool(importlib.metadata.version("flash-linear-attention"))
    except importlib.metadata.PackageNotFoundError:
        return False


AFTER_FLA = """
import sys
import fla.models
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from transformers import CONFIG_MAPPING
print(CONFIG_MAPPING["mamba2"].__module__.split(".")[0])
print(type(load_model(ModelOptions(sys.argv[1], device="cpu")).model).__module__.split(".")[0])
"""


@pytest.mark.skipif(not _has_fla(), reason="needs FLA")
def test_after_fla_itself(mamba2: ModelOptions) -> None:
    done = run_python("-c", AFTER_FLA, mamba2.model)
    assert done.stdout.split() == ["fla", "transformers"], done.stderr[-2000:]


@pytest.mark.usefixtures("_clash")
def test_a_type_of_another_package_is_refused_as_without_it(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "checkpoint", "llama")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"novel"'))
    with pytest.raises(UsageError, match=f"'novel' is unknown to transformers {transformers.__version__}; "):
        load_model(ModelOptions(str(folder), device="cpu"))
