"""Loading: four families from real checkpoints on disk, and the full line of every refusal."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    dynamic_module_utils,
)

from evalkit.errors import UsageError
from evalkit.records import Request
from evalkit.running.model_options import ModelOptions
from model_adapters import reference
from model_adapters.building import device_map
from model_adapters.checkpoint_tokenizer import load_tokenizer
from model_adapters.engine.engine import Engine
from model_adapters.loading import LoadedModel, count_parameters, load_model
from tests.model_adapters.small_models import FAMILIES, byte_tokenizer, save_small_checkpoint, small_model

BELONG = "check that config.json and weights belong together"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint of each family, written once and never changed by a test."""
    root = tmp_path_factory.mktemp("originals")

    def original(family: str) -> Path:
        folder = root / family
        return folder if folder.exists() else save_small_checkpoint(folder, family)

    return original


@pytest.fixture
def folder(originals: Callable[[str], Path], tmp_path: Path) -> Path:
    """A llama checkpoint that a test may damage."""
    return Path(shutil.copytree(originals("llama"), tmp_path / "checkpoint"))


@pytest.fixture(autouse=True)
def _settings_are_put_back() -> Iterator[None]:
    before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    yield
    assert (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()) == before


def load(
    model: str | Path, *, device: str = "cpu", dtype: str = "auto", trust_remote_code: bool = False
) -> LoadedModel:
    return load_model(ModelOptions(str(model), device=device, dtype=dtype, trust_remote_code=trust_remote_code))


