"""Compile the kernels of a model several at once, before they are checked and run one after another.

Its passes run with whatever is in memory where kernels would have written, so none of that may become an index: an
index out of range ends a GPU's process. Token ids, positions, slots, and tables of rows come from the host. The only
kernel that writes integers is the greedy choice, which is dropped here. transformers' own classes without experts look
nothing up by what they computed: norms, products, attention, the gated delta rule, convolutions and scans write
floating-point numbers, which only operators without indices read. Experts are chosen by computed numbers, and other
code may do anything, so such models compile as they go.
"""

import hashlib
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from evalkit.running.activity import Activity, report
from model_adapters.engine.fast_modules.choose import choose_kernels
from model_adapters.engine.forward.decode_graph import DECODE_PLACES
from model_adapters.engine.forward.decoder_layers import count_to_last_kind, first_layers_only
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.kernels.compiling import can_compile_together, compiled_together
from model_adapters.kernels.greedy_choice.choice import greedy_choice
from model_adapters.kernels.kernel_cache import checked_once, use_kernel_cache
from model_adapters.preflight.engine_passes import branch_logits, prefill_trace, prefix_cache, reused_trace

SHORT_TOKENS, LONG_TOKENS = 96, 1024
SEGMENT_TOKENS = 37
PREFIX_TOKENS = 57
BRANCH_TOKENS = (39, 11)
DECODED_SEQUENCES = (1, 3, 16)
"""Attention of single tokens, and products of few, are launched in several ways, by the number of sequences."""


def compile_ahead(model: PreTrainedModel, wanted: str, layers: Sequence[Hashable]) -> None:
    """Compile a model's kernels on its GPU, if none of its kind has compiled those of such a model yet.

    `wanted` as in `choose_kernels`, which is to be called afterwards: this checks nothing. `layers` say what each
    layer stores: of layers that store the same and have weights of the same shapes, one is enough.
    """
    if model.device.type != "cuda" or not indexes_by_given_numbers(model) or not can_compile_together():
        return
    use_kernel_cache()
    settings = hashlib.sha256(model.config.to_json_string(use_diff=False).encode()).hexdigest()[:16]
    checked_once(
        model.device, "compiled together", (settings, model.dtype, wanted), lambda: _compile(model, wanted, layers)
    )


def indexes_by_given_numbers(model: PreTrainedModel) -> bool:
    """Whether nothing that a model computes becomes an index: transformers' own code, without experts and routers."""
    own = type(model).__module__.startswith("transformers.models.")
    names = {part for name, _ in model.named_modules() for part in name.split(".")}
    return own and not any("expert" in name or "router" in name or name == "moe" for name in names)


def _compile(model: PreTrainedModel, wanted: str, layers: Sequence[Hashable]) -> None:
    report(Activity("kernels are compiled"))
    # Nothing is lost but time: what fails is found and reported when kernels are chosen and the engine runs the model.
    # Functions that a kernel does not fit, and may not be called with its arguments, are replaced here too.
    with compiled_together(model.device), suppress(Exception):
        choose_kernels(model, wanted)
        with first_layers_only(model, count_to_last_kind(model, layers)):
            runner = ModelRunner(model)
            # Whether states are continued shows in numbers, which there are none of.
            runner.layout = replace(runner.layout, continues=True)
            launch_all(runner)


def launch_all(runner: ModelRunner) -> None:
    """Run the passes of a preflight, a long prompt, and decode steps of several batch sizes, on arbitrary tokens."""
    token_ids = [index % 50 for index in range(SHORT_TOKENS)]
    for segment_tokens in (SHORT_TOKENS, SEGMENT_TOKENS):
        prefill_trace(runner, token_ids, segment_tokens)
    prefix = prefix_cache(runner, token_ids[:PREFIX_TOKENS], SEGMENT_TOKENS)
    reused_trace(runner, prefix, token_ids)
    branch_logits(runner, prefix, token_ids[PREFIX_TOKENS:], BRANCH_TOKENS)
    runner.prefill(runner.new_cache(slots=1, max_tokens=LONG_TOKENS), 0, [0] * LONG_TOKENS, LONG_TOKENS)
    for sequences in DECODED_SEQUENCES:
        cache = runner.new_cache(slots=sequences, max_tokens=DECODE_PLACES)
        runner.prefill_together(cache, 0, [token_ids[:SEGMENT_TOKENS]] * sequences)
        id_B1 = torch.zeros((sequences, 1), dtype=torch.long, device=runner.device)
        greedy_choice(runner.decode(cache, id_B1, DECODE_PLACES))
