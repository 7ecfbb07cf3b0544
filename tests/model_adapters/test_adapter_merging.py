"""LoRA folders: the base model with the adapter merged answers as peft does, or is refused in one line."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from evalkit.errors import UsageError
from evalkit.running.model_options import ModelOptions
from model_adapters.loading import load_model
from model_adapters.opening import fingerprints
from tests.model_adapters.hub_server import HubServer
from tests.model_adapters.small_models import save_small_checkpoint

TARGETS = ["q_proj", "down_proj"]
# peft uses names of transformers' models that these have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("base") / "base", "llama")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """Save an adapter of a checkpoint, `base` if none is named, that changes its answers."""

    def save(of: Path = base, **options: Any) -> Path:
        model = AutoModelForCausalLM.from_pretrained(of)
        options = {"target_modules": TARGETS, **options}
        adapted = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **options))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name or "modules_to_save" in name:
                    parameter.normal_(generator=generator).mul_(0.1)
        adapted.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    return save


def options(folder: Path | str) -> ModelOptions:
    return ModelOptions(str(folder), device="cpu")


def refusal(folder: Path) -> str:
    with pytest.raises(UsageError) as raised:
        load_model(options(folder))
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder}: ")


def edit(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "method", [{}, {"use_rslora": True}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=str
)
def test_the_merged_model_is_what_peft_runs(base: Path, adapter: Callable[..., Path], method: dict[str, Any]) -> None:
    assert_merged(base, adapter(**method))


@pytest.mark.filterwarnings("ignore::UserWarning")  # peft says that it would merge into both
@pytest.mark.parametrize(
    "method",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
        {"trainable_token_indices": [5, 6]},
        {"layer_replication": [[0, 2], [1, 2]]},
    ],
    ids=str,
)
def test_what_is_merged_into_a_shared_weight_changes_one_place_only(
    adapter: Callable[..., Path], method: dict[str, Any], tmp_path: Path
) -> None:
    tied = save_small_checkpoint(tmp_path / "tied", "llama", tie_word_embeddings=True)
    assert_merged(tied, adapter(tied, **method))


def assert_merged(base: Path, folder: Path) -> None:
    """Loading gives the logits that peft computes with the adapter beside the base model."""
    loaded, plain = load_model(options(folder)), load_model(options(base))
    id_1T = torch.arange(40)[None]
    with torch.no_grad():
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder))
        expected, found, without = adapted(id_1T).logits, loaded.model(id_1T).logits, plain.model(id_1T).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float((found - without).abs().max()) > 0.1
    assert not any("lora" in name for name, _ in loaded.model.named_modules())
    assert loaded.warnings == ()


def test_the_identity_names_the_base_and_both_are_in_the_fingerprint(base: Path, adapter: Callable[..., Path]) -> None:
    folder = adapter()
    identity, of_base = load_model(options(folder)).identity, load_model(options(base)).identity
    assert (identity.path, identity.base, of_base.base) == (str(folder), str(base), None)
    assert (identity.parameters, identity.tokenizer) == (of_base.parameters, of_base.tokenizer)
    assert identity.fingerprint != of_base.fingerprint
    assert fingerprints(options(folder)) == (identity.fingerprint, identity.tokenizer)
    other = save_small_checkpoint(folder.parent / "other", "llama", seed=1)
    edit(folder, base_model_name_or_path=str(other))
    assert load_model(options(folder)).identity.fingerprint != identity.fingerprint


def test_both_may_be_on_the_hub_at_their_own_commits(
    hub_server: HubServer,
    base: Path,
    adapter: Callable[..., Path],
) -> None:
    folder = adapter()
    base_commit = hub_server.push("org/base", base, branch="stage1")
    edit(folder, base_model_name_or_path="org/base", revision="stage1")
    commit = hub_server.push("org/lora", folder)
    identity = load_model(options("org/lora")).identity
    assert (identity.commit, identity.base) == (commit, f"org/base@stage1 (commit {base_commit})")
    assert identity.fingerprint == load_model(options(folder)).identity.fingerprint


def test_without_peft_it_is_refused_before_anything_is_read(
    adapter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = adapter()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refusal(folder) == "is an adapter, and peft, which merges it, is not installed; pip install peft"


def test_learned_tokens_cannot_be_merged(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    tuned.save_pretrained(tmp_path / "tuned")
    assert refusal(tmp_path / "tuned") == (
        "its adapter (PROMPT_TUNING) puts learned tokens before a prompt, which cannot be merged into weights; name a "
        "LoRA adapter or a whole model"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"base_model_name_or_path": None}, "adapter_config.json names no base_model_name_or_path; "),
        (
            {"base_model_name_or_path": "/home/bob/llama"},
            "adapter_config.json names its base model, which cannot be opened: '/home/bob/llama': no such directory; ",
        ),
        ({"peft_type": "UNHEARD_OF"}, "adapter_config.json is refused by peft ("),
        ({"target_modules": ["w1"]}, "peft cannot merge the adapter into "),
        (
            {"target_modules": ["q_proj"]},
            "its adapter holds base_model.model.model.layers.0.mlp.down_proj.lora_A.weight",
        ),
        (
            {"target_modules": [*TARGETS, "k_proj"]},
            "its adapter lacks base_model.model.model.layers.0.self_attn.k_proj.",
        ),
        ({"r": 8}, "peft cannot merge the adapter into "),
    ],
)
def test_a_wrong_configuration_is_refused(adapter: Callable[..., Path], change: dict[str, Any], expected: str) -> None:
    folder = adapter()
    edit(folder, **change)
    assert refusal(folder).startswith(expected)


def test_an_adapter_of_an_adapter_is_refused(adapter: Callable[..., Path], tmp_path: Path) -> None:
    folder = adapter()
    second = shutil.copytree(folder, tmp_path / "second")
    edit(second, base_model_name_or_path=str(folder))
    assert refusal(second) == f"its base model {folder} is an adapter too; merge that into its own base first"


def test_missing_pickled_and_broken_weights_are_refused(adapter: Callable[..., Path]) -> None:
    folder = adapter()
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    weights["base_model.model.model.layers.0.mlp.down_proj.lora_B.weight"][0, 0] = float("nan")
    save_file(weights, file)
    assert refusal(folder).startswith(
        "base_model.model.model.layers.0.mlp.down_proj.lora_B.weight in adapter_model.safetensors holds NaN or infinity"
    )
    file.rename(folder / "adapter_model.bin")
    assert refusal(folder) == (
        "has adapter_config.json and no adapter_model.safetensors; save the adapter again with peft's save_pretrained"
    )
