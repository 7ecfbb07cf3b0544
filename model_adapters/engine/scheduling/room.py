"""The cache for the active sequences, and the plan it was made by."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import Needs
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.scheduling.memory_plan import EnginePlan, GivenSizes, choose_plan
from model_adapters.engine.scheduling.sequence import Sequence as RequestSequence
from model_adapters.failures import attempt


@dataclass(slots=True)
class Room:
    """A cache with slots for sequences up to a maximum length."""

    cache: SlottedCache
    plan: EnginePlan
    stale: bool = False
    """True after a failure: the cache serves its active sequences and is then replaced."""
    allocated: bool = False
    """Whether the memory of the cache has been allocated, or tried to be, apart from a pass that writes to it."""


@dataclass(frozen=True, slots=True)
class RoomMaker:
    """Makes rooms for one model: given sizes are kept, the rest is fitted to memory."""

    runner: ModelRunner
    needs: Needs
    given: GivenSizes

    def make(self, sequence: RequestSequence, *, kept_bytes: int, ran_out: Sequence[EnginePlan]) -> Room:
        """Make a room that serves a request, once the previous room has been freed.

        `kept_bytes` is the size of the cached prefixes; `ran_out` holds the plans under which memory ran out. Raises
        RequestFailedError if not even one slot fits.
        """
        if self.runner.device.type == "cuda":
            torch.cuda.empty_cache()
        plan = choose_plan(
            self.needs,
            self.runner.device,
            sequence.need_tokens,
            self.given,
            kept_bytes=kept_bytes if sequence.prefix or kept_bytes else None,
            ran_out=ran_out,
        )
        return Room(self.runner.new_cache(slots=plan.slots, max_tokens=plan.max_tokens), plan)

    def allocate(self, room: Room) -> None:
        """Allocate the memory of a room on a GPU, once, before the first pass that writes to it.

        Requests that are scored behind cached prefixes need none of it.
        """
        if self.needs.on_gpu and not room.allocated:
            room.allocated = True
            torch.cuda.empty_cache()
            # If memory runs out here, it does so again for the first prompt, which is then retried in a smaller room.
            attempt(lambda: self.runner.allocate(room.cache))
            torch.cuda.empty_cache()


def room_after(before: EnginePlan, now: EnginePlan, *, fixed: bool) -> str:
    """A line about how a run continues after memory ran out: with smaller sizes, or once more if they are `fixed`."""
    ran_out = (
        f"memory ran out with {before.slots} sequences of {before.max_tokens:,} tokens and passes of "
        f"{before.pass_tokens:,}"
    )
    if fixed:
        return (
            f"{ran_out}, which --batch-invariant keeps; trying once more; if memory runs out again, use a smaller "
            "--batch or --segment-tokens"
        )
    return f"{ran_out}; continuing with {now.slots} of {now.max_tokens:,} and passes of {now.pass_tokens:,}"
