"""Measure what a model stores with a forward pass of a few tokens, and find out if the engine cannot run it.

Configurations are not reliable for this: families ignore keys of their config.json, change keys and values after the
cache has returned them, share them between layers, or have other sizes in each layer. What a layer stores and which
mask it gets from transformers' own code do not depend on the length.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from evalkit.errors import UsageError
from model_adapters.engine.forward.scoring import Scoring
from model_adapters.engine.forward.slot_attention import attention_set_to, prefill_attention
from model_adapters.engine.memory.cost import MOST_TOKENS
from model_adapters.engine.memory.key_value_buffer import KeysValues
from model_adapters.engine.memory.layout import AttentionCall, AttentionShape, LayerMemory, MemoryLayout
from model_adapters.engine.memory.linear_state import LinearState
from model_adapters.engine.memory.passes import Pass, current_pass
from model_adapters.engine.memory.rows import Row
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.engine.memory.transformers_cache import CacheView, LayerView
from model_adapters.failures import is_out_of_memory
from model_adapters.messages import first_line

NAME = "evalkit_probe"
TOKENS = 3
REMEDY = "use a model of another family"
# Arguments of transformers' attention functions that change the result and that the engine does not support.
_REFUSED = ("position_bias", "cu_seq_lens_q", "cu_seq_lens_k", "block_indices", "indices")

MaskFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""transformers' (batch, head, query position, key position) -> whether the query sees the key."""


class NotSupportedError(Exception):
    """Why the engine cannot run a model, as the end of a sentence that begins with the class of the model."""


class Measured(NamedTuple):
    """The results of a pass of a few tokens."""

    layout: MemoryLayout
    mixers: tuple[nn.Module, ...]
    """The modules that have states."""


@torch.no_grad()
def measure_memory(
    model: PreTrainedModel,
    forward: Callable[[Pass, torch.Tensor], Any],
    last_mlp: nn.Module | None,
) -> Measured:
    """Describe the memory that a pass of a few tokens writes and reads.

    `forward` runs the model's decoder in a pass, on ids [1, X]; `last_mlp` is the MLP of its last layer. Raises
    NotSupportedError if the engine cannot run the model, and any error of the model's code.
    """
    AttentionInterface.register(NAME, _probe_attention)
    AttentionMaskInterface.register(NAME, _probe_mask)
    step = ProbeStep(model)
    id_1T = torch.arange(TOKENS, device=model.device)[None]
    with attention_set_to(model, NAME), _calls_noted(last_mlp, step), _modules_noted(model, step):
        forward(step, id_1T)
    return Measured(step.layout(), step.mixers())