def refusal(model: str | Path, **options: Any) -> str:
    """The one-line reason, without the folder's name in front."""
    with pytest.raises(UsageError) as raised:
        load(model, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(f"{model}: ")


def edit(folder: Path, **changes: Any) -> None:
    """Set fields of config.json; ... removes one."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# The model to load.


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_as_it_was_saved(originals: Callable[[str], Path], family: str) -> None:
    folder = originals(family)
    loaded = load(folder)
    original = small_model(family)
    ids = torch.tensor([loaded.tokenizer.encode_prompt("The pass key is 12345. Remember it.")])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, original(ids).logits, rtol=0.0, atol=1e-5)
    for name, tensor in original.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    identity = loaded.identity
    assert (identity.path, identity.family, identity.dtype) == (str(folder), family, "float32")
    assert identity.parameters == sum(parameter.numel() for parameter in original.parameters())
    assert identity.trained_length == 4096
    assert identity.tokenizer == loaded.tokenizer.fingerprint
    assert identity.positions.kind == ("none" if family == "olmo_hybrid" else "rope")
    assert (identity.trained, loaded.tokens_seen, loaded.warnings) == (True, None, ())


def test_tied_parameters_count_once() -> None:
    tied = small_model("llama", tie_word_embeddings=True)
    assert count_parameters(small_model("llama")) - count_parameters(tied) == tied.get_input_embeddings().weight.numel()


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "tied", "llama", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert load(folder).identity.parameters == count_parameters(small_model("llama", tie_word_embeddings=True))


def test_a_head_of_its_own_beside_a_tie_is_used_and_named(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "tied", "llama", tie_word_embeddings=True)
    embeddings = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    edit_weights(folder, lambda weights: weights.update({"lm_head.weight": embeddings.clone()}))
    assert load(folder).warnings == ()
    edit_weights(folder, lambda weights: weights.update({"lm_head.weight": 2 * embeddings}))
    loaded = load(folder)
    assert torch.equal(loaded.model.get_output_embeddings().weight, 2 * embeddings)
    assert loaded.warnings == (
        "config.json ties lm_head.weight to model.embed_tokens.weight, and the checkpoint holds different weights, "
        "which are used as stored",
    )


def test_the_sidecar_says_what_the_weights_are(folder: Path) -> None:
    before = load(folder).identity
    (folder / "evalkit.json").write_text(json.dumps({"trained": False, "tokens_seen": 7, "note": "random"}))
    loaded = load(folder)
    assert (loaded.identity.trained, loaded.tokens_seen) == (False, 7)
    assert loaded.identity.fingerprint == before.fingerprint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_dtype_that_was_named_is_used(folder: Path, dtype: str) -> None:
    loaded = load(folder, dtype=dtype)
    assert loaded.identity.dtype == dtype
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {getattr(torch, dtype)}


def test_a_half_precision_checkpoint_runs_in_fp32_on_a_cpu(tmp_path: Path) -> None:
    small_model("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert load(tmp_path).identity.dtype == "float32"


def test_shards_load_like_one_file(folder: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    small_model("llama").save_pretrained(sharded, max_shard_size="100KB")
    byte_tokenizer().save_pretrained(sharded)
    assert len(list(sharded.glob("*.safetensors"))) > 1
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert torch.equal(load(sharded).model(ids).logits, load(folder).model(ids).logits)


def test_a_reference_name_loads_its_folder(originals: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "folder", lambda name: originals({"hybrid": "olmo_hybrid"}[name]))
    assert load("reference:hybrid").identity.family == "olmo_hybrid"
    assert load("reference:hybrid").identity.path == "reference:hybrid"


# Fingerprints.


def test_the_fingerprint_stays_when_a_checkpoint_moves(folder: Path) -> None:
    before = load(folder).identity.fingerprint
    assert before.startswith("sha256:")
    assert len(before) == len("sha256:") + 64
    assert load(folder.rename(folder.parent / "moved")).identity.fingerprint == before


def test_one_weight_gives_another_fingerprint(folder: Path) -> None:
    def nudge(weights: dict[str, torch.Tensor]) -> None:
        weights["model.norm.weight"][0] += 1e-3

    before = load(folder).identity.fingerprint
    edit_weights(folder, nudge)
    assert load(folder).identity.fingerprint != before


def test_another_configuration_gives_another_fingerprint(folder: Path) -> None:
    before = load(folder).identity.fingerprint
    edit(folder, max_position_embeddings=8192)
    assert load(folder).identity.fingerprint != before


# The tokenizer alone.


def test_a_tokenizer_loads_without_weights(folder: Path) -> None:
    expected = load(folder).tokenizer.fingerprint
    (folder / "model.safetensors").unlink()
    tokenizer = load_tokenizer(ModelOptions(str(folder)))
    assert tokenizer.fingerprint == expected
    assert tokenizer.decode(tokenizer.encode("text")) == "text"


# Refusals.


def test_devices_that_are_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def visible(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    visible(0)
    assert refusal(folder, device="cuda") == "--device cuda: no CUDA device is visible here; use --device cpu"
    visible(1)
    assert refusal(folder, device="cuda:1") == "--device cuda:1: only cuda:0 is visible here; use --device cuda"
    visible(2)
    assert refusal(folder, device="cuda:2") == (
        "--device cuda:2: only 2 CUDA devices are visible here; use --device cuda"
    )


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x"])
def test_devices_that_mean_nothing(folder: Path, device: str) -> None:
    assert refusal(folder, device=device) == f"--device {device!r} is unknown; write auto, cpu, cuda or cuda:N"


@pytest.mark.parametrize("device", ["mps", "meta"])
def test_devices_that_are_not_supported(folder: Path, device: str) -> None:
    assert refusal(folder, device=device) == f"--device {device} is not supported; write auto, cpu, cuda or cuda:N"


@pytest.mark.parametrize("device", ["cuda:0,cuda:1", "balanced", "sequential"])
def test_several_devices_are_refused(folder: Path, device: str) -> None:
    assert refusal(folder, device=device) == (
        f"--device {device}: a model runs on one device; for a model larger than a GPU, start a server that spreads "
        "it, such as vllm serve --tensor-parallel-size 2, and use --server"
    )


def test_a_dtype_that_is_unknown(folder: Path) -> None:
    expected = "--dtype 'fp8' is unknown; write auto, float32, bfloat16, float16"
    assert refusal(folder, dtype="fp8") == expected


@pytest.mark.parametrize(
    ("family", "remedy"),
    [("olmo-hybrid", "did you mean 'olmo_hybrid'?"), ("wxyz", "install a newer transformers")],
)
def test_an_unknown_architecture(folder: Path, family: str, remedy: str) -> None:
    edit(folder, model_type=family)
    version = transformers.__version__
    assert refusal(folder) == f"architecture {family!r} is unknown to transformers {version}; {remedy}"


def test_code_of_a_checkpoint_is_not_run_unasked(folder: Path) -> None:
    edit(folder, model_type="custom", auto_map={"AutoConfig": "custom.Config", "AutoModelForCausalLM": "custom.Model"})
    (folder / "custom.py").write_text("raise SystemExit('this ran')")
    assert refusal(folder) == (
        "architecture 'custom' comes with its own Python code; read it, then pass --trust-remote-code"
    )


@pytest.fixture
def _module_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """transformers copies trusted code into a folder on its import path, which is a temporary one here."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        del sys.modules[name]


@pytest.mark.usefixtures("_module_cache")
def test_code_of_a_checkpoint_runs_when_it_is_trusted_and_counts_for_the_fingerprint(folder: Path) -> None:
    edit(folder, model_type="custom", auto_map={"AutoConfig": "custom.Config", "AutoModelForCausalLM": "custom.Model"})
    code = (
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class Config(LlamaConfig):\n    model_type = 'custom'\n"
        "class Model(LlamaForCausalLM):\n    config_class = Config\n"
    )
    (folder / "custom.py").write_text(code)
    loaded = load(folder, trust_remote_code=True)
    assert type(loaded.model).__name__ == "Model"
    assert loaded.identity.family == "custom"
    (folder / "custom.py").write_text(code + "# another line\n")
    assert load(folder, trust_remote_code=True).identity.fingerprint != loaded.identity.fingerprint


def test_a_family_that_is_no_causal_language_model(folder: Path) -> None:
    edit(folder, model_type="vit")
    assert refusal(folder) == "'vit' is not a causal language model; name one that continues text"


def tiny_bert(folder: Path) -> None:
    config = BertConfig(
        vocab_size=288, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertForMaskedLM(config).save_pretrained(folder)


def tiny_classifier(folder: Path) -> None:
    config = GPT2Config(vocab_size=288, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
    GPT2ForSequenceClassification(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("save", "problem"),
    [
        (tiny_bert, "its weights are a BertForMaskedLM, not a causal language model (BertLMHeadModel)"),
        (
            tiny_classifier,
            "its weights are a GPT2ForSequenceClassification, not a causal language model (GPT2LMHeadModel)",
        ),
    ],
    ids=["masked", "classifier"],
)
def test_weights_of_another_kind_of_model(tmp_path: Path, save: Callable[[Path], None], problem: str) -> None:
    save(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert refusal(tmp_path) == f"{problem}; name one that continues text"


def test_architectures_that_are_no_names(folder: Path) -> None:
    edit(folder, architectures=[["LlamaForCausalLM"]])
    assert refusal(folder).startswith("its weights are a ['LlamaForCausalLM'], not a causal language model")


def test_a_configuration_that_transformers_refuses(folder: Path) -> None:
    edit(folder, num_hidden_layers="two")
    message = refusal(folder)
    assert message.startswith("config.json is refused by transformers (")
    assert "num_hidden_layers" in message
    assert message.endswith("); repair it")


def test_a_null_theta_where_the_family_cannot_do_without(folder: Path) -> None:
    edit(folder, rope_parameters={"rope_theta": None})
    assert refusal(folder) == (
        "config.json says rope_theta null (no positions), which transformers cannot build for llama; state the θ it "
        "was trained with"
    )


@pytest.mark.parametrize("rope_type", ["mrope", "su", "ntk", 7, ["yarn"]])
def test_a_rope_type_that_transformers_does_not_know(folder: Path, rope_type: Any) -> None:
    edit(folder, rope_parameters=..., rope_theta=10_000.0, rope_scaling={"type": rope_type, "factor": 2.0})
    message = refusal(folder)
    assert message.startswith(f"config.json has rope_type {rope_type!r}, which transformers")
    assert "for llama (it knows default, linear, " in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_act": "foo"}, "KeyError: 'foo'"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": "four"}}, "'str'"),
        ({"pad_token_id": 99_999}, "Padding_idx must be within num_embeddings"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_reported_before_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], named: str
) -> None:
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    edit(folder, **changes)
    message = refusal(folder)
    assert message.startswith("transformers cannot build what config.json describes (")
    assert named in message
    assert message.endswith("); repair it")


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_3"},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"attn_implementation": "no such thing"},
        {"return_dict": False},
        {"output_attentions": True, "output_hidden_states": True},
        {"use_cache": False},
    ],
)
def test_settings_of_a_configuration_that_the_engine_replaces_change_nothing(
    folder: Path, changes: dict[str, Any]
) -> None:
    request = Request("0", tuple(range(1, 40)), 4)
    expected = [generation.token_ids for generation in Engine(load(folder).model).generate([request])]
    edit(folder, **changes)
    loaded = load(folder)
    assert [generation.token_ids for generation in Engine(loaded.model).generate([request])] == expected
    assert loaded.warnings == ()


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 512}


