"""The kernels inside transformers' modules: accepted if right, rejected if wrong, and the engine's answers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from model_adapters.engine.engine import Engine
from model_adapters.engine.fast_modules.gated_delta_net import fast_forward, gated_delta_layers
from model_adapters.engine.fast_modules.gated_delta_trial import find_fault
from model_adapters.engine.fast_modules.linear import place_vector_products
from model_adapters.engine.fast_modules.merged_linear import ROW_MULTIPLE, merge_projections
from model_adapters.engine.fast_modules.norms_and_mlps import ROTATE, place_elementwise
from model_adapters.engine.fast_modules.olmo_attention import place_fused_projections
from model_adapters.engine.fast_modules.olmo_layers import place_fused_layers
from model_adapters.engine.fast_modules.rotary_tables import place_rotary_tables
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.passes import Pass
from model_adapters.engine.memory.rows import Row
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.kernels import kernel_cache
from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.trial import LAYER_TOLERANCE, gap
from model_adapters.kernels.vector_product import linear
from model_adapters.module_patches import patches_of
from tests.model_adapters.engine.prompts import make_requests, random_prompt, transformers_generate
from tests.model_adapters.families.recipes import build
from tests.model_adapters.kernels.gated_delta.cases import DEVICE
from tests.model_adapters.small_models import small_model

HYBRIDS = ("olmo_hybrid", "qwen3_next")

ONE_LAYER_OF_EACH_KIND: dict[str, dict[str, Any]] = {
    "olmo_hybrid": {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]},
    "qwen3_next": {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]},
    "olmo3": {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]},
    "llama": {"num_hidden_layers": 1},
}
"""Sizes for models that the interpreter runs whole, at milliseconds per program."""


def place_layers(model: Any) -> None:
    for layer in gated_delta_layers(model):
        patches_of(model).place(layer, "forward", fast_forward(layer))


def place_all(model: Any) -> None:
    """As `choose_kernels` does on a GPU."""
    for place in (place_vector_products, place_elementwise, place_rotary_tables, place_fused_projections):
        place(model, patches_of(model))
    place_layers(model)
    place_fused_layers(model, patches_of(model), fast_rule=True)


def prefill(model: Any, token_ids: tuple[int, ...], segment_tokens: int) -> torch.Tensor:
    runner = ModelRunner(model)
    cache = runner.new_cache(slots=1, max_tokens=len(token_ids))
    return runner.prefill(cache, 0, token_ids, segment_tokens)


@pytest.mark.parametrize(("family", "layer"), [("olmo_hybrid", "linear_attn"), ("olmo3", "self_attn")])
def test_processes_that_place_the_same_kernels_describe_them_alike(family: str, layer: str) -> None:
    models = [small_model(family, **ONE_LAYER_OF_EACH_KIND[family]).to(DEVICE) for _ in range(2)]
    for model in models:
        place_all(model)
    first, second = (patches_of(model).described(model) for model in models)
    assert first == second
    assert {"model.norm", "model.layers.0", f"model.layers.0.{layer}"} <= {line.split()[0] for line in first}
    assert all("model_adapters.engine.fast_modules." in line for line in first)


@pytest.mark.parametrize("family", HYBRIDS)
def test_layers_agree_with_the_models_own(family: str) -> None:
    model = small_model(family).to(DEVICE)
    layers = gated_delta_layers(model)
    assert len(layers) == model.config.layer_types.count("linear_attention")
    assert find_fault(model, layers[0]) is None


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ("convolve_segment", "olmo_hybrid"),
        ("rms_norm", "olmo_hybrid"),
        ("prefill_gated_delta_rule", "olmo_hybrid"),
        ("mix_token", "olmo_hybrid"),
        # With fewer key heads than value heads, a token takes a launch for each operator.
        ("step_gated_delta_rule", "qwen3_next"),
    ],
)
def test_a_wrong_kernel_is_found(part: str, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from model_adapters.kernels.causal_convolution import triton_convolution
    from model_adapters.kernels.elementwise import triton_elementwise
    from model_adapters.kernels.gated_delta import triton_decode, triton_mixing, triton_prefill

    modules = (triton_convolution, triton_elementwise, triton_prefill, triton_decode, triton_mixing)
    owner = next(code for code in modules if hasattr(code, part))
    monkeypatch.setattr(owner, part, _spoiled(getattr(owner, part)))
    model = small_model(family).to(DEVICE)
    fault = find_fault(model, gated_delta_layers(model)[0])
    assert fault is not None
    assert "\n" not in fault
    assert " is off by " in fault


def _spoiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    def spoiled(*args: Any, **kwargs: Any) -> Any:
        result = kernel(*args, **kwargs)
        out = result[0] if isinstance(result, tuple) else result
        # Change one token of the segment, or one head; a factor on everything would be lost in the norm.
        one = out.select(1, -1)
        one.copy_(one.flip(-1))
        return result

    return spoiled


def test_a_kernel_that_does_not_compile_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from model_adapters.kernels.gated_delta import triton_prefill

    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError("PassManager::run failed\nat line 3")

    monkeypatch.setattr(triton_prefill, "prefill_gated_delta_rule", refused)
    model = small_model("olmo_hybrid").to(DEVICE)
    fault = find_fault(model, gated_delta_layers(model)[0])
    assert fault == "the rule does not run here (RuntimeError: PassManager::run failed)"


@pytest.mark.parametrize(("family", "lengths"), [("olmo_hybrid", (45, 1)), ("qwen3_next", (37,))])
def test_answers_are_those_of_transformers(family: str, lengths: tuple[int, ...]) -> None:
    requests = make_requests(lengths, budget=2)
    sizes = ONE_LAYER_OF_EACH_KIND[family]
    model = small_model(family, **sizes).to(DEVICE)
    place_layers(model)
    place_elementwise(model, patches_of(model))
    engine = Engine(model, segment_tokens=30, slots=2)
    found = {generation.request_id: generation.token_ids for generation in engine.generate(requests)}
    patches_of(model).clear()
    assert found == {request.id: transformers_generate(family, request, **sizes) for request in requests}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("olmo_hybrid", {"OlmoHybridMLP", "OlmoHybridRMSNorm", "OlmoHybridRMSNormGated", ROTATE}),
        ("olmo3", {"Olmo3MLP", "Olmo3RMSNorm", ROTATE}),
        ("llama", {"LlamaMLP", "LlamaRMSNorm", ROTATE}),
        ("qwen3_next", {"Qwen3NextMLP", "Qwen3NextRMSNorm", "Qwen3NextRMSNormGated", ROTATE}),
    ],
)
def test_elementwise_modules_are_found_by_what_they_compute(family: str, expected: set[str]) -> None:
    token_ids = random_prompt(40)
    model = small_model(family).to(DEVICE)
    # With weights of one, a norm that adds one to its weight would pass for one that only scales.
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)
    own = prefill(model, token_ids, 40)
    try:
        assert set(place_elementwise(model, patches_of(model))) == expected
        torch.testing.assert_close(prefill(model, token_ids, 40), own, atol=1e-4, rtol=1e-4)
        with patches_of(model).off():
            assert torch.equal(prefill(model, token_ids, 40), own)
    finally:
        patches_of(model).clear()


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The verdicts of earlier processes on this device, none at first."""
    agreements = kernel_cache.Agreements({"gpu": "of a test"})
    monkeypatch.setattr(kernel_cache, "REMEMBERED_DEVICES", (DEVICE,))
    monkeypatch.setattr(kernel_cache, "_agreements", lambda _: agreements)
    return agreements.names


