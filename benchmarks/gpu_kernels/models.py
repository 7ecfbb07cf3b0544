"""Jobs on whole layers: the kernels inside transformers' modules, at 7B widths and four layers."""

import time
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.olmo3 import Olmo3Config
from transformers.models.olmo_hybrid import OlmoHybridConfig

from benchmarks.gpu_kernels.rows import Rows
from model_adapters.engine.fast_modules.choose import choose_kernels, gdn_kernel
from model_adapters.engine.fast_modules.norms_and_mlps import place_elementwise
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.kernels.trial import gap
from model_adapters.module_patches import patches_of

SEGMENT_TOKENS = 8192
LAYERS = 4


def hybrid() -> PreTrainedModel:
    """Three Gated DeltaNet layers and one of attention, without positions."""
    config = OlmoHybridConfig(
        num_hidden_layers=LAYERS,
        layer_types=["linear_attention"] * 3 + ["full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": None},
        vocab_size=4096,
    )
    return _build(config)


def windowed() -> PreTrainedModel:
    """Three layers with sliding windows and one of full attention."""
    types = ["sliding_attention"] * 3 + ["full_attention"]
    return _build(Olmo3Config(num_hidden_layers=LAYERS, layer_types=types, vocab_size=4096))


def _build(config: Olmo3Config | OlmoHybridConfig) -> PreTrainedModel:
    config.pad_token_id = None
    torch.manual_seed(0)
    with torch.device("cuda"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return model.eval().requires_grad_(False)


def check_models(rows: Rows, make: Callable[[], PreTrainedModel]) -> None:
    """Kernels are taken, segments with them agree with the model's own code, and how long the first steps take."""
    model, name = make(), make.__name__
    started = time.perf_counter()
    lines = choose_kernels(model, "auto")
    torch.cuda.synchronize()
    rows.note("model", f"{name}: seconds to choose", time.perf_counter() - started)
    rows.note("model", f"{name}: gated delta rule", f"{gdn_kernel(model)} {' '.join(lines)}")
    rows.note("model", f"{name}: elementwise", place_elementwise(model, patches_of(model)))
    runner = ModelRunner(model)

    def errors() -> dict[str, float]:
        token_ids = torch.randint(0, 4096, (700,), generator=torch.Generator().manual_seed(0)).tolist()
        found = _prefill(runner, token_ids, 256)
        with patches_of(model).off():
            own = _prefill(runner, token_ids, 700)
        return {"logits": gap(found, own)}

    # Two bf16 passes that round in different places; a wrong kernel is off by its own size.
    rows.check("model", f"{name}: 700 tokens in segments of 256 against its own code", errors, 5e-2)
    started = time.perf_counter()
    token_ids = list(range(2 * SEGMENT_TOKENS // 8)) * 4
    _prefill(runner, token_ids, SEGMENT_TOKENS)
    torch.cuda.synchronize()
    rows.note("model", f"{name}: seconds of the first {len(token_ids)} tokens", time.perf_counter() - started)


def _prefill(runner: ModelRunner, token_ids: list[int], segment_tokens: int) -> torch.Tensor:
    cache = runner.new_cache(slots=1, max_tokens=len(token_ids))
    return runner.prefill(cache, 0, token_ids, segment_tokens)


def time_models(rows: Rows, make: Callable[[], PreTrainedModel]) -> None:
    """One segment behind three others: with the kernels and by the model's own code, and where the time goes."""
    rows.ceilings()
    model, name = make(), make.__name__
    choose_kernels(model, "auto")
    runner, cached = ModelRunner(model), 3 * SEGMENT_TOKENS
    cache = runner.new_cache(slots=1, max_tokens=cached + SEGMENT_TOKENS)
    token_ids = torch.randint(0, 4096, (cached + SEGMENT_TOKENS,)).tolist()
    runner.prefill(cache, 0, token_ids[:cached], SEGMENT_TOKENS)

    def segment() -> None:
        # The same places again and again: only the length is set back, states go on.
        cache.lengths[0] = cached
        runner.prefill(cache, 0, token_ids[cached:], SEGMENT_TOKENS)

    weights = sum(parameter.numel() for parameter in model.model.layers.parameters())
    operations = 2.0 * weights * SEGMENT_TOKENS
    case = f"{name}: {LAYERS} layers, {SEGMENT_TOKENS} tokens behind {cached}; floor of the products alone"
    base = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    rows.time("segment", case, segment, operations=operations)
    rows.note("segment", f"{name}: MiB at the peak", (torch.cuda.max_memory_allocated() - base) / 2**20)
    rows.profile("segment", name, segment, top=16)
    with patches_of(model).off():
        rows.time("segment, own code", case, segment, operations=operations)