def test_contexts_beyond_a_limit_are_refused_before_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(folder, rope_parameters=DYNAMIC)
    ctxs = (256, 512)
    assert load_model(ModelOptions(str(folder), device="cpu", dtype="auto"), ctxs=ctxs).warnings == ()
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    with pytest.raises(UsageError) as raised:
        load_model(ModelOptions(str(folder), device="cpu", dtype="auto"), ctxs=(512, 513, 4096))
    assert str(raised.value) == (
        f"{folder}: context 513, 4,096 is above 512 tokens, beyond which dynamic positions depend on the prompt's "
        "whole length and cannot be read in segments; use contexts of at most 512"
    )


def test_a_limit_below_the_trained_length_is_a_warning_where_contexts_are_not_known(folder: Path) -> None:
    edit(folder, rope_parameters=DYNAMIC)
    assert load(folder).warnings == (
        "prompts of more than 512 tokens will be errors: beyond them dynamic positions depend on the prompt's whole "
        "length and cannot be read in segments",
    )


def test_a_table_of_positions_ends_a_context(tmp_path: Path) -> None:
    config = GPT2Config(
        vocab_size=288, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=257, eos_token_id=258
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UsageError) as raised:
        load_model(ModelOptions(str(tmp_path), device="cpu", dtype="auto"), ctxs=(65,))
    assert str(raised.value) == (
        f"{tmp_path}: context 65 is above 64 tokens, beyond which the model's position table ends; "
        "use contexts of at most 64"
    )
    loaded = load(tmp_path)
    assert loaded.identity.positions.description == "learned absolute positions, at most 64"
    requests = [Request("in", tuple(range(60)), 4), Request("beyond", tuple(range(60)), 5)]
    errors = {generation.request_id: generation.error for generation in Engine(loaded.model).generate(requests)}
    assert errors["in"] is None
    assert errors["beyond"] == (
        "60 prompt tokens and a budget of 5 exceed 64 tokens, beyond which the model's position table ends"
    )


