"""`bench kernels`: the operators of one layer, which are timed only if they pass their check.

Shape suffixes: B sequences, T tokens, H value or query heads, G key heads, K and V key and value sizes, S keys.
"""

import importlib.util
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from model_adapters.bench.device_time import Call, call_seconds
from model_adapters.bench.floors import Work
from model_adapters.bench.record import BenchRow, Timing
from model_adapters.bench.session import OURS, BenchSession
from model_adapters.engine.forward.decode_backends import decode_attention, masked_attention
from model_adapters.engine.forward.scoring import Scoring
from model_adapters.engine.forward.slot_attention import prefill_attention
from model_adapters.engine.memory.layer_sizes import head_size
from model_adapters.kernels.chunked_attention.reference import chunked_attention
from model_adapters.kernels.gated_delta.reference import chunk_gated_delta_rule, recurrent_gated_delta_rule
from model_adapters.kernels.trial import gap

CHECK_TOKENS = 200
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 5e-3}
SEGMENT_TOKENS = 8192
FLA, SDPA = "FLA", "PyTorch sdpa"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCase:
    """One operator at one size: the bound of its work, its check, and its implementations."""

    what: str
    case: str
    tokens: int
    work: Work
    error: Callable[[], float]
    """Relative error of ours against a reference, on smaller inputs of the same head sizes."""
    tolerance: float
    ours: Call
    others: dict[str, Callable[[], Call]] = field(default_factory=dict)
    """Implementations by name; one may raise if its library does not support the case."""


def bench_kernels(
    session: BenchSession,
    model: PreTrainedModel,
    contexts: Sequence[int],
    batches: Sequence[int],
    *,
    repeats: int,
    against: bool,
) -> None:
    """Rows for the operators that the model's layers are made of, by its own head sizes."""
    for make in _cases(model, contexts, batches):
        if session.is_over:
            return
        blank = BenchRow(what="kernels", case="", by=OURS)
        try:
            case = make()
        except Exception as error:  # noqa: BLE001 - inputs of one case may not fit; the others go on
            session.add(BenchRow(what="kernels", case="inputs", by=OURS, failure=f"{type(error).__name__}: {error}"))
            continue
        blank = _row(session, case, OURS)
        session.attempt(blank, lambda case=case: _checked(session, case, repeats))  # type: ignore[misc]
        for name, other in case.others.items() if against else ():
            row = _row(session, case, name)
            session.attempt(row, lambda row=row, other=other: _timed(session, row, other(), repeats))  # type: ignore[misc]
        del case
        session.free()


def _row(session: BenchSession, case: KernelCase, by: str) -> BenchRow:
    floor = case.work.floor_seconds(session.ceilings)
    return BenchRow(what=case.what, case=case.case, by=by, tokens=case.tokens, floor_seconds=floor)


def _checked(session: BenchSession, case: KernelCase, repeats: int) -> BenchRow:
    row = _row(session, case, OURS)
    error = case.error()
    # Written so that NaN is red too.
    if not error <= case.tolerance:
        return BenchRow(
            what=row.what,
            case=row.case,
            by=row.by,
            details={"error": error},
            failure=f"RED, not timed: relative error {error:.1e}, at most {case.tolerance:.0e} is right",
        )
    return _timed(session, row, case.ours, repeats, error=error)


def _timed(session: BenchSession, row: BenchRow, call: Call, repeats: int, **details: float) -> BenchRow:
    timing = Timing.of(_seconds(call, session.device, repeats))
    return BenchRow(
        what=row.what,
        case=row.case,
        by=row.by,
        tokens=row.tokens,
        floor_seconds=row.floor_seconds,
        timing=timing,
        details=dict(details),
    )


def _seconds(call: Call, device: torch.device, repeats: int) -> list[float]:
    """After three calls that are not counted; short ones are repeated more often."""
    if device.type != "cuda":
        call()
        return call_seconds(call, device, repeats)
    call_seconds(call, device, 3)
    estimate = max(statistics.median(call_seconds(call, device, 3)), 1e-6)
    return call_seconds(call, device, max(repeats, min(50, int(0.1 / estimate))))


def _cases(
    model: PreTrainedModel, contexts: Sequence[int], batches: Sequence[int]
) -> Iterator[Callable[[], KernelCase]]:
    inputs = GatedDeltaInputs.of(model)
    if inputs is not None:
        yield from (lambda t=tokens: gated_delta_prefill(inputs, t) for tokens in contexts)
        yield from (lambda b=sequences: gated_delta_step(inputs, b) for sequences in batches)
    if head_size(model.config):
        yield from (lambda t=tokens: attention_prefill(model, t) for tokens in contexts)
        for tokens in contexts:
            yield from (lambda t=tokens, b=sequences: attention_step(model, t, b) for sequences in batches)