@contextmanager
def refused_in_one_line(model: PreTrainedModel) -> Iterator[None]:
    """Turn any error in this block into a UsageError that names the model and the cause in one line."""
    name = type(model).__name__
    try:
        yield
    except UsageError:
        raise
    except NotSupportedError as error:
        raise UsageError(f"{name} {error}, so the engine cannot run it; {REMEDY}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise UsageError(f"{name}: memory ran out in a pass of {TOKENS} tokens; use a larger device") from error
        if isinstance(error, AttributeError) and isinstance(error.obj, CacheView | LayerView):
            found = f"its cache has {error.name!r}, which the engine does not keep"
            raise UsageError(f"{name} cannot be run by the engine: {found}; {REMEDY}") from error
        found = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{name} cannot be run by the engine ({found}); check its config.json, or {REMEDY}") from error


@dataclass(slots=True)
class _Call:
    layer_index: int
    transformed: bool
    sight: "Sight"
    shape: AttentionShape
    plain: bool


class ProbeStep(Pass):
    """A first segment that records what the layers do, in order."""

    def __init__(self, model: PreTrainedModel) -> None:
        layout = MemoryLayout.unmeasured(model.config)
        cache = SlottedCache(layout, slots=1, max_tokens=TOKENS, device=model.device)
        super().__init__(cache, [Row(slot=0, start=0, tokens=TOKENS, outputs=TOKENS)])
        self._events: list[str] = []
        self._returned: dict[int, KeysValues] = {}
        """Layer -> keys and values returned by the cache; held so that no other tensor reuses their memory."""
        self._newest: int | None = None
        """The layer that wrote keys most recently."""
        self._caller: nn.Module | None = None
        """The first module that called attention after that."""
        self._masks: list[tuple[torch.Tensor, torch.Tensor, MaskFunction]] = []
        """Masks with their values and the functions that made them."""
        self._attention_calls: list[_Call] = []
        self.modules: list[nn.Module] = []
        """The running modules, outermost first."""
        self._writers: dict[int, list[nn.Module]] = {}
        """Layer -> the modules that contain all writes of its states."""

    def append(self, layer_index: int, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor) -> KeysValues:
        self.note("write")
        (seen,) = self._see(layer_index, k_BGTD, v_BGTD)
        self._returned[layer_index] = seen.k_BGSD, seen.v_BGSD
        self._newest, self._caller = layer_index, None
        return self._returned[layer_index]

    def roll_conv(self, layer_index: int, x_BCT: torch.Tensor, *, index: int, kernel_size: int | None) -> torch.Tensor:
        self._wrote_state(layer_index)
        return super().roll_conv(layer_index, x_BCT, index=index, kernel_size=kernel_size)

    def set_recurrent(self, layer_index: int, state: torch.Tensor, *, index: int) -> torch.Tensor:
        self._wrote_state(layer_index)
        return super().set_recurrent(layer_index, state, index=index)

    def linear_state(self, layer_index: int) -> LinearState:
        self._wrote_state(layer_index)
        return super().linear_state(layer_index)

    def _wrote_state(self, layer_index: int) -> None:
        self.note("write")
        known = self._writers.setdefault(layer_index, list(self.modules))
        common = (one for one, other in zip(known, self.modules, strict=False) if one is other)
        self._writers[layer_index] = list(common)

    def mixers(self) -> tuple[nn.Module, ...]:
        """For each layer with states, the innermost module that does all work on them."""
        return tuple({id(modules[-1]): modules[-1] for modules in self._writers.values()}.values())

    def note(self, event: str) -> None:
        """Record an event."""
        self._events.append(event)

    def made_mask(self, mask: torch.Tensor, mask_function: MaskFunction) -> None:
        """Record a mask that transformers made for some of the layers."""
        self._masks.append((mask, mask.clone(), mask_function))

    def attended(
        self,
        module: nn.Module,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None,
        *,
        plain: bool,
    ) -> None:
        """Record an attention call; raises NotSupportedError if its mask was not made by transformers."""
        self.note("attention")
        sight, (layer_index, transformed) = self._sight(module, mask), self._source(module, k, v)
        self._attention_calls.append(_Call(layer_index, transformed, sight, AttentionShape.of(q, k, v), plain))

    def layout(self) -> MemoryLayout:
        """The layout according to all records."""
        unmeasured, calls, last = self.cache.layout, self._attention_calls, len(self._attention_calls) - 1
        sights: dict[int, Sight] = {}
        for call in calls:
            if sights.setdefault(call.layer_index, call.sight) != call.sight:
                raise NotSupportedError("shares keys between layers with different windows")
        if unread_keys := set(self.cache.buffers) - set(sights):
            raise NotSupportedError(
                f"keeps keys in layer {min(unread_keys)} that no call of transformers' AttentionInterface reads"
            )
        transformed = {call.layer_index for call in calls if call.transformed}
        unread = "write" not in self._events[_last(self._events, "attention") :]
        layers = (
            LayerMemory(
                *sights.get(index, Sight()), index in transformed, self._kv_bytes(index), self._state_bytes(index)
            )
            for index in range(len(unmeasured.layers))
        )
        return MemoryLayout(
            layers=tuple(layers),
            states_per_layer=unmeasured.states_per_layer,
            calls=tuple(
                AttentionCall(call.layer_index, unread and index == last, call.shape, call.plain)
                for index, call in enumerate(calls)
            ),
            last_mlp_runs_last=self._events.count("mlp") == 1 and self._events[-1] == "mlp",
        )

    def _sight(self, module: nn.Module, mask: torch.Tensor | None) -> "Sight":
        for made, values, mask_function in self._masks:
            ours = mask is not None and mask.untyped_storage().data_ptr() == made.untyped_storage().data_ptr()
            if ours and torch.equal(made, values):
                return read_sight(mask_function, made.device)
        raise NotSupportedError(f"does not attend by transformers' own masks ({type(module).__name__})")

    def _source(self, module: nn.Module, k: torch.Tensor, v: torch.Tensor) -> tuple[int, bool]:
        """The layer whose keys and values a call sees, and whether they changed after the cache returned them."""
        for layer_index, (old_k, old_v) in self._returned.items():
            if _same(k, old_k) and _same(v, old_v):
                return layer_index, False
        self._caller = self._caller or module
        if self._newest is None or self._caller is not module:
            raise NotSupportedError(f"attends to keys that no layer of the cache holds ({type(module).__name__})")
        return self._newest, True

    def _kv_bytes(self, layer_index: int) -> int:
        buffer = self.cache.buffers.get(layer_index)
        return 0 if buffer is None else buffer.nbytes // TOKENS

    def _state_bytes(self, layer_index: int) -> int:
        return self.cache.states[layer_index].nbytes


class Sight(NamedTuple):
    """The keys visible to a query, among those before it."""

    window: int | None = None
    """Number of visible keys, its own included; None for all."""
    chunked: bool = False
    """Whether the visible keys start anew every `window` positions, instead of sliding."""


def read_sight(mask_function: MaskFunction, device: torch.device) -> Sight:
    """Determine what a mask lets a query see, at any length.

    Raises NotSupportedError for a mask that is not causal, a sliding window or chunks.
    """
    zero = torch.zeros((), dtype=torch.long, device=device)

    def sees(query: int, key: int) -> bool:
        return bool(mask_function(zero, zero, zero + query, zero + key))

    def least(low: int, high: int, holds: Callable[[int], bool]) -> int:
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    def first_key(query: int, sight: Sight) -> int:
        size = sight.window or MOST_TOKENS + 1
        return query - query % size if sight.chunked else max(0, query - size + 1)

    def fits(sight: Sight) -> bool:
        size = sight.window or MOST_TOKENS
        # Prefixes, blocks and other masks differ at one of these; each query sees itself and nothing after it.
        for query in {
            0,
            1,
            5,
            *(min(n * size + more, MOST_TOKENS) for n in (1, 2) for more in (-1, 0, 1)),
            MOST_TOKENS,
        }:
            first = first_key(query, sight)
            visible = [sees(query, key) for key in (query, first, (first + query) // 2)]
            hidden = [sees(query, query + 1), sees(query, query + 99), first > 0 and sees(query, first - 1)]
            if not all(visible) or any(hidden):
                return False
        return True

    # The first query that cannot see key 0.
    size = least(1, MOST_TOKENS + 1, lambda query: not sees(query, 0))
    for sight in (Sight(), Sight(size), Sight(size, chunked=True)):
        if fits(sight):
            return sight
    raise NotSupportedError("masks attention by neither causality, nor a sliding window, nor chunks")


def _probe_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    for name in _REFUSED:
        if kwargs.get(name) is not None:
            raise NotSupportedError(f"calls attention with {name} ({type(module).__name__})")
    plain = kwargs.get("softcap") is None and kwargs.get("s_aux") is None
    _step().attended(module, query, key, value, attention_mask, plain=plain)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return prefill_attention(query, key, value, window=None, scoring=Scoring(scale)).transpose(1, 2).contiguous(), None


def _probe_mask(*, mask_function: MaskFunction, **options: Any) -> torch.Tensor:
    # Always make a mask, so that every attention call shows which one it has.
    options["allow_is_causal_skip"] = options["allow_is_bidirectional_skip"] = False
    mask: torch.Tensor | None = sdpa_mask(mask_function=mask_function, **options)
    if mask is None:
        raise NotSupportedError("attends without a mask")
    _step().made_mask(mask, mask_function)
    return mask


def _step() -> ProbeStep:
    step = current_pass()
    if not isinstance(step, ProbeStep):
        raise RuntimeError(f"attention {NAME!r} works only while a model is measured")
    return step


@contextmanager
def _calls_noted(last_mlp: nn.Module | None, step: ProbeStep) -> Iterator[None]:
    if last_mlp is None:
        yield
        return
    handle = last_mlp.register_forward_pre_hook(lambda *_: step.note("mlp"))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _modules_noted(model: nn.Module, step: ProbeStep) -> Iterator[None]:
    handles = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(lambda module, _: step.modules.append(module)))
        handles.append(module.register_forward_hook(lambda *_: step.modules.pop() and None, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.data_ptr(), one.shape, one.stride()) == (other.data_ptr(), other.shape, other.stride())


def _last(events: list[str], event: str) -> int:
    return max((index for index, one in enumerate(events) if one == event), default=0)
