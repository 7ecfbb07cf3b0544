"""KV cache of one attention layer for all slots, allocated once at its final size.

Shape suffixes: N slots, B sequences in one call, G key/value heads, M places per slot, T new tokens, S keys returned,
D key or value size.
"""

import torch

from model_adapters.kernels.compiling import verdicts_kept
from model_adapters.kernels.kernel_cache import checked_once
from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.trial import random_sample, trial

KeysValues = tuple[torch.Tensor, torch.Tensor]
WIDE = torch.complex128
"""A dtype of 16 bytes, for copies."""


class KeyValueBuffer:
    """KV cache of a full-attention layer: place p of a slot holds the key and value of position p."""

    def __init__(self, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor, *, slots: int, places: int) -> None:
        # Zeros, not uninitialized memory: masked places are multiplied by 0, and 0 times NaN is NaN.
        self.k_NGMD = k_BGTD.new_zeros((slots, k_BGTD.shape[1], places, k_BGTD.shape[3]))
        self.v_NGMD = v_BGTD.new_zeros((slots, v_BGTD.shape[1], places, v_BGTD.shape[3]))

    @property
    def nbytes(self) -> int:
        return self.k_NGMD.nbytes + self.v_NGMD.nbytes

    def append_segment(self, slot: int, start: int, k_1GTD: torch.Tensor, v_1GTD: torch.Tensor) -> KeysValues:
        """Store a segment whose first token has position `start`; returns all S = start + T keys and values."""
        stop = start + k_1GTD.shape[2]
        copy_rows(self.k_NGMD[slot, :, start:stop], k_1GTD[0])
        copy_rows(self.v_NGMD[slot, :, start:stop], v_1GTD[0])
        return self.k_NGMD[slot : slot + 1, :, :stop], self.v_NGMD[slot : slot + 1, :, :stop]

    def append_tokens(
        self, position_B: torch.Tensor, k_BG1D: torch.Tensor, v_BG1D: torch.Tensor, places: int
    ) -> KeysValues:
        """Store one token for each of the first B slots, and return views of their first `places` places.

        Position p goes to place p mod M. No address and no shape depends on the positions, so that the call can be
        captured in a CUDA graph.
        """
        store = _store_at_once if _has_store(k_BG1D.device) else _store
        store(*self.token_places(position_B), k_BG1D[:, :, 0], v_BG1D[:, :, 0])
        return self.first_places(len(position_B), places)

    def token_places(self, position_B: torch.Tensor) -> TokenPlaces:
        """Where one token for each of the first B slots is stored."""
        return TokenPlaces(self.k_NGMD, self.v_NGMD, position_B)

    def first_places(self, sequences: int, places: int) -> KeysValues:
        """Views of the first `places` places of the first slots."""
        return self.k_NGMD[:sequences, :, :places], self.v_NGMD[:sequences, :, :places]

    def before(self, slot: int, length: int) -> KeysValues:
        """Views of the keys and values [1, G, S, D] visible to a token at position `length`, in order."""
        return self.k_NGMD[slot : slot + 1, :, :length], self.v_NGMD[slot : slot + 1, :, :length]

    def tensors(self, slot: int, length: int) -> list[torch.Tensor]:
        """Views of everything stored for a slot of `length` tokens."""
        return [self.k_NGMD[slot, :, :length], self.v_NGMD[slot, :, :length]]


class WindowBuffer:
    """KV cache of a sliding-window layer: a ring of M places, the lower of window and maximum sequence length.

    Position p is stored at place p mod M.
    """

    def __init__(self, k_BGTD: torch.Tensor, v_BGTD: torch.Tensor, *, slots: int, window: int, max_tokens: int) -> None:
        self.window, self._places = window, min(window, max_tokens)
        self._ring = KeyValueBuffer(k_BGTD, v_BGTD, slots=slots, places=self._places)

    @property
    def nbytes(self) -> int:
        return self._ring.nbytes

    def append_segment(self, slot: int, start: int, k_1GTD: torch.Tensor, v_1GTD: torch.Tensor) -> KeysValues:
        """Store a segment, and return the keys and values visible to its queries, in order.

        These are the last min(start, window - 1) before the segment, followed by the segment.
        """
        k_1GSD = joined([*self._parts_before(self._ring.k_NGMD, slot, start), k_1GTD])
        v_1GSD = joined([*self._parts_before(self._ring.v_NGMD, slot, start), v_1GTD])
        self.store_segment(slot, start, k_1GTD, v_1GTD)
        return k_1GSD, v_1GSD

    def store_segment(self, slot: int, start: int, k_1GTD: torch.Tensor, v_1GTD: torch.Tensor) -> None:
        """Store a segment, which overwrites the keys and values that its queries see before it."""
        written = min(k_1GTD.shape[2], self._places)
        at = (start + k_1GTD.shape[2] - written) % self._places
        head = min(written, self._places - at)
        for ring_NGMD, new_1GTD in ((self._ring.k_NGMD, k_1GTD), (self._ring.v_NGMD, v_1GTD)):
            last_GTD = new_1GTD[0, :, new_1GTD.shape[2] - written :]
            copy_rows(ring_NGMD[slot, :, at : at + head], last_GTD[:, :head])
            copy_rows(ring_NGMD[slot, :, : written - head], last_GTD[:, head:])

    def ring_before(self, slot: int, start: int) -> KeysValues | None:
        """A view of the whole ring [1, G, M, D] if it holds the M positions before `start` in order, else None."""
        if not start or start % self._places:
            return None
        return self._ring.k_NGMD[slot : slot + 1], self._ring.v_NGMD[slot : slot + 1]

    def append_tokens(
        self, position_B: torch.Tensor, k_BG1D: torch.Tensor, v_BG1D: torch.Tensor, places: int
    ) -> KeysValues:
        """Store one token for each of the first B slots, and return views of their rings, which are not in order."""
        return self._ring.append_tokens(position_B, k_BG1D, v_BG1D, min(places, self._places))

    def token_places(self, position_B: torch.Tensor) -> TokenPlaces:
        """Where one token for each of the first B slots is stored."""
        return self._ring.token_places(position_B)

    def first_places(self, sequences: int, places: int) -> KeysValues:
        """Views of the first `places` places of the first slots' rings, all of them at most."""
        return self._ring.first_places(sequences, min(places, self._places))

    def before(self, slot: int, length: int) -> KeysValues:
        """The keys and values [1, G, S, D] visible to a token at position `length`, in order."""
        k, v = (joined(self._parts_before(ring, slot, length)) for ring in (self._ring.k_NGMD, self._ring.v_NGMD))
        return k, v

    def tensors(self, slot: int, length: int) -> list[torch.Tensor]:
        """Views of everything stored for a slot of `length` tokens."""
        return self._ring.tensors(slot, min(length, self._places))

    def _parts_before(self, ring_NGMD: torch.Tensor, slot: int, start: int) -> list[torch.Tensor]:
        kept = min(start, self.window - 1)
        first = (start - kept) % self._places
        ring_1GMD = ring_NGMD[slot : slot + 1]
        return [ring_1GMD[:, :, first : first + kept], ring_1GMD[:, :, : max(0, first + kept - self._places)]]


