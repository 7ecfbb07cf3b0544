"""New keys and values are written to their places, and nothing else is changed."""

import pytest
import torch

from model_adapters.kernels.key_value.places import TokenPlaces
from model_adapters.kernels.key_value.triton_store import store_tokens
from tests.model_adapters.kernels.gated_delta.cases import DEVICE, DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("key_size", "value_size"), [(8, 8), (24, 40)])
def test_each_sequence_writes_its_place(key_size: int, value_size: int, dtype: torch.dtype) -> None:
    generator = torch.Generator(DEVICE).manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=DEVICE, generator=generator).to(dtype)

    slots, groups, places = 4, 2, 7
    kept_k, kept_v = normal(slots, groups, places, key_size), normal(slots, groups, places, value_size)
    k, v = normal(3, 1, groups, key_size).transpose(1, 2)[:, :, 0], normal(3, groups, value_size)
    position = torch.tensor([0, 6, 7 * 3 + 2], device=DEVICE)
    expected_k, expected_v = kept_k.clone(), kept_v.clone()
    for row, place in enumerate((0, 6, 2)):
        expected_k[row, :, place], expected_v[row, :, place] = k[row], v[row]
    store_tokens(k, v, TokenPlaces(kept_k, kept_v, position))
    assert torch.equal(kept_k, expected_k)
    assert torch.equal(kept_v, expected_v)


def test_what_does_not_fit_is_one_line() -> None:
    kept, position = torch.zeros(2, 1, 5, 8, device=DEVICE), torch.zeros(2, dtype=torch.long, device=DEVICE)
    new = torch.zeros(2, 1, 8, device=DEVICE)
    for k, v, caches, at in (
        (new[..., :4], new, (kept, kept), position),
        (new, new.half(), (kept, kept), position),
        (new, new, (kept, kept[:, :, :3]), position),
        (torch.zeros(3, 1, 8, device=DEVICE), new, (kept, kept), torch.cat([position, position[:1]])),
        (torch.zeros(2, 1, 16, device=DEVICE)[..., ::2], new, (kept, kept), position),
    ):
        with pytest.raises(ValueError, match=r"\S+") as caught:
            store_tokens(k, v, TokenPlaces(*caches, at))
        assert "\n" not in str(caught.value)
