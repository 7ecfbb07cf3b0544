"""The first position in a model's own numbering: 0, or the one after the padding row of its position table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from model_adapters.engine.forward.decoder_layers import find_decoder, first_layers_only
from model_adapters.engine.forward.slot_attention import attention_set_to

TOKENS = 3


@torch.no_grad()
def first_position(model: PreTrainedModel) -> int:
    """The position that a model's decoder gives to a text's first token by default.

    Raises UsageError if its positions are not consecutive.
    """
    decoder = find_decoder(model)
    padding = getattr(model.config.get_text_config(decoder=True), "pad_token_id", None)  # it may have no position
    id_1T = torch.tensor([[token_id for token_id in range(TOKENS + 1) if token_id != padding][:TOKENS]])
    id_1T = id_1T.to(model.device)
    position_1T = torch.arange(TOKENS, device=model.device)[None]
    with attention_set_to(model, "eager"), first_layers_only(model, 1):
        with _Lookups() as own:
            decoder(input_ids=id_1T, use_cache=False)
        with _Lookups() as stated:
            decoder(input_ids=id_1T, position_ids=position_1T, use_cache=False)
    firsts = {0}
    for ours, theirs in zip(stated.rows, own.rows, strict=True):
        if not torch.equal(ours, theirs):
            firsts = {int(gap) for gap in (theirs - ours).flatten()}
    if len(firsts) > 1:
        raise UsageError(
            f"{type(model).__name__} does not number positions consecutively, so the engine cannot run it; "
            "use a model of another family"
        )
    return firsts.pop()


class _Lookups(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the base looks at subclasses
    """Records the rows that are looked up in embedding tables, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: list[torch.Tensor] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.embedding.default:
            self.rows.append(args[1].clone())
        return func(*args, **(kwargs or {}))
