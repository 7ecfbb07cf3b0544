"""Adapters of peft (LoRA and its kin): merged into the weights of their base model, or refused in one line."""

import warnings
from collections import Counter
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from evalkit.installation import is_installed
from model_adapters.checkpoint import ADAPTER_CONFIG, Adapter
from model_adapters.messages import quiet_transformers, reason

INSTALL = "pip install peft"


class AdapterMerger:
    """Merges one adapter; raises UsageError at once if its method cannot be merged or peft is not installed."""

    def __init__(self, adapter: Adapter, name: str) -> None:
        """`name` stands for the adapter in messages."""
        self._adapter, self._name = adapter, name
        if not is_installed("peft"):
            raise UsageError(f"{name}: is an adapter, and peft, which merges it, is not installed; {INSTALL}")
        from peft import PeftConfig

        try:
            config = PeftConfig.from_pretrained(str(adapter.folder))
        except Exception as error:  # peft raises whatever its classes do
            raise UsageError(f"{name}: {ADAPTER_CONFIG} is refused by peft ({reason(error)}); repair it") from error
        if config.is_prompt_learning:
            method = getattr(config.peft_type, "value", config.peft_type)
            raise UsageError(
                f"{name}: its adapter ({method}) puts learned tokens before a prompt, which cannot be merged into "
                "weights; name a LoRA adapter or a whole model"
            )

    def merge(self, model: PreTrainedModel) -> PreTrainedModel:
        """The base model with the adapter in its weights; raises UsageError if the two do not belong together."""
        from peft import PeftModel, get_peft_model_state_dict
        from peft.utils.save_and_load import load_peft_weights

        folder = str(self._adapter.folder)
        try:
            # What it would warn of is refused below.
            with quiet_transformers(), warnings.catch_warnings(action="ignore"):
                adapted = PeftModel.from_pretrained(model, folder, local_files_only=True)
                stored, used = load_peft_weights(folder, device="cpu"), get_peft_model_state_dict(adapted)
                _check_keys(stored, used)
                _unshare(adapted)
                merged: PreTrainedModel = adapted.merge_and_unload()
        except _MismatchError as error:
            raise UsageError(
                f"{self._name}: its adapter {error}; check that adapter and base belong together"
            ) from None
        except Exception as error:  # each method fails in its own way
            raise UsageError(
                f"{self._name}: peft cannot merge the adapter into {self._adapter.base} ({reason(error)}); "
                "check that they belong together"
            ) from error
        return merged


class _MismatchError(Exception):
    pass


def _unshare(adapted: nn.Module) -> None:
    """Give each module that the adapter changes weights of its own.

    A change of the input embeddings, merged into a weight that the output embeddings share, would be one of both.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    places = Counter(id(weight) for _, weight in adapted.named_parameters(remove_duplicate=False))
    changed = (module.get_base_layer() for module in adapted.modules() if isinstance(module, BaseTunerLayer))
    for base in changed:
        for name, weight in list(base.named_parameters(recurse=False)):
            if places[id(weight)] > 1:
                setattr(base, name, nn.Parameter(weight.detach().clone(), requires_grad=False))


def _check_keys(stored: dict[str, Any], used: dict[str, Any]) -> None:
    if lacking := sorted(used.keys() - stored.keys()):
        raise _MismatchError(f"lacks {lacking[0]}")
    if unused := sorted(stored.keys() - used.keys()):
        raise _MismatchError(f"holds {unused[0]}, which the base model has no place for")
