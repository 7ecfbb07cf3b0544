"""How attention weights are computed from queries and keys.

Shape suffixes: B sequences, H query heads, T queries, E value size.
"""

from typing import NamedTuple

import torch


class Scoring(NamedTuple):
    """Scores are `scale` × query · key, then capped, then normalized together with the head's sink."""

    scale: float
    softcap: float | None = None
    """Constant c of the cap c tanh(score / c), as in Gemma 2 (arXiv:2408.00118)."""
    sinks_H: torch.Tensor | None = None
    """A score per head that takes weight from all keys and has no value, as in gpt-oss (arXiv:2508.10925)."""

    @property
    def is_plain(self) -> bool:
        """Whether scores are only scaled, which all kernels support."""
        return self.softcap is None and self.sinks_H is None

    def capped(self, score: torch.Tensor) -> torch.Tensor:
        """Apply the cap to scaled scores."""
        return score if self.softcap is None else self.softcap * torch.tanh(score / self.softcap)

    def with_sinks(self, out_BHTE: torch.Tensor, lse_BHT: torch.Tensor) -> torch.Tensor:
        """Add sinks to the output of attention without sinks, given the log-sum-exp of its scores.

        A sink s takes the share sigmoid(s - lse) of all weights.
        """
        if self.sinks_H is None:
            return out_BHTE
        share_BHT1 = torch.sigmoid(lse_BHT.float() - self.sinks_H.float()[:, None])[..., None]
        return (out_BHTE.float() * share_BHT1).to(out_BHTE.dtype)