def copy_rows(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy a tensor into another one of its shape and dtype, as numbers of 16 bytes if both consist of those.

    PyTorch copies tensors in different orders of dimensions number by number, so on a GPU numbers of 2 bytes take three
    times as long.
    """
    wide = _as_wide(target), _as_wide(source)
    if wide[0] is None or wide[1] is None:
        target.copy_(source)
    else:
        wide[0].copy_(wide[1])


def _as_wide(x: torch.Tensor) -> torch.Tensor | None:
    per_wide = WIDE.itemsize // x.itemsize
    steps = (x.shape[-1], x.storage_offset(), *x.stride()[:-1])
    fits = x.stride(-1) == 1 and not any(step % per_wide for step in steps) and not x.is_complex()
    return x.view(WIDE) if fits else None


def behind(before: KeysValues | None, k_BGSD: torch.Tensor, v_BGSD: torch.Tensor) -> KeysValues:
    """Keys and values behind those before them."""
    if before is None:
        return k_BGSD, v_BGSD
    return joined([before[0], k_BGSD]), joined([before[1], v_BGSD])


def joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate parts [1, G, S, D]; a single part is returned as it is.

    Copies the parts, because `torch.cat` reads strided parts at a quarter of a GPU's copy rate.
    """
    filled = [part for part in parts if part.shape[2]]
    if len(filled) < 2:
        return filled[0] if filled else parts[0]
    _, groups, _, size = filled[0].shape
    joined_1GSD = filled[0].new_empty((1, groups, sum(part.shape[2] for part in filled), size))
    start = 0
    for part in filled:
        copy_rows(joined_1GSD[:, :, start : start + part.shape[2]], part)
        start += part.shape[2]
    return joined_1GSD


def _store(
    k_NGMD: torch.Tensor, v_NGME: torch.Tensor, position_B: torch.Tensor, k_BGD: torch.Tensor, v_BGE: torch.Tensor
) -> KeysValues:
    """Write sequence b's key and value to place position_B[b] mod M of slot b."""
    rows_B, place_B = torch.arange(len(position_B), device=position_B.device), position_B % k_NGMD.shape[2]
    k_NGMD[rows_B, :, place_B], v_NGME[rows_B, :, place_B] = k_BGD, v_BGE
    return k_NGMD, v_NGME


def _store_at_once(
    k_NGMD: torch.Tensor, v_NGME: torch.Tensor, position_B: torch.Tensor, k_BGD: torch.Tensor, v_BGE: torch.Tensor
) -> KeysValues:
    """Do the same in one launch."""
    from model_adapters.kernels.key_value.triton_store import store_tokens

    store_tokens(k_BGD, v_BGE, TokenPlaces(k_NGMD, v_NGME, position_B))
    return k_NGMD, v_NGME


@verdicts_kept(maxsize=4)
def _has_store(device: torch.device) -> bool:
    """Whether the Triton kernel that stores keys and values in one launch works on this device."""
    if device.type != "cuda":
        return False
    shapes = ((2, 3, 4, 8),) * 2 + ((2, 3, 8),) * 2
    k_NGMD, v_NGME, *new = (random_sample(shape, device, torch.float32, seed=seed) for seed, shape in enumerate(shapes))

    def store_in_copies(k_NGMD: torch.Tensor, v_NGME: torch.Tensor, *others: torch.Tensor) -> KeysValues:
        return _store_at_once(k_NGMD.clone(), v_NGME.clone(), *others)

    def reference(k_NGMD: torch.Tensor, v_NGME: torch.Tensor, *others: torch.Tensor) -> KeysValues:
        return _store(k_NGMD.clone(), v_NGME.clone(), *others)

    samples = [(k_NGMD, v_NGME, torch.tensor([1, 6], device=device), *new)]
    checked = checked_once(
        device, "key-value store", "", lambda: trial(store_in_copies, reference, samples, torch.float32)
    )
    return checked is None
