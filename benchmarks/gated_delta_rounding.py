"""Rounding errors of the gated delta rule's prefill: a model of the kernels in fp64 that rounds where they round.

    python benchmarks/gated_delta_rounding.py --tokens 1000 8192

One head of the OLMo Hybrid 7B shape. One row per length, gates and way of rounding: relative errors of outputs, which
are rounded to bf16 at the end, and of the final state. 8,192 tokens take seconds, 65,536 minutes.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from model_adapters.kernels.trial import gap

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F

from model_adapters.kernels.gated_delta.reference import NORMALIZATION_EPSILON, chunk_gated_delta_rule

KEY_SIZE, VALUE_SIZE, CHUNK_TOKENS = 96, 192, 64
GATES = {
    "decay up to 0.1, beta 0 to 2": (0.1, 0.0),
    "up to 0.001, 1.9 to 2": (0.001, 1.9),
    "none, 1.99 to 2": (0.0, 1.99),
}
OPERANDS = frozenset({"key", "query", "inverse", "attention", "state", "missing", "written", "kept"})


@dataclass(frozen=True, slots=True)
class Rounding:
    """A format, the operands of products that go in as two numbers of it, and those that go in as they are."""

    dtype: torch.dtype
    in_two: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()

    def __call__(self, name: str, operand: torch.Tensor) -> torch.Tensor:
        assert name in OPERANDS
        if name in self.exact:
            return operand
        high = self._round(operand)
        return high + self._round(operand - high) if name in self.in_two else high

    def _round(self, operand: torch.Tensor) -> torch.Tensor:
        return operand.to(self.dtype).double()


WAYS = {
    "bf16": Rounding(torch.bfloat16),
    "bf16, in two": Rounding(
        torch.bfloat16, in_two=OPERANDS - {"attention", "query", "key"}, exact=frozenset({"key", "query"})
    ),
    "fp16": Rounding(torch.float16),
    "the kernels'": Rounding(torch.float16, in_two=frozenset({"missing"}), exact=frozenset({"key", "query"})),
    "fp16, more in two": Rounding(
        torch.float16, in_two=frozenset({"missing", "inverse", "kept"}), exact=frozenset({"key", "query"})
    ),
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """One head's, in fp64; q, k, v hold bf16 values, [T, K] and [T, V]; gates [T]; the state [K, V]."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    log_decay: torch.Tensor
    beta: torch.Tensor
    state: torch.Tensor

    @classmethod
    def random(cls, tokens: int, decay: float, lowest_beta: float, seed: int) -> "Inputs":
        generator = torch.Generator().manual_seed(seed)
        mixed = F.silu(torch.randn(tokens, 2 * KEY_SIZE + VALUE_SIZE, generator=generator)).bfloat16().double()
        q, k, v = mixed.split([KEY_SIZE, KEY_SIZE, VALUE_SIZE], dim=-1)
        gates = torch.rand(2, tokens, generator=generator).double()
        state = torch.randn(KEY_SIZE, VALUE_SIZE, generator=generator).double()
        return cls(q, k, v, -decay * gates[0], lowest_beta + (2 - lowest_beta) * gates[1], state)

    def truth(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs [T, V] and final state [K, V] without any rounding."""
        out, state = chunk_gated_delta_rule(
            *(x[None, :, None] for x in (self.q, self.k, self.v)),
            log_decay_BTH=self.log_decay[None, :, None],
            beta_BTH=self.beta[None, :, None],
            initial_state_BHKV=self.state[None, None],
        )
        return out[0, :, 0], state[0, 0]


def prefill(inputs: Inputs, rounded: Rounding) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs [T, V] and final state [K, V] by chunks, with the operands of products rounded."""
    q, k = (x * torch.rsqrt(x.square().sum(-1, keepdim=True) + NORMALIZATION_EPSILON) for x in (inputs.q, inputs.k))
    state, outs, scale = inputs.state, [], KEY_SIZE**-0.5
    for start in range(0, len(q), CHUNK_TOKENS):
        here = slice(start, start + CHUNK_TOKENS)
        key, query, beta = rounded("key", k[here]), rounded("query", q[here]), inputs.beta[here]
        since_start = inputs.log_decay[here].cumsum(0)
        decay = (since_start[:, None] - since_start).exp().tril()
        lower = (beta[:, None] * (k[here] @ k[here].T) * decay).tril(-1)
        inverse = torch.linalg.inv(torch.eye(len(beta)).double() + lower) * beta
        attention = scale * (q[here] @ k[here].T) * decay
        from_start = since_start.exp()[:, None]
        missing = inputs.v[here] - from_start * (key @ rounded("state", state))
        written = rounded("inverse", inverse) @ rounded("missing", missing)
        # Queries use one number of the state, as in the kernels, because this error does not accumulate.
        read = scale * from_start * (query @ state.to(rounded.dtype).double())
        outs.append((read + rounded("attention", attention) @ rounded("written", written)).bfloat16().double())
        kept = (since_start[-1] - since_start).exp()[:, None] * written
        state = since_start[-1].exp() * state + key.T @ rounded("kept", kept)
    return torch.cat(outs), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", nargs="+", type=int, default=[1000, 8192])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'tokens':>7}  {'decay a token, beta':28}  {'operands':17}  outputs  state")
    for tokens in args.tokens:
        for gates, (decay, lowest_beta) in GATES.items():
            inputs = Inputs.random(tokens, decay, lowest_beta, args.seed)
            truth = inputs.truth()
            for way, rounding in WAYS.items():
                out, state = (gap(*pair) for pair in zip(prefill(inputs, rounding), truth, strict=True))
                print(f"{tokens:7,}  {gates:28}  {way:17}  {out:.1e}  {state:.1e}", flush=True)


if __name__ == "__main__":
    main()
