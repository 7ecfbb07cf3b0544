"""How an attention call turns queries and keys into weights.

Shape suffixes: B sequences, H query heads, T queries, E value size.
"""

from typing import NamedTuple

import torch


class Scoring(NamedTuple):
    """Scores are `scale` × query · key, then capped, then normalised together with a head's sink."""

    scale: float
    softcap: float | None = None
    """c of c tanh(score / c), as in Gemma 2 (arXiv:2408.00118)."""
    sinks_H: torch.Tensor | None = None
    """A score for each head that takes weight from all keys and has no value, as in gpt-oss (arXiv:2508.10925)."""

    @property
    def is_plain(self) -> bool:
        """Whether scores are only scaled, as all kernels do."""
        return self.softcap is None and self.sinks_H is None

    def capped(self, score: torch.Tensor) -> torch.Tensor:
        """Scaled scores with their cap."""
        return score if self.softcap is None else self.softcap * torch.tanh(score / self.softcap)

    def with_sinks(self, out_BHTE: torch.Tensor, lse_BHT: torch.Tensor) -> torch.Tensor:
        """The output of attention without sinks, whose scores have this log-sum-exp, with them.

        A sink s takes the share sigmoid(s - lse) of all weights.
        """
        if self.sinks_H is None:
            return out_BHTE
        share_BHT1 = torch.sigmoid(lse_BHT.float() - self.sinks_H.float()[:, None])[..., None]
        return (out_BHTE.float() * share_BHT1).to(out_BHTE.dtype)
