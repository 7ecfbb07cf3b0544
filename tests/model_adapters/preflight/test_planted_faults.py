"""Healthy models pass in every dtype, and each planted fault is named."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.errors import UsageError
from evalkit.records import ModelIdentity, PositionScheme, PreflightCheck
from evalkit.running.model_options import ModelOptions
from model_adapters.engine.forward import probe
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.probe import ProbeStep
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.memory.linear_state import LinearState
from model_adapters.engine.memory.passes import Pass
from model_adapters.loading import load_model
from model_adapters.preflight import Subject, full_preflight, refuse_stopped, short_preflight
from model_adapters.preflight.reference_pass import CHUNK_RULE
from model_adapters.tokenizer import HfTokenizer
from tests.model_adapters.preflight.other_families import REFUSED_FAMILIES, other_model
from tests.model_adapters.small_models import FAMILIES, byte_tokenizer, save_small_checkpoint

FULL = {
    "positions", "trained length", "tokenizer", "special tokens", "memory", "kernels", "segments", "prefix reuse",
    "branches", "batch", "padding", "first layers",
}  # fmt: skip


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("hybrid"), "olmo_hybrid")


def subject(folder: Path, dtype: str = "float32") -> Subject:
    loaded = load_model(ModelOptions(str(folder), device="cpu", dtype=dtype))
    return Subject(loaded.model, loaded.tokenizer, loaded.identity)


def other_subject(family: str) -> Subject:
    identity = ModelIdentity(family, family, "", "", "float32", PositionScheme("none", "none"), 4096, 1)
    tokenizer = HfTokenizer(byte_tokenizer().backend_tokenizer, name="bytes")
    return Subject(other_model(family), tokenizer, identity)


def stopped(checks: Sequence[PreflightCheck]) -> set[str]:
    return {check.name for check in checks if check.outcome == "stop"}


def named(checks: Sequence[PreflightCheck], name: str) -> PreflightCheck:
    (check,) = [check for check in checks if check.name == name]
    return check


@pytest.mark.parametrize("family", FAMILIES)
def test_a_healthy_model_passes(tmp_path: Path, family: str) -> None:
    checks = full_preflight(subject(save_small_checkpoint(tmp_path / "model", family)), 400)
    windows = {"window border"} if family == "olmo3" else set()
    assert {check.name for check in checks} == FULL | windows
    assert stopped(checks) == set()
    assert all(check.relative_gap < 1e-4 for check in checks if check.relative_gap is not None)
    json.dumps([check.logit_gap for check in checks], allow_nan=False)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_alone_does_not_stop(hybrid: Path, dtype: str) -> None:
    checks = full_preflight(subject(hybrid, dtype), 400)
    assert stopped(checks) == set()
    assert (named(checks, "kernels").relative_gap or 0) > 1e-4


def test_an_injected_theta_is_named(tmp_path: Path) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "olmo_hybrid")
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(config))
    checks = full_preflight(subject(folder), 400)
    assert stopped(checks) == {"positions"}
    assert "θ=10000 is injected by transformers: the checkpoint states none" in named(checks, "positions").statement
    with pytest.raises(UsageError, match=r"preflight stops at positions.*--skip-preflight"):
        refuse_stopped("model", short_preflight(subject(folder)))


def test_a_dropped_padding_mask_is_named(hybrid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = subject(hybrid)
    monkeypatch.setattr(
        f"{type(checked.model).__module__}.apply_mask_to_padding_states",
        lambda hidden_states, attention_mask: hidden_states,
    )
    checks = full_preflight(checked, 400)
    assert stopped(checks) == {"padding"}
    assert (named(checks, "padding").logit_gap or 0) > 1e-2


@pytest.mark.parametrize("fault", ["convolution", "recurrence"])
def test_a_state_lost_between_segments_is_named(hybrid: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "convolution":
        roll = LinearState.roll_conv

        def forgetful(self: LinearState, rows: slice, x_BCT: torch.Tensor, **options: Any) -> torch.Tensor:
            return roll(self, rows, x_BCT, **{**options, "continued": False})

        monkeypatch.setattr(LinearState, "roll_conv", forgetful)
    else:
        keep = LinearState.set_recurrent

        def forget(self: LinearState, rows: slice, state: torch.Tensor, *, index: int) -> torch.Tensor:
            return keep(self, rows, torch.zeros_like(state), index=index)

        monkeypatch.setattr(LinearState, "set_recurrent", forget)
    checks = short_preflight(subject(hybrid))
    assert "segments" in stopped(checks)
    assert "kernels" not in stopped(checks)
    assert named(checks, "segments").first_departing_layer == 0


def swapped(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule with beta and the decay in each other's place: same shapes, nothing raises."""

    def with_gates_swapped(*tensors: torch.Tensor, g: torch.Tensor, beta: torch.Tensor, **options: Any) -> Any:
        return rule(*tensors, g=-beta, beta=g.exp(), **options)

    return with_gates_swapped


