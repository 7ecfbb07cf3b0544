"""Decode steps for many sequences: on a GPU each is one replay of a CUDA graph, elsewhere one forward pass.

decoder = DecodeSteps(runner)
first = decoder.start(cache, [17, 4])       # the last token of each active sequence
second = decoder.start_next()               # the tokens that the first step picks, without waiting for them
first.read(), second.read()                 # waits for the tokens
decoder.drop()                              # before the cache is freed: graphs hold its addresses

Shape suffixes: N slots, B sequences in one step, V vocabulary.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch

from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.stopwatch import Stopwatch
from model_adapters.engine.memory.cost import rounded_length
from model_adapters.engine.memory.passes import TokenPass
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transfers import to_device, to_host
from model_adapters.failures import describe_failure, is_out_of_memory
from model_adapters.kernels.greedy_choice.choice import greedy_choice

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

    @property
    def runs_ahead(self) -> bool:
        """Whether a step can follow another one before the tokens of that one have been read."""
        return self._make_recorder is not None and self.refused is None

    @torch.no_grad()
    def start(self, cache: SlottedCache, token_ids: Sequence[int]) -> "Choices":
        """Append token i to slot i, without waiting for the device; returns the greedy choice after each."""
        if self._make_recorder is None or self.refused is not None:
            watch, step = Stopwatch(self._runner.device), self._run_fixed if self._fixed else self._single
            return Choices(step(cache, token_ids), watch)
        if self._step is None or self._step.cache is not cache:
            self.drop()
            self._recorder, self._step = self._make_recorder(), StaticStep(self._runner, cache)
        self._step.load(token_ids)
        return self.start_next()

    @torch.no_grad()
    def start_next(self) -> "Choices":
        """Append the tokens that the last step picks to the slots of that step, which must have run ahead."""
        step, recorder = self._step, self._recorder
        if step is None or recorder is None:
            raise RuntimeError("no recorded step has been started")
        watch = Stopwatch(self._runner.device)
        sequences, places = self._shape(step.cache, step.active)
        replay = self._replays.get((sequences, places))
        if replay is not None:
            replay()
            return Choices(step.advance(), watch)
        recorder.run(lambda: step.run(sequences, places))
        choices = Choices(step.advance(), watch)
        self._record(step, recorder, sequences, places)
        return choices

    def drop(self) -> None:
        """Drop the graphs and free their memory."""
        self._replays.clear()
        self._step = self._recorder = None
        if not self._refused_for_good:
            self.refused = None

    def _record(self, step: "StaticStep", recorder: Recorder, sequences: int, places: int) -> None:
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

    def _run_fixed(self, cache: SlottedCache, token_ids: Sequence[int]) -> torch.Tensor:
        """The step that would be recorded."""
        step = StaticStep(self._runner, cache)
        step.load(token_ids)
        step.run(*self._shape(cache, len(token_ids)))
        return step.advance()

    def _single(self, cache: SlottedCache, token_ids: Sequence[int]) -> torch.Tensor:
        id_B1 = to_device(torch.tensor(token_ids), self._runner.device)[:, None]
        places = max(cache.lengths[: len(token_ids)]) + 1
        if self._runner.device.type == "cuda":
            places = min(-(-places // DECODE_PLACES) * DECODE_PLACES, cache.max_tokens)
        return greedy_choice(self._runner.decode(cache, id_B1, places))


class StaticStep:
    """A decode step with inputs and outputs at fixed addresses, which never waits for the device.

    It leaves the tokens that it picks as the input of the next step. Inactive sequences write to place 0 of their free
    slots, which every prompt overwrites first.
    """

    def __init__(self, runner: ModelRunner, cache: SlottedCache) -> None:
        self._runner, self.cache = runner, cache
        self.active = 0
        """The number of active sequences, which are in the first slots."""
        self._input = torch.zeros(2 * cache.slots, dtype=torch.long, device=runner.device)
        """1 for each active slot and 0 for the others, then each slot's token; copied to the device at once."""
        self._picked_N = torch.zeros(cache.slots, dtype=torch.long, device=runner.device)

    def load(self, token_ids: Sequence[int]) -> None:
        """Set the tokens that the next step appends, one for each of the first slots."""
        self.active = len(token_ids)
        is_active = [1] * self.active + [0] * (self.cache.slots - self.active)
        loaded = torch.tensor([*is_active, *token_ids], pin_memory=self._input.is_cuda)
        self._input[: len(loaded)].copy_(loaded, non_blocking=True)

    def run(self, sequences: int, places: int) -> None:
        """Run a step for the first `sequences` slots, active or not, over their first `places` places."""
        first = self.cache.slots
        active_B, id_B = self._input[:sequences], self._input[first : first + sequences]
        length_B = self.cache.length_N[:sequences]
        # Copy the positions, because the lengths change before the step has ended.
        position_B = length_B * active_B
        step = TokenPass(self.cache, sequences, places, position_B)
        picked_B = greedy_choice(self._runner.token_logits(step, id_B))
        self._picked_N[:sequences].copy_(picked_B)
        torch.clamp(picked_B, min=0, out=id_B)
        length_B += active_B

    def advance(self) -> torch.Tensor:
        """Count the step's tokens on the host; returns its choices, which the next step overwrites."""
        self.cache.count(self.active)
        return self._picked_N[: self.active]


class Choices:
    """The greedy choices that end a pass, on their way from the device to the host; stops the pass's watch."""

    def __init__(self, picked_B: torch.Tensor, watch: Stopwatch) -> None:
        self._picked_B = to_host(picked_B)  # the next step overwrites the choices
        self._watch = watch
        watch.stop()

    def read(self) -> list[int | None]:
        """Wait for the choices: token ids, None for a sequence whose logits are not finite."""
        self._watch.wait()
        return [None if token_id < 0 else token_id for token_id in self._picked_B.tolist()]

    @property
    def seconds(self) -> float:
        """The time of the pass, once the choices have been read."""
        return self._watch.seconds()


def sequence_bucket(sequences: int, slots: int) -> int:
    """Number of sequences of the recorded step to use: the next power of two, or all slots."""
    return min(1 << (sequences - 1).bit_length(), slots)
