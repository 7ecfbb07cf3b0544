"""Choose segment size and number of slots from a model's memory needs and a device's free memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from evalkit.errors import RequestFailedError
from model_adapters.engine.forward.decode_graph import DECODE_PLACES
from model_adapters.engine.memory.cost import MOST_TOKENS, Needs, rounded_length
from model_adapters.engine.scheduling.fixed_shapes import CPU_SEGMENT_TOKENS, GPU_SEGMENT_TOKENS, FixedShapes

CPU_SLOTS = 4
LEAST_SEGMENT_TOKENS = 256
SEGMENT_SHARE = 0.25
"""Share of the free memory that one segment's activations may take."""
PREFIX_SHARE = 0.25
"""Share of the free memory that cached prefixes may take."""
SPARE_SHARE = 0.1
"""Share of the free memory left unused, for fragmentation, workspaces, recorded steps, padding in passes over several
texts, blocks of logits, and other programs on a CPU."""
GPU_SPARE_BYTES = 2 * 2**30
"""Upper limit of that reserve on a GPU, where other uses of memory do not grow with the GPU's size."""
MANY_SLOTS = 8
"""From this number of slots on, memory that ran out is first sought in a quarter of them, and segments stay large."""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Settings of an engine, valid until a longer request or a lack of memory requires a new plan."""

    segment_tokens: int
    slots: int
    max_tokens: int
    """Positions in a slot: the limit on prompt plus generation budget."""
    pass_tokens: int
    """Tokens per pass over several texts: the segment size, even if every prompt is shorter."""
    prefix_bytes: int | None = None
    """Memory for cached prefixes; None if no request so far shares a prefix."""


@dataclass(frozen=True, slots=True)
class GivenSizes:
    """Sizes that a plan keeps; None leaves a size to be fitted to memory."""

    segment_tokens: int | None = None
    slots: int | None = None
    fixed: bool = False
    """Whether answers depend on these sizes, so that a plan has exactly these or fails."""

    @classmethod
    def of(cls, shapes: FixedShapes) -> "GivenSizes":
        """The sizes of a run whose answers must not depend on each other."""
        return cls(shapes.segment_tokens, shapes.sequences, fixed=True)


FITTED = GivenSizes()


def available_bytes(device: torch.device) -> int:
    """Memory available to a new allocation: free GPU memory plus PyTorch's unused pool, or free host memory.

    A process that may use only a fraction of a GPU has no more than that. Holes between tensors do not count: loading
    and merging the weights of a 7B model leaves 3.6 GiB of them, which no large tensor fits into.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device)
        allowed = int(total * torch.cuda.get_per_process_memory_fraction(device)) - reserved
        unused = reserved - torch.cuda.memory_allocated(device)
        holes: int = torch.cuda.memory_stats(device).get("inactive_split_bytes.all.current", 0)
        return min(free, allowed) + max(0, unused - holes)
    return _host_available_bytes()


def taken_bytes(device: torch.device) -> int:
    """Memory of a GPU that other processes hold, and the contexts of all processes."""
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device)


def plannable_bytes(available: int, *, on_gpu: bool) -> int:
    """The part of the available memory that a plan may use."""
    spare = int(available * SPARE_SHARE)
    return available - (min(spare, GPU_SPARE_BYTES) if on_gpu else spare)


def reserve_is_full(device: torch.device) -> bool:
    """Whether a GPU has so much memory left that a plan leaves all of GPU_SPARE_BYTES unused."""
    return available_bytes(device) * SPARE_SHARE >= GPU_SPARE_BYTES


def choose_plan(
    needs: Needs,
    device: torch.device,
    need_tokens: int,
    given: GivenSizes = FITTED,
    *,
    kept_bytes: int | None = None,
    ran_out: Sequence[EnginePlan] = (),
) -> EnginePlan:
    """Plan for sequences of `need_tokens`; given sizes are kept, the rest is fitted to memory.

    With `kept_bytes`, the size of the prefixes already cached, the plan reserves memory for prefixes and at least one
    slot. After plans under which memory ran out (`ran_out`) for sequences as long or shorter, there are a quarter fewer
    slots, or half as many with segments half as large. Raises RequestFailedError if not even one slot fits.
    """
    free = plannable_bytes(available_bytes(device), on_gpu=needs.on_gpu) + (kept_bytes or 0)
    return plan_request(needs, free, need_tokens, given, kept_bytes=kept_bytes, ran_out=ran_out)


