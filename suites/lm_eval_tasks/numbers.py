"""Values of lm-eval's metrics for a document."""

from typing import Any


def is_number(value: Any) -> bool:
    """Whether a metric of one document is a number (numpy's too), and not a pair or a list to aggregate."""
    import numpy as np

    return isinstance(value, bool | int | float | np.bool_ | np.number)