@dataclass(frozen=True, slots=True)
class GatedDeltaInputs:
    """Head sizes of a gated delta rule layer, and random inputs of them."""

    key_heads: int
    value_heads: int
    key_size: int
    value_size: int
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, model: PreTrainedModel) -> "GatedDeltaInputs | None":
        """Sizes in the model's configuration; None if it has no such layer."""
        names = ("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
        sizes = [getattr(model.config, name, None) for name in names]
        if not all(sizes):
            return None
        key_heads, value_heads, key_size, value_size = (int(size) for size in sizes if size)
        return cls(key_heads, value_heads, key_size, value_size, model.dtype, model.device)

    def qkv(self, sequences: int, tokens: int) -> list[torch.Tensor]:
        """q_BTGK, k_BTGK, v_BTHV as views of one projection, as a model has them."""
        widths = [self.key_heads * self.key_size] * 2 + [self.value_heads * self.value_size]
        mixed = torch.nn.functional.silu(self._normal(sequences, tokens, sum(widths)))
        sizes = (self.key_size, self.key_size, self.value_size)
        parts = zip(torch.split(mixed, widths, dim=-1), sizes, strict=True)
        return [part.view(*part.shape[:2], part.shape[2] // size, size) for part, size in parts]

    def gates(self, sequences: int, tokens: int) -> dict[str, torch.Tensor]:
        """Log-decay and beta [B, T, H]: memories of some ten tokens, writes up to twice the value."""
        shape = (sequences, tokens, self.value_heads)
        return {
            "log_decay_BTH": -0.1 * torch.rand(shape, device=self.device),
            "beta_BTH": 2 * torch.rand(shape, device=self.device),
        }

    def state(self, sequences: int) -> torch.Tensor:
        return torch.randn(sequences, self.value_heads, self.key_size, self.value_size, device=self.device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)


def _rule(device: torch.device) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    if device.type != "cuda":
        return chunk_gated_delta_rule
    from model_adapters.kernels.gated_delta.triton_prefill import prefill_gated_delta_rule

    return prefill_gated_delta_rule


def gated_delta_prefill(inputs: GatedDeltaInputs, tokens: int) -> KernelCase:
    """A segment from a state; floor: queries, keys, values, gates and output moved once."""
    rule = _rule(inputs.device)
    qkv, gates, state = inputs.qkv(1, tokens), inputs.gates(1, tokens), inputs.state(1)

    def error() -> float:
        small, small_gates, start = inputs.qkv(1, CHECK_TOKENS), inputs.gates(1, CHECK_TOKENS), inputs.state(1)
        truth = recurrent_gated_delta_rule(*(x.double() for x in small), **small_gates, initial_state_BHKV=start)  # type: ignore[arg-type]
        found = rule(*small, **small_gates, initial_state_BHKV=start)
        return max(gap(a, b) for a, b in zip(found, truth, strict=True))

    def with_fla() -> Call:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule as fla_rule  # type: ignore[import-not-found]

        g, beta = gates["log_decay_BTH"], gates["beta_BTH"].to(inputs.dtype)
        contiguous = [x.contiguous() for x in qkv]
        return lambda: fla_rule(
            *contiguous, g, beta, initial_state=state, output_final_state=True, use_qk_l2norm_in_kernel=True
        )

    moved = sum(x.nbytes for x in qkv) + qkv[2].nbytes + sum(gate.nbytes for gate in gates.values())
    return KernelCase(
        what="gated delta rule",
        case=f"{tokens:,} tokens",
        tokens=tokens,
        # Two products of K × V per token and head in the recurrence, without those that the chunked form adds.
        work=Work(6 * tokens * state.numel(), moved + 2 * state.nbytes),
        error=error,
        tolerance=TOLERANCE[inputs.dtype],
        ours=lambda: rule(*qkv, **gates, initial_state_BHKV=state),
        others={FLA: with_fla} if _has_fla(inputs.device) else {},
    )


def gated_delta_step(inputs: GatedDeltaInputs, sequences: int) -> KernelCase:
    """One token for each sequence; floor: states read and written once."""
    qkv, gates, state = inputs.qkv(sequences, 1), inputs.gates(sequences, 1), inputs.state(sequences)

    def step(qkv: list[torch.Tensor], gates: dict[str, torch.Tensor], state: torch.Tensor) -> torch.Tensor:
        """The output [B, 1, H, V]; on a GPU the state is updated in place."""
        if inputs.device.type != "cuda":
            return recurrent_gated_delta_rule(*qkv, **gates, initial_state_BHKV=state)[0]  # type: ignore[arg-type]
        from model_adapters.kernels.gated_delta.triton_decode import step_gated_delta_rule

        q, k, v = (x[:, 0] for x in qkv)
        decay, beta = gates["log_decay_BTH"][:, 0], gates["beta_BTH"][:, 0]
        return step_gated_delta_rule(q, k, v, state_BHKV=state, log_decay_BH=decay, beta_BH=beta)[:, None]

    def error() -> float:
        truth, _ = recurrent_gated_delta_rule(*(x.double() for x in qkv), **gates, initial_state_BHKV=state)  # type: ignore[arg-type]
        return gap(step(qkv, gates, state.clone()), truth)

    def with_fla() -> Call:
        from fla.ops.gated_delta_rule import fused_recurrent_gated_delta_rule as fla_rule

        q, k, v = (x.contiguous() for x in qkv)
        g, beta = gates["log_decay_BTH"], gates["beta_BTH"].to(inputs.dtype)
        options = {"initial_state": state, "output_final_state": True, "use_qk_l2norm_in_kernel": True}
        return lambda: fla_rule(q, k, v, g, beta=beta, **options)

    return KernelCase(
        what="gated delta step",
        case=f"× {sequences}",
        tokens=sequences,
        work=Work(6 * state.numel(), 2 * state.nbytes + sum(x.nbytes for x in qkv)),
        error=error,
        tolerance=TOLERANCE[inputs.dtype],
        ours=lambda: step(qkv, gates, state),
        others={FLA: with_fla} if _has_fla(inputs.device) else {},
    )


def attention_prefill(model: PreTrainedModel, tokens: int) -> KernelCase:
    """The last segment of a prompt over all keys before it; floor: its products."""
    segment = min(tokens, SEGMENT_TOKENS)
    q, k, v = _qkv(model, 1, segment, tokens)
    scale = q.shape[-1] ** -0.5

    def error() -> float:
        small = _qkv(model, 1, CHECK_TOKENS, 2 * CHECK_TOKENS)
        truth, _ = chunked_attention(*(x.double() for x in small), query_offset=CHECK_TOKENS, scale=scale)
        return gap(prefill_attention(*small, window=None, scoring=Scoring(scale)), truth)

    def whole() -> Call:
        if segment != tokens:
            raise ValueError("PyTorch's attention is causal from the first key only; measured where one segment is all")
        grouped = q.shape[1] != k.shape[1]
        attend = torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)

    pairs = segment * (tokens - segment) + segment * (segment + 1) // 2
    return KernelCase(
        what="attention",
        case=f"last {segment:,} of {tokens:,}",
        tokens=segment,
        work=Work(4 * pairs * q.shape[1] * q.shape[3], 2 * q.nbytes + k.nbytes + v.nbytes),
        error=error,
        tolerance=TOLERANCE[model.dtype],
        ours=lambda: prefill_attention(q, k, v, window=None, scoring=Scoring(scale)),
        others={SDPA: whole} if segment == tokens else {},
    )


def attention_step(model: PreTrainedModel, tokens: int, sequences: int) -> KernelCase:
    """One token for each sequence over its cache; floor: the KV cache is read once."""
    q, k, v = _qkv(model, sequences, 1, tokens)
    counts_B, scale = torch.full((sequences,), tokens, device=model.device), q.shape[-1] ** -0.5

    def error() -> float:
        small = _qkv(model, 3, 1, CHECK_TOKENS)
        at_B = torch.tensor([1, CHECK_TOKENS // 3, CHECK_TOKENS], device=model.device)
        truth = masked_attention(*(x.double() for x in small), key_counts_B=at_B, scale=scale)
        return gap(decode_attention(*small, key_counts_B=at_B, scale=scale), truth)

    return KernelCase(
        what="attention step",
        case=f"{tokens:,} tokens × {sequences}",
        tokens=sequences,
        work=Work(4 * q.numel() * tokens, k.nbytes + v.nbytes),
        error=error,
        tolerance=TOLERANCE[model.dtype],
        ours=lambda: decode_attention(q, k, v, key_counts_B=counts_B, scale=scale),
        others={SDPA: lambda: lambda: masked_attention(q, k, v, key_counts_B=counts_B, scale=scale)},
    )


def _qkv(model: PreTrainedModel, sequences: int, queries: int, keys: int) -> list[torch.Tensor]:
    heads, size = model.config.num_attention_heads, head_size(model.config)
    kv_heads = getattr(model.config, "num_key_value_heads", None) or heads
    shapes = ((heads, queries), (kv_heads, keys), (kv_heads, keys))
    return [torch.randn(sequences, h, t, size, device=model.device, dtype=model.dtype) for h, t in shapes]


def _has_fla(device: torch.device) -> bool:
    return device.type == "cuda" and importlib.util.find_spec("fla") is not None
