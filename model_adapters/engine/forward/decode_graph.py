"""Decode steps for many sequences: on a GPU each is one replay of a CUDA graph, elsewhere one forward pass.

decoder = DecodeSteps(runner)
picked = decoder.step(cache, [17, 4])       # last token of each active sequence -> its next token
decoder.drop()                              # before the cache is freed: graphs hold its addresses

Shape suffixes: N slots, B sequences in one step, V vocabulary.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import rounded_length
from model_adapters.engine.memory.passes import TokenPass
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.failures import describe_failure, is_out_of_memory

Work = Callable[[], None]

DECODE_PLACES = 1024
"""The number of keys is rounded up to a multiple of this in steps without a graph on a GPU, to limit their shapes, and
in steps of fixed shape, as a multiple of every attention kernel's block of keys."""


class Recorder(Protocol):
    """Records work on fixed addresses so that it can be repeated."""

    def run(self, work: Work) -> None:
        """Run the work once, so that kernels are compiled and libraries allocate their workspaces."""

    def record(self, work: Work) -> Work:
        """Record the work without running it; returns a function that replays it."""


class GraphRecorder:
    """CUDA graphs with a common memory pool; they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, work: Work) -> None:
        # Run on the recording stream: libraries have a workspace per stream, and cannot allocate it while recording.
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        # Other threads may continue with calls of their own, such as pinning memory.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


class DecodeSteps:
    """One greedy token for each active sequence of a cache.

    The first step of a kind (sequences and keys, both rounded up) runs directly and is then recorded; later ones are
    replays. If recording fails, a line is printed and all steps run directly. With `fixed`, every step has a row for
    each slot, active or not, so that the rounding of a row does not depend on the others.
    """

    def __init__(
        self,
        runner: ModelRunner,
        *,
        recorded: bool = True,
        make_recorder: Callable[[], Recorder] | None = None,
        fixed: bool = False,
    ) -> None:
        self._runner, self._fixed = runner, fixed
        if recorded and make_recorder is None and runner.device.type == "cuda":
            make_recorder = partial(GraphRecorder, runner.device)
        self._make_recorder = make_recorder
        self._recorder: Recorder | None = None
        self._step: StaticStep | None = None
        self._replays: dict[tuple[int, int], Work] = {}
        self.refused: str | None = None
        """Why steps are not recorded, if recording failed; out of memory is forgotten together with the cache."""
        self._refused_for_good = False

    @property
    def path(self) -> str:
        """How steps are run, for records."""
        return "CUDA graphs" if self._make_recorder is not None and self.refused is None else "single launches"

    @torch.no_grad()
    def step(self, cache: SlottedCache, token_ids: Sequence[int]) -> list[int | None]:
        """Append token i to slot i; returns the greedy choice after each, None if its logits are not finite."""
        if self._make_recorder is None or self.refused is not None:
            return self._run_fixed(cache, token_ids) if self._fixed else self._single(cache, token_ids)
        if self._step is None or self._step.cache is not cache:
            self.drop()
            self._recorder, self._step = self._make_recorder(), StaticStep(self._runner, cache)
        step, recorder = self._step, self._recorder
        assert recorder is not None  # always set together with the step
        step.load(token_ids)
        sequences, places = self._shape(cache, len(token_ids))
        replay = self._replays.get((sequences, places))
        if replay is not None:
            replay()
            return step.take(len(token_ids))
        recorder.run(lambda: step.run(sequences, places))
        picked = step.take(len(token_ids))
        self._record(sequences, places)
        return picked

    def drop(self) -> None:
        """Drop the graphs and free their memory."""
        self._replays.clear()
        self._step = self._recorder = None
        if not self._refused_for_good:
            self.refused = None

    def _record(self, sequences: int, places: int) -> None:
        step, recorder = self._step, self._recorder
        assert step is not None  # set by the caller
        assert recorder is not None
        try:
            self._replays[sequences, places] = recorder.record(lambda: step.run(sequences, places))
        except Exception as error:  # noqa: BLE001 - whatever prevents recording, the steps still run without it
            self.drop()
            self.refused, self._refused_for_good = describe_failure(error), not is_out_of_memory(error)
            print(f"evalkit: decode steps run as single launches, not as a CUDA graph: {self.refused}", file=sys.stderr)

    def _shape(self, cache: SlottedCache, active: int) -> tuple[int, int]:
        """The number of rows and of keys of a step at a fixed address."""
        longest = max(cache.lengths[:active]) + 1
        if self._fixed:
            return cache.slots, min(-(-longest // DECODE_PLACES) * DECODE_PLACES, cache.max_tokens)
        return sequence_bucket(active, cache.slots), min(rounded_length(longest), cache.max_tokens)

    def _run_fixed(self, cache: SlottedCache, token_ids: Sequence[int]) -> list[int | None]:
        """The step that would be recorded."""
        step = StaticStep(self._runner, cache)
        step.load(token_ids)
        step.run(*self._shape(cache, len(token_ids)))
        return step.take(len(token_ids))

    def _single(self, cache: SlottedCache, token_ids: Sequence[int]) -> list[int | None]:
        id_B1 = torch.tensor(token_ids, device=self._runner.device)[:, None]
        places = max(cache.lengths[: len(token_ids)]) + 1
        if self._runner.device.type == "cuda":
            places = min(-(-places // DECODE_PLACES) * DECODE_PLACES, cache.max_tokens)
        return pick_tokens(self._runner.decode(cache, id_B1, places))


class StaticStep:
    """A decode step with inputs and outputs at fixed addresses, which never waits for the device.

    Inactive sequences write to place 0 of their free slots, which every prompt overwrites first.
    """

    def __init__(self, runner: ModelRunner, cache: SlottedCache) -> None:
        self._runner, self.cache = runner, cache
        self._input = torch.zeros(1 + cache.slots, dtype=torch.long, device=runner.device)
        """The number of active sequences, then one token for each, copied to the device at once."""
        self._row_N = torch.arange(cache.slots, device=runner.device)
        self._picked_N = torch.zeros(cache.slots, dtype=torch.long, device=runner.device)

    def load(self, token_ids: Sequence[int]) -> None:
        """Set the tokens that the next step appends, one for each of the first slots."""
        self._input[: 1 + len(token_ids)].copy_(torch.tensor([len(token_ids), *token_ids]))

    def run(self, sequences: int, places: int) -> None:
        """Run a step for the first `sequences` slots, active or not, over their first `places` places."""
        active_B = self._row_N[:sequences] < self._input[0]
        length_B = self.cache.length_N[:sequences]
        # Copy the positions, because the lengths change before the step has ended.
        position_B = torch.where(active_B, length_B, 0)
        step = TokenPass(self.cache, sequences, places, position_B)
        logits_BV = self._runner.token_logits(step, self._input[1 : 1 + sequences])
        self._picked_N[:sequences].copy_(greedy_choice(logits_BV))
        length_B += active_B

    def take(self, sequences: int) -> list[int | None]:
        """Wait for the step and return its tokens; adds a token to each active sequence's length on the host."""
        self.cache.count(sequences)
        return token_choices(self._picked_N[:sequences])


def sequence_bucket(sequences: int, slots: int) -> int:
    """Number of sequences of the recorded step to use: the next power of two, or all slots."""
    return min(1 << (sequences - 1).bit_length(), slots)


def greedy_choice(logits_BV: torch.Tensor) -> torch.Tensor:
    """The greedy token of each sequence, -1 if its logits are not finite; does not wait for the device."""
    best_B = logits_BV.max(dim=-1)
    return torch.where(best_B.values.isfinite(), best_B.indices, -1)


def pick_tokens(logits_BV: torch.Tensor) -> list[int | None]:
    """The greedy token of each sequence, None if its logits are not finite; waits for the device."""
    return token_choices(greedy_choice(logits_BV))


def token_choices(picked_B: torch.Tensor) -> list[int | None]:
    """The result of `greedy_choice` as a list, None if logits were not finite; waits for the device."""
    picked: list[int] = picked_B.tolist()
    return [None if token_id < 0 else token_id for token_id in picked]
