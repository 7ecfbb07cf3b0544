"""The decoder inside a model, and its list of layers."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel


def find_decoder(model: PreTrainedModel) -> nn.Module:
    """The module that maps token ids to the hidden states for the model's head."""
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    # Some heads have a linear layer called decoder, and some families name no decoder at all.
    decoder = decoder if isinstance(decoder, PreTrainedModel) else model.base_model
    inner = (child for child in model.children() if isinstance(child, PreTrainedModel))
    return next(inner, decoder) if decoder is model else decoder


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers under any family's name; empty if the family has no list of layers."""
    return getattr(*_place_of_layers(find_decoder(model)), nn.ModuleList())


def count_to_last_kind(model: PreTrainedModel, memories: Sequence[Hashable]) -> int:
    """The number of first layers that include each kind, by the shapes of weights and by what is stored."""
    kinds: dict[Hashable, int] = {}
    layers = decoder_layers(model)
    for index, layer in enumerate(layers):
        shapes = tuple((name, tensor.shape) for name, tensor in layer.named_parameters())
        kinds.setdefault((shapes, memories[index] if len(memories) == len(layers) else None), index)
    return max(kinds.values(), default=-1) + 1


@contextmanager
def first_layers_only(model: PreTrainedModel, count: int) -> Iterator[None]:
    """Reduce the decoder to its first `count` layers in this block."""
    owner, name = _place_of_layers(find_decoder(model))
    layers = decoder_layers(model)
    setattr(owner, name, layers[:count])
    try:
        yield
    finally:
        setattr(owner, name, layers)


def _place_of_layers(decoder: nn.Module) -> tuple[nn.Module, str]:
    """The owner and name of the longest module list, among the outermost ones."""
    level = [decoder]
    while level:
        lists = [
            (len(child), owner, name)
            for owner in level
            for name, child in owner.named_children()
            if isinstance(child, nn.ModuleList) and len(child)
        ]
        if lists:
            _, owner, name = max(lists, key=lambda found: found[0])
            return owner, name
        level = [child for owner in level for child in owner.children()]
    return decoder, "layers"
