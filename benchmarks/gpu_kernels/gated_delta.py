"""Jobs on the gated delta rule at the sizes of one layer of the OLMo Hybrid 7B shape."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.gpu_kernels.rows import TOLERANCE, Rows, name_of
from model_adapters.kernels.gated_delta.arguments import RawGates
from model_adapters.kernels.gated_delta.reference import (
    beta_from_input,
    chunk_gated_delta_rule,
    log_decay_from_input,
    recurrent_gated_delta_rule,
)
from model_adapters.kernels.gated_delta.triton_decode import step_gated_delta_rule
from model_adapters.kernels.gated_delta.triton_prefill import (
    PrefillLaunch,
    choose_prefill_launch,
    prefill_gated_delta_rule,
)
from model_adapters.kernels.trial import gap

HEADS, KEY_SIZE, VALUE_SIZE = 30, 96, 192

Rule = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sizes of one input; log-decays lie in [-decay, 0] and betas in [lowest_beta, 2]."""

    sequences: int = 1
    tokens: int = 1000
    key_heads: int = 2
    value_heads: int = 4
    key_size: int = KEY_SIZE
    value_size: int = VALUE_SIZE
    dtype: torch.dtype = torch.bfloat16
    decay: float = 0.1
    lowest_beta: float = 0.0

    def __str__(self) -> str:
        heads = f"{self.key_heads}/{self.value_heads} heads {self.key_size}/{self.value_size}"
        gates = f"decay {self.decay:g} beta > {self.lowest_beta:g}"
        return f"B {self.sequences} T {self.tokens} {heads} {name_of(self.dtype)} {gates}"


WIDE = Case(key_heads=HEADS, value_heads=HEADS)


def make_inputs(case: Case) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """q, k, v as views of one projection, as a model has them, and the gates and the state by keyword."""
    generator = torch.Generator("cuda").manual_seed(case.tokens)
    shape = (case.sequences, case.tokens)
    key_width, value_width = case.key_heads * case.key_size, case.value_heads * case.value_size
    mixed = torch.randn(*shape, 2 * key_width + value_width, device="cuda", generator=generator)
    q, k, v = F.silu(mixed).to(case.dtype).split([key_width, key_width, value_width], dim=-1)
    gates = torch.rand(2, *shape, case.value_heads, device="cuda", generator=generator)
    state_shape = (case.sequences, case.value_heads, case.key_size, case.value_size)
    return [
        q.unflatten(-1, (case.key_heads, case.key_size)),
        k.unflatten(-1, (case.key_heads, case.key_size)),
        v.unflatten(-1, (case.value_heads, case.value_size)),
    ], {
        "log_decay_BTH": -case.decay * gates[0],
        "beta_BTH": case.lowest_beta + (2 - case.lowest_beta) * gates[1],
        "initial_state_BHKV": torch.randn(state_shape, device="cuda", generator=generator),
    }


def errors_of(case: Case, rule: Rule) -> dict[str, float]:
    qkv, rest = make_inputs(case)
    truth, truth_state = chunk_gated_delta_rule(*(x.double() for x in qkv), **rest)
    out, state = rule(*qkv, **rest)
    return {"out": gap(out, truth), "state": gap(state, truth_state)}