def test_missing_weights_are_named(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.__delitem__("lm_head.weight"))
    assert refusal(folder) == f"its weights lack lm_head.weight; {BELONG}"


def test_a_layer_too_many_in_the_configuration(folder: Path) -> None:
    edit(folder, num_hidden_layers=3)
    assert refusal(folder) == f"its weights lack 9 tensors such as model.layers.2.input_layernorm.weight; {BELONG}"


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    edit(folder, intermediate_size=100)
    assert refusal(folder) == (
        "model.layers.0.mlp.down_proj.weight has shape (64, 96), and the model that config.json describes has "
        f"(64, 100), and 5 more differ; {BELONG}"
    )


def test_weights_that_are_not_used_are_a_warning(folder: Path) -> None:
    edit(folder, num_hidden_layers=1)
    assert load(folder).warnings == (
        "the checkpoint holds 9 tensors such as model.layers.1.input_layernorm.weight, which the model does not use",
    )


def test_only_a_pickle(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == (
        "has pytorch_model.bin but no model.safetensors; only safetensors are loaded: save the model again with "
        "transformers' save_pretrained, which writes them"
    )


def test_a_damaged_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x10")
    assert refusal(folder) == (
        "model.safetensors is damaged (Error while deserializing header: header too small); download or copy it again"
    )


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert refusal(folder) == "no tokenizer; add the tokenizer.json that the model was trained with"


def test_a_tokenizer_without_vocabulary(folder: Path) -> None:
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())).save_pretrained(folder)
    assert refusal(folder) == (
        "its tokenizer has no vocabulary; add the tokenizer.json that the model was trained with"
    )


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    words = Tokenizer(models.WordLevel({f"word{index}": index for index in range(1000)}, unk_token="word0"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    assert refusal(folder) == (
        "its tokenizer has 1,000 tokens and the model only 288; add the tokenizer.json that the model was trained with"
    )


def test_a_model_that_does_not_fit_its_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate …")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**30, 4 * 2**30))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", full)
    assert refusal(folder, device="cuda", dtype="float32") == (
        "its weights take 0.0 GiB as stored, and of the 4.0 GiB of cuda:0 only 1.0 are free; free more, or use "
        "--dtype bfloat16 or --device cpu; for a model larger than a GPU, start a server that spreads it, such as vllm "
        "serve --tensor-parallel-size 2, and use --server"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_go_straight_to_their_device(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in several files, loaded in the way used for a GPU: the same model, with unwrapped modules."""
    model = small_model(family)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    byte_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    monkeypatch.setattr("model_adapters.building.device_map", lambda place: {"": place})
    loaded = load_model(ModelOptions(str(tmp_path), device="cpu", dtype="float32"))
    for (name, found), (_, expected) in zip(loaded.model.state_dict().items(), model.state_dict().items(), strict=True):
        assert torch.equal(found, expected), name
    assert not any(hasattr(module, "_hf_hook") for module in loaded.model.modules())


def test_a_device_that_fails_after_the_weights_were_read_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, place: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be …")

    monkeypatch.setattr("model_adapters.loading.find_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr("model_adapters.building.device_map", lambda place: None)
    monkeypatch.setattr(transformers.PreTrainedModel, "to", broken)
    assert refusal(folder, dtype="float32") == (
        f"transformers cannot load it (CUDA error: device-side assert triggered); {BELONG}"
    )


def test_memory_of_the_host_that_runs_out_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", full)
    assert refusal(folder) == "its weights take 0.0 GiB as stored, more than cpu has free; free more"


def test_weights_of_a_gpu_are_mapped_to_it() -> None:
    cuda = torch.device("cuda", 1)
    assert device_map(cuda) == {"": cuda}
    assert device_map(torch.device("cpu")) is None