@pytest.mark.parametrize("family", ["qwen3_next", "olmo_hybrid"])
def test_a_remembered_verdict_is_that_of_the_same_kernel(family: str, remembered: set[str]) -> None:
    """Of the two kernels for norms, only the other one agrees with qwen3_next's, which scale by 1 + weight."""
    token_ids = random_prompt(9)
    for _ in range(2):
        model = small_model(family).to(DEVICE)
        own = prefill(model, token_ids, 9)
        known = set(remembered)
        try:
            place_elementwise(model, patches_of(model))
            torch.testing.assert_close(prefill(model, token_ids, 9), own, atol=1e-4, rtol=1e-4)
        finally:
            patches_of(model).clear()
    assert known
    assert remembered == known


def test_a_remembered_verdict_is_that_of_the_same_activation(remembered: set[str]) -> None:
    """Checkpoints of one class and size differ in what their configurations set."""
    placed = []
    for activation in ("silu", "relu", "silu"):
        model = small_model("llama", hidden_act=activation).to(DEVICE)
        placed.append("LlamaMLP" in place_elementwise(model, patches_of(model)))
        patches_of(model).clear()
    assert placed == [True, False, True]


@pytest.mark.parametrize(("family", "norm"), [("gemma3n_text", "Gemma3nRMSNorm"), ("gemma4_text", "Gemma4RMSNorm")])
def test_norms_without_a_weight_stay_beside_those_with_one(family: str, norm: str) -> None:
    """In families whose layers, in one of them, also differ in head size."""
    token_ids = random_prompt(9)
    model = build(family).to(DEVICE)
    own = prefill(model, token_ids, 9)
    try:
        assert norm in place_elementwise(model, patches_of(model))
        torch.testing.assert_close(prefill(model, token_ids, 9), own, atol=1e-4, rtol=1e-4)
    finally:
        patches_of(model).clear()