def test_a_kernel_with_swapped_gates_is_named(hybrid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = subject(hybrid)
    module = sys.modules[type(checked.model).__module__]
    monkeypatch.setattr(module, CHUNK_RULE, swapped(getattr(module, CHUNK_RULE)))
    checks = full_preflight(checked, 400)
    assert stopped(checks) == {"kernels", "first layers", "batch"}
    assert named(checks, "kernels").first_departing_layer == 0
    assert "layer 0 is the first to depart" in named(checks, "kernels").statement


def test_a_fault_in_a_later_layer_is_placed_there(hybrid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = Pass.append

    def corrupt(self: Pass, layer_index: int, k: torch.Tensor, v: torch.Tensor) -> Any:
        return append(self, layer_index, k, v.flip(-1))

    monkeypatch.setattr(Pass, "append", corrupt)
    check = named(short_preflight(subject(hybrid)), "kernels")
    # The only attention layer of the small hybrid is its last.
    assert (check.outcome, check.first_departing_layer) == ("stop", 3)


def test_a_copied_prefix_that_misses_a_state_is_named(hybrid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = LinearState.tensors
    monkeypatch.setattr(LinearState, "tensors", lambda self, slot: tensors(self, slot)[:-1])
    assert stopped(short_preflight(subject(hybrid))) == {"prefix reuse"}


def test_logits_that_are_not_finite_stop(hybrid: Path) -> None:
    checked = subject(hybrid)
    with torch.no_grad():
        checked.model.get_output_embeddings().weight[3] = float("nan")
    checks = short_preflight(checked)
    assert "kernels" in stopped(checks)
    assert named(checks, "kernels").logit_gap is None


def test_what_does_not_fit_is_said(hybrid: Path) -> None:
    checks = full_preflight(subject(hybrid), 10**12)
    assert "memory" in stopped(checks)
    assert named(checks, "trained length").outcome == "note"


def test_attention_that_reads_the_cache_past_what_a_layer_makes_of_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ProbeStep.layout

    def untransformed(self: ProbeStep) -> MemoryLayout:
        measured = layout(self)
        return replace(measured, layers=tuple(replace(layer, transformed=False) for layer in measured.layers))

    assert stopped(short_preflight(other_subject("diffllama"))) == set()
    monkeypatch.setattr(ProbeStep, "layout", untransformed)
    assert stopped(short_preflight(other_subject("diffllama"))) == {"kernels"}


def test_a_window_that_is_off_by_one_is_named_however_long_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_small_checkpoint(tmp_path / "model", "olmo3", sliding_window=4096)
    assert stopped(short_preflight(subject(folder))) == set()
    window = probe.causal_window
    monkeypatch.setattr(probe, "causal_window", lambda *mask: (found := window(*mask)) and found - 1)
    assert stopped(short_preflight(subject(folder))) == {"window border"}


@pytest.mark.parametrize("family", REFUSED_FAMILIES)
def test_a_family_that_the_engine_does_not_run_is_refused_by_name(family: str) -> None:
    (check,) = short_preflight(other_subject(family))
    assert (check.name, check.outcome) == ("family", "stop")
    assert check.statement.startswith(f"{family}: ")
    assert "\n" not in check.statement
    with pytest.raises(UsageError) as refused:
        refuse_stopped("model", (check,))
    assert "skip" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("shape mismatch\nat more length"), "RuntimeError: shape mismatch"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), "out of memory"),
    ],
)
def test_what_a_pass_raises_stops_in_one_line(
    hybrid: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(ModelRunner, "branch", fail)
    checks = short_preflight(subject(hybrid))
    assert stopped(checks) == {"branches"}
    assert named(checks, "branches").statement == said


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_experts_that_nearly_tie_do_not_stop_in_half_precision(dtype: torch.dtype) -> None:
    """Rounding sends tokens to other experts; the engine loses no more by that than transformers' own code does."""
    checked = other_subject("granitemoehybrid")
    checks = short_preflight(Subject(checked.model.to(dtype), checked.tokenizer, checked.identity))
    assert stopped(checks) == set()


def test_in_bf16_values_that_are_a_tenth_too_large_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of less than a tenth of the logits, which a mixture of experts may lose by rounding alone."""
    folder = save_small_checkpoint(tmp_path / "model", "llama")
    append = Pass.append

    def scaled(self: Pass, layer_index: int, k: torch.Tensor, v: torch.Tensor) -> Any:
        return append(self, layer_index, k, 1.1 * v)

    assert stopped(short_preflight(subject(folder, "bfloat16"))) == set()
    monkeypatch.setattr(Pass, "append", scaled)
    check = named(short_preflight(subject(folder, "bfloat16")), "kernels")
    assert (check.outcome, check.first_departing_layer) == ("stop", 0)
    assert (check.relative_gap or 1) < 0.1