def poisoned(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **rest: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernels' results, written over NaN."""
    out = torch.full(v.shape, torch.nan, dtype=v.dtype, device=v.device)
    final = torch.full((v.shape[0], v.shape[2], k.shape[3], v.shape[3]), torch.nan, device=v.device)
    return prefill_gated_delta_rule(q, k, v, **rest, out_BTHV=out, final_state_BHKV=final)


def in_pieces(*qkv: torch.Tensor, initial_state_BHKV: torch.Tensor, **gates: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Uneven segments, each from the final state of the one before."""
    state, outs, start = initial_state_BHKV, [], 0
    for stop in (1, 64, 200, 263, 700, qkv[0].shape[1]):
        here = slice(start, stop)
        parts = {name: gate[:, here] for name, gate in gates.items()}
        out, state = poisoned(*(x[:, here] for x in qkv), **parts, initial_state_BHKV=state)
        outs.append(out)
        start = stop
    return torch.cat(outs, dim=1), state


def check_prefill(rows: Rows, dtype: torch.dtype) -> None:
    tolerance = TOLERANCE[dtype]
    recurrence = Case(tokens=200, dtype=torch.float64)
    rows.check("gdn truth", "chunks are the recurrence", lambda: _truth_errors(recurrence), 1e-12)
    for tokens in (1, 63, 64, 65, 1000, 8192):
        case = Case(tokens=tokens, dtype=dtype)
        rows.check("gdn prefill", str(case), partial(errors_of, case, poisoned), tolerance)
    extremes = [
        Case(dtype=dtype, decay=decay, lowest_beta=low) for decay, low in ((20.0, 0.0), (0.001, 1.9), (0.0, 1.99))
    ]
    extremes.append(replace(extremes[-1], tokens=8192))
    for case in [*extremes, replace(WIDE, tokens=5000, dtype=dtype)]:
        rows.check("gdn prefill", str(case), partial(errors_of, case, poisoned), tolerance)
    split = Case(dtype=dtype)
    rows.check("gdn prefill", "uneven segments", partial(errors_of, split, in_pieces), tolerance)
    rows.check("gdn prefill", "raw gates", partial(_raw_errors, dtype), tolerance)
    wide = replace(WIDE, tokens=5000, dtype=dtype)
    rows.check(
        "gdn prefill", "pieces, prepared ahead", partial(errors_of, wide, partial(_in_pieces_of, 512)), tolerance
    )
    rows.check("gdn prefill", "five runs are one, bit by bit", partial(_differences, dtype, 8192), 0.0)
    rows.check("gdn prefill", "the same in pieces", partial(_differences, dtype, 512), 0.0)
    rows.check("gdn prefill", "swapped gates are noticed", lambda: {"1 - error": 1 - _swapped(split)}, 0.9)
    fla = fla_rule()
    if fla is not None and dtype == torch.bfloat16:
        for case in [*extremes[1:], replace(WIDE, tokens=5000)]:
            rows.check("FLA (for comparison)", str(case), partial(errors_of, case, fla), 1.0)


def _truth_errors(case: Case) -> dict[str, float]:
    qkv, rest = make_inputs(case)
    truth, truth_state = recurrent_gated_delta_rule(*qkv, **rest)
    out, state = chunk_gated_delta_rule(*qkv, **rest)
    return {"out": gap(out, truth), "state": gap(state, truth_state)}


def _raw_errors(dtype: torch.dtype) -> dict[str, float]:
    qkv, rest = make_inputs(Case(sequences=2, tokens=130, dtype=dtype))
    shape = rest["log_decay_BTH"].shape
    decay_input, beta_input = (torch.randn(shape, device="cuda").to(dtype) for _ in range(2))
    rate_log, bias = (torch.randn(shape[-1], device="cuda") for _ in range(2))
    gates = {
        "log_decay_BTH": log_decay_from_input(decay_input, decay_rate_log_H=rate_log, decay_bias_H=bias),
        "beta_BTH": beta_from_input(beta_input, beta_scale=2.0),
    }
    state = rest["initial_state_BHKV"]
    truth, truth_state = chunk_gated_delta_rule(*(x.double() for x in qkv), **gates, initial_state_BHKV=state)
    raw = RawGates(
        decay_input=decay_input, beta_input=beta_input, decay_rate_log=rate_log, decay_bias=bias, beta_scale=2.0
    )
    out, final = poisoned(*qkv, raw_gates=raw, initial_state_BHKV=state)
    return {"out": gap(out, truth), "state": gap(final, truth_state)}


def _in_pieces_of(piece_tokens: int, *qkv: torch.Tensor, **rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = choose_prefill_launch(key_size=qkv[1].shape[-1], value_size=qkv[2].shape[-1], dtype=qkv[2].dtype)
    return poisoned(*qkv, **rest, launch=replace(chosen, piece_tokens=piece_tokens))


def _differences(dtype: torch.dtype, piece_tokens: int) -> dict[str, float]:
    """Results that differ between runs indicate a race."""
    qkv, rest = make_inputs(replace(WIDE, tokens=3000, dtype=dtype))
    first, first_state = _in_pieces_of(piece_tokens, *qkv, **rest)
    worst = 0.0
    for _ in range(4):
        out, state = _in_pieces_of(piece_tokens, *qkv, **rest)
        worst = max(worst, (out != first).double().mean().item(), (state != first_state).double().mean().item())
    return {"changed": worst}


def _swapped(case: Case) -> float:
    qkv, rest = make_inputs(case)
    truth, _ = chunk_gated_delta_rule(*(x.double() for x in qkv), **rest)
    rest["log_decay_BTH"], rest["beta_BTH"] = -rest["beta_BTH"], -rest["log_decay_BTH"]
    return gap(prefill_gated_delta_rule(*qkv, **rest)[0], truth)


def check_sizes(rows: Rows) -> None:
    for key, value in ((128, 128), (64, 64), (200, 100), (256, 256)):
        case = Case(sequences=2, tokens=500, key_size=key, value_size=value)
        rows.check("gdn sizes", str(case), partial(errors_of, case, poisoned), TOLERANCE[case.dtype])


def check_far(rows: Rows) -> None:
    """Elements past 2^31: the last tokens of one projection of the 7B shape that is longer than that."""
    width = HEADS * (2 * KEY_SIZE + VALUE_SIZE)
    tokens = 2**31 // width + 3000

    def errors() -> dict[str, float]:
        mixed = torch.empty(1, tokens, width, device="cuda", dtype=torch.bfloat16).normal_()
        q, k, v = mixed.split([HEADS * KEY_SIZE, HEADS * KEY_SIZE, HEADS * VALUE_SIZE], dim=-1)
        qkv = [x.unflatten(-1, (HEADS, -1)) for x in (q, k, v)]
        log_decay = -0.1 * torch.rand(1, tokens, HEADS, device="cuda")
        beta = 2 * torch.rand(1, tokens, HEADS, device="cuda")
        out, state = poisoned(*qkv, log_decay_BTH=log_decay, beta_BTH=beta, launch=PrefillLaunch(piece_tokens=tokens))
        # With decay, tokens more than a few hundred back have no effect, so the reference needs the tail alone.
        here = slice(tokens - 4000, tokens)
        tail = {"log_decay_BTH": log_decay[:, here], "beta_BTH": beta[:, here]}
        truth, truth_state = chunk_gated_delta_rule(*(x[:, here].double() for x in qkv), **tail)
        return {"out": gap(out[:, -2000:], truth[:, -2000:]), "state": gap(state, truth_state)}

    rows.check("gdn prefill", f"addresses past 2^31 elements, T {tokens}", errors, TOLERANCE[torch.bfloat16])


def check_decode(rows: Rows) -> None:
    for dtype, tolerance in TOLERANCE.items():
        for sequences, key_size, value_size in ((1, 96, 192), (5, 128, 128), (2, 256, 256)):
            case = Case(sequences=sequences, tokens=3, key_size=key_size, value_size=value_size, dtype=dtype)
            rows.check("gdn decode", str(case), partial(errors_of, case, _steps), tolerance)


def _steps(*qkv: torch.Tensor, initial_state_BHKV: torch.Tensor, **gates: torch.Tensor) -> tuple[torch.Tensor, ...]:
    state = initial_state_BHKV.clone()
    outs = [
        step_gated_delta_rule(
            *(x[:, token] for x in qkv),
            state_BHKV=state,
            log_decay_BH=gates["log_decay_BTH"][:, token],
            beta_BH=gates["beta_BTH"][:, token],
            out_BHV=torch.full_like(qkv[2][:, token].contiguous(), torch.nan),
        )
        for token in range(qkv[0].shape[1])
    ]
    return torch.stack(outs, dim=1), state


def fla_rule() -> Rule | None:
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule as fla_chunk
    except ImportError:
        return None

    @torch.no_grad()
    def rule(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        group = v.shape[2] // q.shape[2]
        q, k = (x.repeat_interleave(group, dim=2) if group > 1 else x.contiguous() for x in (q, k))
        return fla_chunk(
            q,
            k,
            v.contiguous(),
            g=rest["log_decay_BTH"],
            beta=rest["beta_BTH"],
            initial_state=rest["initial_state_BHKV"],
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )

    return rule


def time_prefill(rows: Rows) -> None:
    rows.ceilings()
    chosen = choose_prefill_launch(key_size=KEY_SIZE, value_size=VALUE_SIZE, dtype=torch.bfloat16)
    changes: list[dict[str, object]] = [{}, {"piece_tokens": 4096}, {"scan_stages": 2}]
    fla = fla_rule()
    for tokens in (8192, 65536):
        qkv, rest = make_inputs(replace(WIDE, tokens=tokens))
        floor = {"moved_bytes": tokens * HEADS * 2 * 2 * (KEY_SIZE + VALUE_SIZE)}
        for change in changes:
            launch = PrefillLaunch(**(asdict(chosen) | change))
            name = " ".join(f"{key}={value}" for key, value in change.items()) or "as chosen"
            call = partial(prefill_gated_delta_rule, *qkv, **rest, launch=launch)
            rows.time("gdn prefill", f"T {tokens} {name}", call, **floor)
        if fla is None:
            rows.note("FLA", f"T {tokens}", "not installed")
        else:
            contiguous = [x.contiguous() for x in qkv]
            rows.time("FLA", f"T {tokens}", partial(fla, *contiguous, **rest), **floor)
        if tokens == 8192:
            rows.profile("gdn prefill", f"T {tokens}", partial(prefill_gated_delta_rule, *qkv, **rest), top=3)