def test_a_module_that_computes_something_else_keeps_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("llama").to(DEVICE)
    kind = type(model.model.norm)
    monkeypatch.setattr(kind, "forward", lambda self, x: self.weight * x)
    placed = place_elementwise(model, patches_of(model))
    assert kind.__name__ not in placed
    assert "LlamaMLP" in placed
    patches_of(model).clear()


@pytest.mark.parametrize("family", ["olmo_hybrid", "qwen3_next", "olmo3", "llama"])
def test_single_tokens_on_the_vector_product(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "KERNEL_DEVICES", (DEVICE,))
    sizes = {**ONE_LAYER_OF_EACH_KIND[family], "hidden_size": 32, "intermediate_size": 48}
    model = small_model(family, **sizes).to(DEVICE)
    linear_layers = sum(type(module) is torch.nn.Linear for module in model.modules())
    # All except the output embeddings, which the engine computes itself.
    assert place_vector_products(model, patches_of(model)) == linear_layers - 1
    assert any("MLP" in name for name in place_elementwise(model, patches_of(model)))
    place_layers(model)
    place_fused_projections(model, patches_of(model))
    place_fused_layers(model, patches_of(model), fast_rule=True)
    requests = make_requests((20,), 3)
    (completion,) = Engine(model).generate(requests)
    assert completion.token_ids == transformers_generate(family, requests[0], **sizes)


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_layers_with_their_residual_sums(family: str) -> None:
    model, token_ids = small_model(family, **ONE_LAYER_OF_EACH_KIND[family]).to(DEVICE), random_prompt(20)
    patches = patches_of(model)
    expected = prefill(model, token_ids, 20)
    assert place_fused_layers(model, patches, fast_rule=True) == 0  # there is nothing yet to fuse them into
    place_elementwise(model, patches)
    place_layers(model)
    attention_layers = len(model.config.layer_types) - model.config.layer_types.count("linear_attention")
    assert place_fused_projections(model, patches) == attention_layers
    assert place_fused_layers(model, patches, fast_rule=True) == len(model.config.layer_types)
    for segment_tokens in (20, 7):
        assert torch.allclose(prefill(model, token_ids, segment_tokens), expected, atol=1e-4)
    # The merged weights lie elsewhere in memory, for which cuBLAS may choose another kernel.
    tolerance = 0.0 if DEVICE == "cpu" else 1e-5
    with patches.off():
        assert torch.allclose(prefill(model, token_ids, 20), expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_the_last_layer_has_queries_for_read_tokens_only(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, token_ids = small_model(family, **ONE_LAYER_OF_EACH_KIND[family]).to(DEVICE), random_prompt(20)
    patches, layer = patches_of(model), model.get_decoder().layers[-1]
    expected = prefill(model, token_ids, 20)
    place_elementwise(model, patches)
    place_fused_projections(model, patches)
    place_fused_layers(model, patches, fast_rule=False)
    projected: list[int] = []
    own = layer.self_attn.o_proj.forward
    monkeypatch.setattr(layer.self_attn.o_proj, "forward", lambda x: (projected.append(x.shape[1]), own(x))[1])
    runner = ModelRunner(model)
    projected.clear()
    cache = runner.new_cache(slots=1, max_tokens=20)
    assert torch.allclose(runner.prefill(cache, 0, token_ids, 8), expected, atol=1e-4)
    assert projected == [0, 0, 1]
    # Where a text is scored, all tokens' outputs are read.
    cache.reset(0)
    outputs = torch.cat([output.last_hidden_state for output in runner.segments(cache, 0, token_ids, 8)], dim=1)
    assert projected[3:] == [8, 8, 4]
    patches.clear()
    (whole,) = runner.segments(runner.new_cache(slots=1, max_tokens=20), 0, token_ids, 20)
    assert torch.allclose(outputs, whole.last_hidden_state, atol=1e-4)


def test_a_wrong_norm_and_rotation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from model_adapters.kernels.elementwise import triton_norm_rotate

    right = triton_norm_rotate.norm_rotate

    def wrong(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        q, k = right(*args, **kwargs)
        return q, 1.1 * k

    model = small_model("olmo3").to(DEVICE)
    monkeypatch.setattr(triton_norm_rotate, "norm_rotate", wrong)
    assert place_fused_projections(model, patches_of(model)) == 0


@pytest.mark.parametrize("spoiled", [False, True])
def test_tokens_are_stored_by_the_launch_of_their_norms(spoiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full attention and in a window's ring that wraps around, unless the kernel gives something else."""
    from model_adapters.kernels.elementwise import triton_norm_rotate

    right, calls = triton_norm_rotate.norm_rotate_store, []

    def stored(*args: Any, places: TokenPlaces, **kwargs: Any) -> torch.Tensor:
        calls.append(places)
        out = right(*args, places=places, **kwargs)
        if spoiled:
            places.v_NGME.mul_(1.1)
        return out

    monkeypatch.setattr(triton_norm_rotate, "norm_rotate_store", stored)
    layers = ["sliding_attention", "full_attention"]
    sizes = {"num_hidden_layers": 2, "layer_types": layers, "sliding_window": 9, "num_key_value_heads": 2}
    model = small_model("olmo3", **sizes).to(DEVICE)
    assert place_fused_projections(model, patches_of(model)) == 2
    calls.clear()
    found = decoded(model, lengths=(8, 3), steps=3)
    assert bool(calls) is not spoiled
    with patches_of(model).off():
        assert torch.allclose(found, decoded(model, lengths=(8, 3), steps=3), atol=1e-4)


def decoded(model: Any, *, lengths: tuple[int, ...], steps: int) -> torch.Tensor:
    """Logits of steps of the same tokens behind prompts of these lengths."""
    runner, tokens = ModelRunner(model), random_prompt(steps)
    cache = runner.new_cache(slots=len(lengths) + 1, max_tokens=max(lengths) + steps)
    for slot, length in enumerate(lengths):
        runner.prefill(cache, slot, random_prompt(length), length)
    ids_B1 = torch.tensor([tokens] * len(lengths), device=DEVICE)
    return torch.stack(
        [runner.decode(cache, ids_B1[:, step : step + 1], max(cache.lengths) + 1) for step in range(steps)]
    )


def test_merged_projections_are_the_layers_own_weights() -> None:
    model = small_model("olmo_hybrid").to(DEVICE)
    layer: Any = gated_delta_layers(model)[0]
    before = {name: parameter.clone() for name, parameter in layer.named_parameters()}
    groups = ((layer.q_proj, layer.k_proj), (layer.g_proj,))
    merged = merge_projections(layer, groups)
    assert merged is not None
    assert all(torch.equal(parameter, before[name]) for name, parameter in layer.named_parameters())
    assert all(end % ROW_MULTIPLE == 0 for end in merged.ends)
    assert torch.equal(merged.weight_ND[merged.rows[0][1]], layer.k_proj.weight)
    assert merge_projections(layer, groups) is merged
    layer.k_proj.weight.data = layer.k_proj.weight.clone()
    assert not merged.is_current
    assert merge_projections(layer, groups) is not merged


def test_unlike_projections_are_not_merged() -> None:
    owner = torch.nn.Module()
    first, biased = torch.nn.Linear(8, 4, bias=False), torch.nn.Linear(8, 4)
    assert merge_projections(owner, ((first, biased),)) is None
    assert merge_projections(owner, ((first,), (torch.nn.Linear(8, 4, bias=False).half(),))) is None
    assert merge_projections(owner, ((first,), (torch.nn.Linear(16, 4, bias=False),))) is None


def test_rows_of_a_pass_are_what_each_of_them_is_by_itself() -> None:
    """Kept rows of different lengths, fresh and continued, together with branches of another slot."""
    layers = ["linear_attention", "full_attention"]
    model = small_model("olmo_hybrid", num_hidden_layers=2, layer_types=layers).to(DEVICE)
    place_layers(model)
    runner = ModelRunner(model)

    def filled() -> SlottedCache:
        cache = runner.new_cache(slots=5, max_tokens=120)
        runner.prefill(cache, 1, random_prompt(9, seed=1), 9)
        runner.prefill(cache, 3, random_prompt(12, seed=3), 12)
        return cache

    together, alone = filled(), filled()
    rows = [Row(0, 0, 66), Row(1, 9, 20), Row(2, 0, 5), Row(3, 12, 9, keeps=False), Row(3, 12, 7, keeps=False)]
    rows.append(Row(4, 0, 2))  # shorter than the convolution's kernel
    texts = [random_prompt(row.tokens, seed=seed) for seed, row in enumerate(rows)]

    def logits(cache: SlottedCache, rows: list[Row], texts: list[tuple[int, ...]]) -> torch.Tensor:
        step = Pass(cache, rows)
        output = runner.run(step, torch.tensor([[token_id for text in texts for token_id in text]], device=DEVICE))
        step.advance()
        return runner.logits_of(output, output.last_hidden_state[:, step.last_places])

    found = logits(together, rows, texts)
    expected = torch.cat([logits(alone, [row], [text]) for row, text in zip(rows, texts, strict=True)])
    # Kernels on a GPU split fp32 operands.
    allowed = 1e-4 if DEVICE == "cpu" else LAYER_TOLERANCE[torch.float32]
    assert gap(found, expected) <= allowed
    id_B1 = torch.tensor([[5], [6], [7], [8], [9]], device=DEVICE)
    decoded = [runner.decode(cache, id_B1, max(cache.lengths) + 1) for cache in (together, alone)]
    assert gap(*decoded) <= allowed
    patches_of(model).clear()
