"""Inputs for the gated delta rule as they occur in a model, and the measure of agreement."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model_adapters.kernels.gated_delta.reference import recurrent_gated_delta_rule

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# bf16 products are wrong in Triton's interpreter, so on a CPU only fp32 is tested.
DTYPES = (torch.float32, torch.bfloat16) if DEVICE == "cuda" else (torch.float32,)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sizes of one input; log-decays lie in [-decay, 0] and betas in [lowest_beta, 2]."""

    sequences: int = 1
    tokens: int = 100
    key_heads: int = 1
    value_heads: int = 2
    key_size: int = 24
    value_size: int = 40
    decay: float = 0.3
    lowest_beta: float = 0.0
    dtype: torch.dtype = torch.float32
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """q, k, v as strided views of one projection, and the gates and the state."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    log_decay: torch.Tensor
    beta: torch.Tensor
    state: torch.Tensor

    def truth(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and final state by the definition, in fp64."""
        return recurrent_gated_delta_rule(
            self.q.double(),
            self.k.double(),
            self.v.double(),
            log_decay_BTH=self.log_decay,
            beta_BTH=self.beta,
            initial_state_BHKV=self.state,
        )

    def tokens(self, start: int, stop: int) -> "Inputs":
        """The tokens from `start` to `stop`."""
        parts = (x[:, start:stop] for x in (self.q, self.k, self.v, self.log_decay, self.beta))
        return Inputs(*parts, state=self.state)


def make_inputs(case: Case) -> Inputs:
    generator = torch.Generator(DEVICE).manual_seed(case.seed)
    key_width, value_width = case.key_heads * case.key_size, case.value_heads * case.value_size
    mixed = torch.randn(case.sequences, case.tokens, 2 * key_width + value_width, device=DEVICE, generator=generator)
    q, k, v = F.silu(mixed).to(case.dtype).split([key_width, key_width, value_width], dim=-1)
    gates = torch.rand(2, case.sequences, case.tokens, case.value_heads, device=DEVICE, generator=generator)
    state = torch.randn(
        case.sequences, case.value_heads, case.key_size, case.value_size, device=DEVICE, generator=generator
    )
    return Inputs(
        q.unflatten(-1, (case.key_heads, case.key_size)),
        k.unflatten(-1, (case.key_heads, case.key_size)),
        v.unflatten(-1, (case.value_heads, case.value_size)),
        -case.decay * gates[0],
        case.lowest_beta + (2 - case.lowest_beta) * gates[1],
        state,
    )
