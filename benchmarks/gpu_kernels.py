"""Check the Triton kernels on a CUDA device against fp64, then time them beside their floors and beside FLA.

    python benchmarks/gpu_kernels.py --budget-seconds 200 --json kernels.json

A kernel that is wrong is reported red and not timed; one failure does not stop the rest. Times are medians in ms.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
import triton.testing
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_adapters.kernels.chunked_attention.triton_decode import DecodeAttentionLaunch, decode_attention
from model_adapters.kernels.chunked_attention.triton_prefill import AttentionLaunch, prefill_attention
from model_adapters.kernels.gated_delta.arguments import RawGates
from model_adapters.kernels.gated_delta.reference import (
    beta_from_input,
    chunk_gated_delta_rule,
    log_decay_from_input,
    recurrent_gated_delta_rule,
)
from model_adapters.kernels.gated_delta.triton_decode import DecodeLaunch, step_gated_delta_rule
from model_adapters.kernels.gated_delta.triton_prefill import (
    PrefillLaunch,
    choose_prefill_launch,
    prefill_gated_delta_rule,
)

HEADS, KEY_SIZE, VALUE_SIZE = 30, 96, 192  # one Gated DeltaNet layer of the OLMo Hybrid 7B shape
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-3}


@dataclass(slots=True)
class Record:
    """Everything measured in one run, as it goes to JSON."""

    device: str
    versions: dict[str, str]
    ceilings: dict[str, float] = field(default_factory=dict)
    checks: list[dict[str, object]] = field(default_factory=list)
    times: list[dict[str, object]] = field(default_factory=list)
    kernels: list[dict[str, object]] = field(default_factory=list)


class Run:
    """Carries the record, the deadline and which kernels are red."""

    def __init__(self, budget_seconds: float) -> None:
        self.deadline = time.monotonic() + budget_seconds
        self.record = Record(
            device=torch.cuda.get_device_name(),
            versions={"torch": torch.__version__, "triton": triton.__version__},
        )
        self.red: set[str] = set()

    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline

    def check(self, kernel: str, case: str, errors: Callable[[], dict[str, float]], tolerance: float) -> None:
        """Run one comparison; anything but small finite errors makes the kernel red."""
        entry: dict[str, object] = {"kernel": kernel, "case": case, "tolerance": tolerance}
        try:
            found = errors()
            torch.cuda.synchronize()
            # Written so that NaN is red too.
            passed = all(value <= tolerance for value in found.values())
            entry |= {"errors": found}
        except Exception as error:  # noqa: BLE001 - a kernel that does not compile must not cost the other results
            passed = False
            entry |= {"error": _one_line(error)}
        entry["passed"] = passed
        if not passed:
            self.red.add(kernel)
        self.record.checks.append(entry)
        detail = entry.get("error") or " ".join(f"{name} {value:.1e}" for name, value in found.items())
        print(f"{'ok ' if passed else 'RED'} {kernel:18} {case:44} {detail}", flush=True)

    def time(
        self, kernel: str, case: str, call: Callable[[], object], *, floor_ms: float | None = None, rep: int = 60
    ) -> None:
        """Median of `call` by device events, unless its kernel is red or the budget is spent."""
        if kernel in self.red or self.out_of_time():
            print(f"--  {kernel} {case}: {'red' if kernel in self.red else 'no time left'}", flush=True)
            return
        entry: dict[str, object] = {"kernel": kernel, "case": case}
        try:
            median, low, high = triton.testing.do_bench(call, warmup=15, rep=rep, quantiles=[0.5, 0.1, 0.9])
            entry |= {"ms": median, "ms_p10": low, "ms_p90": high}
            if floor_ms is not None:
                entry |= {"floor_ms": floor_ms, "over_floor": median / floor_ms}
        except Exception as error:  # noqa: BLE001 - as above: one variant's failure is a line, not the end
            entry |= {"error": _one_line(error)}
        self.record.times.append(entry)
        print(_time_line(entry), flush=True)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def _time_line(entry: dict[str, object]) -> str:
    if "error" in entry:
        return f"    {entry['kernel']:18} {entry['case']:52} {entry['error']}"
    floor = f"  floor {entry['floor_ms']:8.4f}  x{entry['over_floor']:.2f}" if "floor_ms" in entry else ""
    return f"    {entry['kernel']:18} {entry['case']:52} {entry['ms']:9.4f} ms{floor}"


def relative_error(out: torch.Tensor, truth: torch.Tensor) -> float:
    return ((out.double() - truth.double()).norm() / truth.double().norm()).item()


def measure_ceilings(record: Record) -> None:
    """Product rate of an 8192³ bf16 matrix product and rate of a 2 GiB device copy (bytes read plus written)."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product_ms = triton.testing.do_bench(lambda: a @ b, warmup=50, rep=150, return_mode="median")
    source = torch.randint(0, 255, (2**31,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    copy_ms = triton.testing.do_bench(lambda: target.copy_(source), warmup=20, rep=100, return_mode="median")
    record.ceilings = {
        "product_tflops": 2 * 8192**3 / product_ms / 1e9,
        "copy_terabytes_per_second": 2 * 2**31 / copy_ms / 1e9,
    }
    print(record.ceilings, flush=True)


# Gated delta rule


@dataclass(frozen=True, slots=True)
class GatedDeltaCase:
    sequences: int = 1
    tokens: int = 1000
    key_heads: int = 2
    value_heads: int = 4
    key_size: int = KEY_SIZE
    value_size: int = VALUE_SIZE
    dtype: torch.dtype = torch.bfloat16
    decay: float = 0.1
    beta_low: float = 0.0
    with_state: bool = True

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        extra = f" decay {self.decay:g}" + (f" beta > {self.beta_low:g}" if self.beta_low else "")
        heads = f"{self.key_heads}/{self.value_heads} heads {self.key_size}/{self.value_size}"
        return f"B {self.sequences} T {self.tokens} {heads} {dtype}{extra}"


def gated_delta_inputs(
    case: GatedDeltaCase, seed: int = 0
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor | None]]:
    """q, k, v as views of one projection, as a model has them, and the gates and state by keyword."""
    generator = torch.Generator("cuda").manual_seed(seed)
    shape = (case.sequences, case.tokens)
    key_width, value_width = case.key_heads * case.key_size, case.value_heads * case.value_size
    mixed = torch.randn(*shape, 2 * key_width + value_width, device="cuda", generator=generator)
    mixed = F.silu(mixed).to(case.dtype)
    q, k, v = mixed.split([key_width, key_width, value_width], dim=-1)
    q, k = (x.unflatten(-1, (case.key_heads, case.key_size)) for x in (q, k))
    v = v.unflatten(-1, (case.value_heads, case.value_size))
    gate_shape = (*shape, case.value_heads)
    log_decay = -case.decay * torch.rand(gate_shape, device="cuda", generator=generator)
    beta = case.beta_low + (2 - case.beta_low) * torch.rand(gate_shape, device="cuda", generator=generator)
    state_shape = (case.sequences, case.value_heads, case.key_size, case.value_size)
    state = torch.randn(state_shape, device="cuda", generator=generator) if case.with_state else None
    return [q, k, v], {"log_decay_BTH": log_decay, "beta_BTH": beta, "initial_state_BHKV": state}


def gated_delta_errors(
    case: GatedDeltaCase, rule: Callable[..., tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, float]:
    qkv, rest = gated_delta_inputs(case)
    truth, truth_state = chunk_gated_delta_rule(*(x.double() for x in qkv), **rest)
    out, state = rule(*qkv, **rest)
    return {"out": relative_error(out, truth), "state": relative_error(state, truth_state)}


def poisoned(
    rule: Callable[..., tuple[torch.Tensor, torch.Tensor]], **fixed: object
) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """The rule, writing into results full of NaN."""

    def call(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **rest: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out = torch.full(v.shape, torch.nan, dtype=v.dtype, device=v.device)
        shape = (v.shape[0], v.shape[2], k.shape[3], v.shape[3])
        final = torch.full(shape, torch.nan, device=v.device)
        return rule(q, k, v, **rest, **fixed, out_BTHV=out, final_state_BHKV=final)

    return call


def split_rule(*args: torch.Tensor, **rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The prefill in uneven pieces, each from the state that the one before left."""
    state, outs, start = rest["initial_state_BHKV"], [], 0
    tokens = args[0].shape[1]
    for stop in (1, 64, 200, 263, 700, tokens):
        here = slice(start, stop)
        gates = {name: rest[name][:, here] for name in ("log_decay_BTH", "beta_BTH")}
        out, state = prefill_gated_delta_rule(*(x[:, here] for x in args), **gates, initial_state_BHKV=state)
        outs.append(out)
        start = stop
    return torch.cat(outs, dim=1), state


def swapped_rule(*args: torch.Tensor, **rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rest["log_decay_BTH"], rest["beta_BTH"] = -rest["beta_BTH"], -rest["log_decay_BTH"]
    return prefill_gated_delta_rule(*args, **rest)


def check_gated_delta_prefill(run: Run) -> None:
    rule = poisoned(prefill_gated_delta_rule)
    recurrence = GatedDeltaCase(tokens=300, dtype=torch.float32)

    def chunked_is_the_recurrence() -> dict[str, float]:
        qkv, rest = gated_delta_inputs(recurrence)
        wide = [x.double() for x in qkv]
        truth, truth_state = recurrent_gated_delta_rule(*wide, **rest)
        out, state = chunk_gated_delta_rule(*wide, **rest)
        return {"out": relative_error(out, truth), "state": relative_error(state, truth_state)}

    run.check("gdn truth", str(recurrence), chunked_is_the_recurrence, 1e-12)
    cases = [
        GatedDeltaCase(tokens=tokens, dtype=dtype) for dtype in TOLERANCE for tokens in (1, 63, 64, 65, 1000, 8192)
    ]
    cases += [
        GatedDeltaCase(dtype=dtype, decay=decay, beta_low=beta_low)
        for dtype in TOLERANCE
        for decay, beta_low in ((20.0, 0.0), (0.001, 1.9), (0.0, 1.99))
    ]
    cases += [GatedDeltaCase(with_state=False), GatedDeltaCase(key_heads=30, value_heads=30, tokens=8192)]
    for case in cases:
        run.check("gdn prefill", str(case), lambda case=case: gated_delta_errors(case, rule), TOLERANCE[case.dtype])
    split = GatedDeltaCase(tokens=1000)
    run.check("gdn prefill", "split", lambda: gated_delta_errors(split, split_rule), TOLERANCE[split.dtype])
    pieces = poisoned(prefill_gated_delta_rule, launch=PrefillLaunch(piece_tokens=256))
    run.check("gdn prefill", "pieces of 256", lambda: gated_delta_errors(split, pieces), TOLERANCE[split.dtype])
    run.check("gdn prefill", "raw gates", raw_gate_errors, TOLERANCE[torch.bfloat16])
    swapped = gated_delta_errors(split, swapped_rule)
    run.check("gdn prefill", "swapped gates are noticed", lambda: {"1 - error": 1 - swapped["out"]}, 0.9)
    for launch in prefill_variants():
        variant = poisoned(prefill_gated_delta_rule, launch=launch)
        case = GatedDeltaCase(key_heads=30, value_heads=30, tokens=5000)
        name = f"gdn {_differences(launch)}"
        run.check(name, "T 5000, 7B shape", lambda v=variant, c=case: gated_delta_errors(c, v), 5e-3)


def check_gated_delta_sizes(run: Run) -> None:
    """Other head sizes, each a compilation of its own: after everything that is timed."""
    rule = poisoned(prefill_gated_delta_rule)
    for key, value in ((128, 128), (256, 256), (64, 64), (32, 48), (200, 100)):
        case = GatedDeltaCase(sequences=2, key_size=key, value_size=value)
        run.check("gdn sizes", str(case), lambda case=case: gated_delta_errors(case, rule), TOLERANCE[case.dtype])


def raw_gate_errors() -> dict[str, float]:
    case = GatedDeltaCase(sequences=2, tokens=130)
    qkv, rest = gated_delta_inputs(case)
    shape = rest["log_decay_BTH"].shape
    decay_input, beta_input = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(2))
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
    out, final = prefill_gated_delta_rule(*qkv, raw_gates=raw, initial_state_BHKV=state)
    return {"out": relative_error(out, truth), "state": relative_error(final, truth_state)}


def check_far_addresses(run: Run) -> None:
    """Elements past 2^31: the last tokens of one projection of the 7B shape that is longer than that."""
    width = HEADS * (2 * KEY_SIZE + VALUE_SIZE)
    tokens = 2**31 // width + 3000

    def errors() -> dict[str, float]:
        mixed = torch.empty(1, tokens, width, device="cuda", dtype=torch.bfloat16).normal_()
        q, k, v = mixed.split([HEADS * KEY_SIZE, HEADS * KEY_SIZE, HEADS * VALUE_SIZE], dim=-1)
        q, k = (x.unflatten(-1, (HEADS, KEY_SIZE)) for x in (q, k))
        v = v.unflatten(-1, (HEADS, VALUE_SIZE))
        log_decay = -0.1 * torch.rand(1, tokens, HEADS, device="cuda")
        beta = 2 * torch.rand(1, tokens, HEADS, device="cuda")
        whole = PrefillLaunch(piece_tokens=tokens)
        out, state = prefill_gated_delta_rule(q, k, v, log_decay_BTH=log_decay, beta_BTH=beta, launch=whole)
        # Decay forgets what lies more than a few hundred tokens back, so the tail alone is its own truth.
        here = slice(tokens - 4000, tokens)
        tail = [x[:, here].double() for x in (q, k, v)]
        gates = {"log_decay_BTH": log_decay[:, here], "beta_BTH": beta[:, here]}
        truth, truth_state = chunk_gated_delta_rule(*tail, **gates)
        return {"out": relative_error(out[:, -2000:], truth[:, -2000:]), "state": relative_error(state, truth_state)}

    run.check("gdn prefill", f"addresses past 2^31 elements, T {tokens}", errors, 5e-3)


def prefill_variants() -> list[PrefillLaunch]:
    """Launches to compare; the first is what the chooser picks for the 7B shape."""
    chosen = choose_prefill_launch(key_size=KEY_SIZE, value_size=VALUE_SIZE, dtype=torch.bfloat16)
    base = asdict(chosen)
    changes: list[dict[str, object]] = [
        {},
        {"scan_stages": 1},
        {"scan_stages": 3},
        {"piece_tokens": 2048},
        {"piece_tokens": 4096},
        {"piece_tokens": 65536},
        {"prepare_warps": 8},
        {"overlap_pieces": True, "piece_tokens": 1024},
        {"overlap_pieces": True, "piece_tokens": 2048},
        {"overlap_pieces": True, "piece_tokens": 4096},
    ]
    return [PrefillLaunch(**(base | change)) for change in changes]


def _differences(launch: PrefillLaunch) -> str:
    chosen = asdict(prefill_variants()[0])
    return " ".join(f"{name}={value}" for name, value in asdict(launch).items() if value != chosen[name]) or "chosen"


def fla_rule() -> Callable[..., tuple[torch.Tensor, torch.Tensor]] | None:
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule as fla_chunk
    except ImportError as error:
        print(f"FLA is not importable ({_one_line(error)}); its rows are left out", flush=True)
        return None

    def rule(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        log_decay_BTH: torch.Tensor,
        beta_BTH: torch.Tensor,
        initial_state_BHKV: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return fla_chunk(
                q,
                k,
                v,
                g=log_decay_BTH,
                beta=beta_BTH,
                initial_state=initial_state_BHKV,
                output_final_state=True,
                use_qk_l2norm_in_kernel=True,
            )

    return rule


def gated_delta_floor_ms(tokens: int, record: Record) -> float:
    """Bytes of q, k, v and out once at the measured copy rate; products are a tenth of that."""
    token_bytes = HEADS * 2 * (2 * KEY_SIZE + 2 * VALUE_SIZE)
    return tokens * token_bytes / record.ceilings["copy_terabytes_per_second"] / 1e9


def time_gated_delta_prefill(run: Run) -> None:
    fla = fla_rule()
    for tokens in (8192, 65536):
        case = GatedDeltaCase(key_heads=HEADS, value_heads=HEADS, tokens=tokens)
        qkv, rest = gated_delta_inputs(case)
        qkv = [x.contiguous() for x in qkv]
        floor = gated_delta_floor_ms(tokens, run.record)
        if fla is not None:
            truth_case = GatedDeltaCase(key_heads=HEADS, value_heads=HEADS, tokens=5000)
            if tokens == 8192:
                run.check("gdn FLA", "T 5000, 7B shape", lambda c=truth_case: gated_delta_errors(c, fla), 5e-3)
                # FLA's own error is a comparison, not a gate.
                run.red.discard("gdn FLA")
            run.time("gdn FLA", f"T {tokens}", lambda q=qkv, r=rest: fla(*q, **r), floor_ms=floor)
        for launch in prefill_variants():
            name = f"gdn {_differences(launch)}"
            if "gdn prefill" in run.red:
                run.red.add(name)
            call = lambda q=qkv, r=rest, la=launch: prefill_gated_delta_rule(*q, **r, launch=la)  # noqa: E731
            run.time(name, f"T {tokens}", call, floor_ms=floor)
        if not run.out_of_time() and "gdn prefill" not in run.red:
            profile_kernels(run, f"gdn chosen T {tokens}", lambda q=qkv, r=rest: prefill_gated_delta_rule(*q, **r))
            if fla is not None:
                profile_kernels(run, f"gdn FLA T {tokens}", lambda q=qkv, r=rest: fla(*q, **r))


def profile_kernels(run: Run, case: str, call: Callable[[], object]) -> None:
    """Device time of each kernel in one call, averaged over five."""
    repeats = 5
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(repeats):
                call()
            torch.cuda.synchronize()
        rows = [
            {"case": case, "kernel": event.key[:60], "ms": event.self_device_time_total / 1e3 / repeats}
            for event in profile.key_averages()
            if event.self_device_time_total > 0
        ]
    except Exception as error:  # noqa: BLE001 - the breakdown is worth having, not worth losing the run for
        rows = [{"case": case, "kernel": _one_line(error), "ms": 0.0}]
    rows.sort(key=lambda row: -float(row["ms"]))
    for row in rows[:8]:
        print(f"      {row['case']:28} {row['kernel']:60} {row['ms']:9.4f} ms", flush=True)
    run.record.kernels += rows[:8]


def decode_errors(dtype: torch.dtype, sequences: int, key_size: int, value_size: int) -> dict[str, float]:
    case = GatedDeltaCase(sequences=sequences, tokens=1, key_size=key_size, value_size=value_size, dtype=dtype)
    qkv, rest = gated_delta_inputs(case)
    truth, truth_state = recurrent_gated_delta_rule(*(x.double() for x in qkv), **rest)
    state = rest["initial_state_BHKV"].clone()
    out = torch.full_like(qkv[2][:, 0].contiguous(), torch.nan)
    step_gated_delta_rule(
        *(x[:, 0] for x in qkv),
        state_BHKV=state,
        log_decay_BH=rest["log_decay_BTH"][:, 0],
        beta_BH=rest["beta_BTH"][:, 0],
        out_BHV=out,
    )
    return {"out": relative_error(out, truth[:, 0]), "state": relative_error(state, truth_state)}


def run_gated_delta_decode(run: Run) -> None:
    for dtype in TOLERANCE:
        for sequences, key_size, value_size in ((1, 96, 192), (5, 128, 128), (2, 256, 256), (3, 40, 24)):
            name = f"B {sequences} {key_size}/{value_size} {str(dtype).removeprefix('torch.')}"
            errors = lambda d=dtype, s=sequences, k=key_size, v=value_size: decode_errors(d, s, k, v)  # noqa: E731
            run.check("gdn decode", name, errors, TOLERANCE[dtype])


def time_gated_delta_decode(run: Run) -> None:
    layers = 24
    for sequences in (1, 32):
        case = GatedDeltaCase(sequences=sequences, tokens=1, key_heads=HEADS, value_heads=HEADS)
        # One state a layer, in turn, as in a model: one alone would stay in the cache.
        qkv, rest = gated_delta_inputs(case)
        states = [torch.randn_like(rest["initial_state_BHKV"]) for _ in range(layers)]
        state_bytes = 2 * 4 * sequences * HEADS * KEY_SIZE * VALUE_SIZE
        floor = layers * state_bytes / run.record.ceilings["copy_terabytes_per_second"] / 1e9
        q, k, v = (x[:, 0].contiguous() for x in qkv)
        gates = {"log_decay_BH": rest["log_decay_BTH"][:, 0], "beta_BH": rest["beta_BTH"][:, 0]}
        for block in (8, 16, 32, 64):
            for warps in (1, 2, 4):
                launch = DecodeLaunch(value_block=block, warps=warps)
                step = partial(step_layers, states, (q, k, v), gates, launch)
                name = f"B {sequences}, {layers} layers, value_block={block} warps={warps}"
                time_graph(run, "gdn decode", name, step, floor_ms=floor)


def step_layers(
    states: list[torch.Tensor], qkv: tuple[torch.Tensor, ...], gates: dict[str, torch.Tensor], launch: DecodeLaunch
) -> None:
    for state in states:
        step_gated_delta_rule(*qkv, state_BHKV=state, **gates, launch=launch)


def time_graph(run: Run, kernel: str, case: str, step: Callable[[], None], *, floor_ms: float) -> None:
    """Time replays of a CUDA graph of `step`, so that launches do not count."""
    if kernel in run.red or run.out_of_time():
        print(f"--  {kernel} {case}: {'red' if kernel in run.red else 'no time left'}", flush=True)
        return
    try:
        step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
    except Exception as error:  # noqa: BLE001 - reported like any other failed variant
        run.record.times.append({"kernel": kernel, "case": case, "error": _one_line(error)})
        print(_time_line(run.record.times[-1]), flush=True)
        return
    run.time(kernel, case, graph.replay, floor_ms=floor_ms, rep=30)


# Attention

ATTENTION_HEADS, HEAD_SIZE = 30, 128


def random_attention(
    query_tokens: int,
    keys: int,
    *,
    sequences: int = 1,
    heads: int = ATTENTION_HEADS,
    key_heads: int | None = None,
    size: int = HEAD_SIZE,
    dtype: torch.dtype = torch.bfloat16,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q as a transposed projection, keys and values as one cache [B, G, S, D] holds them."""
    q = torch.randn(sequences, query_tokens, heads, size, device="cuda").to(dtype).transpose(1, 2)
    shape = (sequences, heads if key_heads is None else key_heads, keys, size)
    return q, torch.randn(shape, device="cuda").to(dtype), torch.randn(shape, device="cuda").to(dtype)


def dense_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, position_BT: torch.Tensor, window: int | None
) -> torch.Tensor:
    group = q.shape[1] // k.shape[1]
    k, v = (x.double().repeat_interleave(group, dim=1) for x in (k, v))
    scores = q.double() @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    key_S = torch.arange(k.shape[2], device=k.device)
    seen = key_S <= position_BT[..., None]
    if window is not None:
        seen &= key_S > position_BT[..., None] - window
    return scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1) @ v


def attention_prefill_errors(
    query_tokens: int, offset: int, window: int | None, launch: AttentionLaunch | None = None, **sizes: object
) -> dict[str, float]:
    q, k, v = random_attention(query_tokens, offset + query_tokens, **sizes)
    position = offset + torch.arange(query_tokens, device="cuda")[None]
    out = torch.full_like(q, torch.nan)
    prefill_attention(q, k, v, query_offset=offset, window=window, out_BHTE=out, launch=launch)
    return {"out": relative_error(out, dense_attention(q, k, v, position, window))}


def attention_decode_errors(splits: int | None, **sizes: object) -> dict[str, float]:
    keys = 5000
    q, k, v = random_attention(1, keys, sequences=3, **sizes)
    counts = torch.tensor([1, 777, keys], device="cuda", dtype=torch.int32)
    out = torch.full_like(q[:, :, 0].contiguous(), torch.nan)
    launch = None if splits is None else DecodeAttentionLaunch(splits=splits)
    decode_attention(q[:, :, 0], k, v, key_counts_B=counts, out_BHE=out, launch=launch)
    return {"out": relative_error(out, dense_attention(q, k, v, counts[:, None] - 1, None)[:, :, 0])}


def attention_variants() -> list[AttentionLaunch]:
    return [
        AttentionLaunch(query_block=128, key_block=128, warps=8, stages=2),
        AttentionLaunch(query_block=128, key_block=64, warps=8, stages=3),
        AttentionLaunch(query_block=128, key_block=64, warps=8, stages=2),
        AttentionLaunch(query_block=64, key_block=64, warps=4, stages=3),
    ]


def _attention_name(launch: AttentionLaunch) -> str:
    return f"attention {launch.query_block}x{launch.key_block} w{launch.warps} s{launch.stages}"


def run_attention_prefill(run: Run) -> None:
    for dtype, tolerance in TOLERANCE.items():
        for tokens, offset, window in ((1, 0, None), (65, 0, 50), (500, 3000, None), (500, 3000, 700)):
            case = f"T {tokens} offset {offset} window {window} {str(dtype).removeprefix('torch.')}"
            errors = partial(attention_prefill_errors, tokens, offset, window, heads=4, key_heads=2, dtype=dtype)
            run.check("attention prefill", case, errors, tolerance)
    for launch in attention_variants():
        errors = partial(attention_prefill_errors, 500, 3000, None, launch, heads=4, key_heads=2)
        run.check(_attention_name(launch), "T 500 offset 3000", errors, 5e-3)
    rate = run.record.ceilings["product_tflops"] * 1e9
    for tokens, offset, window in ((8192, 0, None), (8192, 57344, None), (8192, 57344, 4096)):
        q, k, v = random_attention(tokens, offset + tokens)
        pairs = tokens * window if window else tokens * offset + tokens * tokens // 2
        floor = 4 * HEAD_SIZE * ATTENTION_HEADS * pairs / rate
        case = f"T {tokens} offset {offset} window {window}"
        for launch in attention_variants():
            call = partial(prefill_attention, q, k, v, query_offset=offset, window=window, launch=launch)
            run.time(_attention_name(launch), case, call, floor_ms=floor, rep=40)
        if window is None:
            for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
                call = partial(fused_attention, backend, q, k, v, offset)
                run.time(f"sdpa {backend.name[:5]}", case, call, floor_ms=floor, rep=40)


def fused_attention(
    backend: SDPBackend, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, offset: int
) -> list[torch.Tensor]:
    """PyTorch's own: one call over the cached part, one causal call over the segment; their merge is not counted."""
    with sdpa_kernel(backend):
        outs = [F.scaled_dot_product_attention(q, k[:, :, offset:], v[:, :, offset:], is_causal=True)]
        if offset:
            outs.append(F.scaled_dot_product_attention(q, k[:, :, :offset], v[:, :, :offset]))
    return outs


def run_attention_decode(run: Run) -> None:
    for dtype, tolerance in TOLERANCE.items():
        for heads, key_heads, splits in ((4, 4, None), (32, 4, None), (4, 4, 7)):
            name = f"{heads}/{key_heads} heads splits {splits} {str(dtype).removeprefix('torch.')}"
            errors = partial(attention_decode_errors, splits, heads=heads, key_heads=key_heads, dtype=dtype)
            run.check("attention decode", name, errors, tolerance)
    for sequences, keys, candidates in (
        (1, 65536, (4, 8, 13, 17, 26, 35)),
        (1, 4096, (4, 8, 13)),
        (32, 4096, (1, 2, 4)),
    ):
        q, k, v = random_attention(1, keys, sequences=sequences)
        counts = torch.full((sequences,), keys, device="cuda", dtype=torch.int32)
        cache_bytes = 2 * 2 * sequences * keys * ATTENTION_HEADS * HEAD_SIZE
        floor = cache_bytes / run.record.ceilings["copy_terabytes_per_second"] / 1e9
        launches = [DecodeAttentionLaunch(splits=splits) for splits in candidates]
        launches += [
            DecodeAttentionLaunch(splits=candidates[1], stages=4),
            DecodeAttentionLaunch(splits=candidates[1], key_block=128, stages=2),
        ]
        for launch in launches:
            step = partial(decode_attention, q[:, :, 0], k, v, key_counts_B=counts, launch=launch)
            name = f"B {sequences} S {keys} splits {launch.splits} block {launch.key_block} stages {launch.stages}"
            time_graph(run, "attention decode", name, step, floor_ms=floor)
        fused = partial(F.scaled_dot_product_attention, q, k, v)
        time_graph(run, "sdpa decode", f"B {sequences} S {keys}", fused, floor_ms=floor)


SECTIONS: dict[str, tuple[Callable[[Run], None], ...]] = {
    "prefill": (check_gated_delta_prefill, time_gated_delta_prefill),
    "decode": (run_gated_delta_decode, time_gated_delta_decode),
    "attention": (run_attention_prefill, run_attention_decode),
    "sizes": (check_gated_delta_sizes,),
    "far": (check_far_addresses,),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget-seconds", type=float, default=240.0)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; this script measures kernels on one")
    torch.manual_seed(0)
    run = Run(arguments.budget_seconds)
    print(run.record.device, run.record.versions, flush=True)
    measure_ceilings(run.record)
    for section in arguments.only:
        for step in SECTIONS[section]:
            try:
                step(run)
            except Exception as error:  # noqa: BLE001 - a section that breaks leaves the others their time
                run.record.checks.append({"kernel": section, "case": step.__name__, "error": _one_line(error)})
                print(f"RED {section}: {_one_line(error)}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(run.record), indent=1), encoding="utf-8")
    print("\n" + "\n".join(_time_line(entry) for entry in run.record.times))
    print(f"red: {sorted(run.red) or 'none'}")


if __name__ == "__main__":
    main()