def plan_request(
    needs: Needs,
    free: int,
    need_tokens: int,
    given: GivenSizes = FITTED,
    *,
    kept_bytes: int | None = None,
    ran_out: Sequence[EnginePlan] = (),
) -> EnginePlan:
    """Plan from given numbers, as `fit_plan` does: for the rounded length, or for the exact length if only that fits.

    The engine and the memory forecast both use this function. Raises RequestFailedError if not even one slot fits.
    """

    def plan(max_tokens: int) -> EnginePlan:
        if given.fixed:
            # Decode steps look at whole blocks of places, so that their partial sums do not depend on the longest.
            max_tokens = -(-max_tokens // DECODE_PLACES) * DECODE_PLACES
        return fit_plan(needs, free, max_tokens, given, kept_bytes=kept_bytes, ran_out=ran_out)

    try:
        return plan(rounded_length(need_tokens))
    except RequestFailedError:
        return plan(need_tokens)


def fit_plan(
    needs: Needs,
    free: int,
    max_tokens: int,
    given: GivenSizes = FITTED,
    *,
    kept_bytes: int | None = None,
    ran_out: Sequence[EnginePlan] = (),
) -> EnginePlan:
    """Plan slots of `max_tokens` within `free` bytes, the memory left beyond the weights."""
    activation, per_slot = needs.activation_bytes_per_token, needs.slot.bytes(max_tokens)
    segment_tokens = given.segment_tokens
    if segment_tokens is None and needs.in_one_piece:
        segment_tokens = max_tokens
    if segment_tokens is None:
        segment_tokens = GPU_SEGMENT_TOKENS if needs.on_gpu else CPU_SEGMENT_TOKENS
        room = min(free * SEGMENT_SHARE, free - per_slot)
        while segment_tokens > LEAST_SEGMENT_TOKENS and segment_tokens * activation > room:
            segment_tokens //= 2
    too_large = [] if given.fixed else [plan for plan in ran_out if plan.max_tokens <= max_tokens]
    limits = [smaller_sizes(plan, needs) for plan in too_large]
    segment_tokens = min([segment_tokens, *(limit.segment_tokens for limit in limits)])
    pass_tokens, segment_tokens = segment_tokens, min(segment_tokens, max_tokens)
    if segment_tokens * activation + per_slot > free:
        missing = per_slot + segment_tokens * activation - free
        raise RequestFailedError(
            f"{max_tokens:,} tokens need {_gib(per_slot)} for KV cache and states and "
            f"{_gib(segment_tokens * activation)} for activations, but {_gib(max(free, 0))} are free; "
            f"{_gib(missing)} are missing and {longest_fitting(needs, free):,} tokens would fit: "
            "use a shorter context, a smaller --segment-tokens or a larger device"
        )
    # A prompt read alone occupies one slot; prompts in several slots can share a pass.
    left = free - pass_tokens * activation
    wanted = given.slots if given.slots is not None else needs.most_slots(max_tokens) if needs.on_gpu else CPU_SLOTS
    wanted = min([wanted, *(limit.slots for limit in limits)])
    with_row = needs.slot_bytes(max_tokens)
    reserved = with_row * (wanted if given.fixed else 1)
    prefix_bytes = None if kept_bytes is None else max(0, min(int(PREFIX_SHARE * free), left - reserved))
    fitting = max(1, (left - (prefix_bytes or 0)) // max(with_row, 1))
    if given.fixed and fitting < wanted:
        raise RequestFailedError(
            f"{wanted} sequences of {max_tokens:,} tokens need {_gib(wanted * per_slot)} for KV cache and states, but "
            f"{_gib(max(left, 0))} are free, and --batch-invariant keeps their number: use --batch {fitting}, a "
            "shorter context or a larger device"
        )
    return EnginePlan(segment_tokens, min(wanted, fitting), max_tokens, pass_tokens, prefix_bytes)


class SizeLimits(NamedTuple):
    """The largest sizes of a plan."""

    segment_tokens: int
    slots: int


def smaller_sizes(plan: EnginePlan, needs: Needs) -> SizeLimits:
    """What to try after memory ran out under a plan.

    A quarter of many slots usually frees far more than a pass takes. Passes of half the size, which take longer, are
    left for other cases.
    """
    quarter = plan.slots // 4
    freed = quarter * needs.slot_bytes(plan.max_tokens)
    if plan.slots >= MANY_SLOTS and freed >= 2 * plan.pass_tokens * needs.activation_bytes_per_token:
        return SizeLimits(plan.pass_tokens, plan.slots - quarter)
    return SizeLimits(max(1, plan.segment_tokens // 2), max(1, plan.slots // 2))


def longest_fitting(needs: Needs, free: int) -> int:
    """Length in tokens of the longest sequence that fits, with the smallest segments if any; 0 if none fits."""

    def fits(tokens: int) -> bool:
        segment = tokens if needs.in_one_piece else min(tokens, LEAST_SEGMENT_TOKENS)
        return needs.slot.bytes(tokens) + segment * needs.activation_bytes_per_token <= free

    low, high = 0, MOST_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _host_available_bytes() -> int:
    try:
        with open("/proc/meminfo") as lines:
            sizes = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":") for line in lines)}
        return sizes["MemAvailable"]
    except FileNotFoundError:
        # Not Linux: the total physical memory is the best figure in the standard library.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
