"""What a model's decoder returns, a class of each family's own, with other hidden states in it."""

import copy
from typing import Any


def with_hidden(output: Any, hidden_BTD: Any) -> Any:
    """A copy of a decoder's output with these last hidden states and no hold on the cache it was made with."""
    part = copy.copy(output)
    part.last_hidden_state = hidden_BTD
    for name in ("past_key_values", "cache_params"):
        if getattr(part, name, None) is not None:
            setattr(part, name, None)
    return part
