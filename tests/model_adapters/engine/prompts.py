"""Random prompts and what transformers itself makes of them: the truth that the engine is held to."""

from functools import lru_cache

import torch

from evalkit.records import Request
from tests.model_adapters.small_models import small_model


def random_prompt(tokens: int, *, seed: int = 0) -> tuple[int, ...]:
    """Ids of bytes, never of special tokens."""
    generator = torch.Generator().manual_seed(1000 * tokens + seed)
    return tuple(torch.randint(0, 256, (tokens,), generator=generator).tolist())


def make_requests(lengths: tuple[int, ...], budget: int) -> list[Request]:
    """Requests `0`, `1`, … with random prompts; each budget is one longer than the one before."""
    return [Request(str(index), random_prompt(tokens), budget + index) for index, tokens in enumerate(lengths)]


@lru_cache(maxsize=16)
def one_shot_logits(family: str, prompt: tuple[int, ...]) -> torch.Tensor:
    """transformers' own logits [1, V] after the prompt, in one forward pass without a cache."""
    with torch.no_grad():
        logits_1TV: torch.Tensor = small_model(family)(torch.tensor([prompt]), use_cache=False).logits
    return logits_1TV[:, -1]


def transformers_generate(family: str, request: Request) -> tuple[int, ...]:
    """New tokens of `transformers.generate`, greedy, the end-of-sequence token included."""
    input_ids = torch.tensor([request.token_ids])
    output = small_model(family).generate(
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        max_new_tokens=request.generation_tokens,
        do_sample=False,
    )
    return tuple(output[0, len(request.token_ids) :].tolist())
