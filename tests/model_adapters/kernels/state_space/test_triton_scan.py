"""The scan's kernels against the recurrence in fp64."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_adapters.kernels.state_space import reference
from model_adapters.kernels.state_space.triton_scan import ScanLaunch, scan_state_space

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = ScanLaunch(chunk=32, rows=16)
# The interpreter multiplies bf16 values as if their bits were integers.
DTYPES = (torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else []))
TOLERANCE = {torch.float32: 1e-5 if DEVICE == "cpu" else 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@dataclass(frozen=True)
class Case:
    tokens: int = 70
    sequences: int = 1
    heads: int = 2
    groups: int = 1
    size: int = 16
    state_size: int = 16
    decay: float = 0.1
    skip: bool = True
    start: bool = True
    dtype: torch.dtype = torch.float32

    def inputs(self) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.tokens)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(DEVICE)

        rows, inner = (self.sequences, self.tokens), self.heads * self.size
        # Parts of one tensor, as in a layer, so that there are gaps between rows.
        mixed = normal(*rows, inner + 2 * self.groups * self.state_size).to(self.dtype)
        x, keys, queries = mixed.split([inner, *[self.groups * self.state_size] * 2], dim=-1)
        return {
            "x_BTHP": x.view(*rows, self.heads, self.size),
            "keys_BTGN": keys.view(*rows, self.groups, self.state_size),
            "queries_BTGN": queries.view(*rows, self.groups, self.state_size),
            "steps_BTH": torch.nn.functional.softplus(normal(*rows, self.heads)),
            "rates_H": -self.decay * (1 + normal(self.heads).abs()),
            "skip_H": normal(self.heads) if self.skip else None,
            "initial_state_BHPN": (
                normal(self.sequences, self.heads, self.size, self.state_size) if self.start else None
            ),
        }


def gap(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found.double() - truth).abs().max() / truth.abs().max())


def assert_right(case: Case, launch: ScanLaunch = SMALL) -> None:
    inputs = case.inputs()
    out, state = scan_state_space(**inputs, launch=launch)
    truth, true_state = reference.scan_state_space(**inputs)
    assert out.dtype == case.dtype
    assert gap(out, truth) <= TOLERANCE[case.dtype]
    assert gap(state, true_state) <= TOLERANCE[case.dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 15, 16, 31, 32, 33, 70])
def test_lengths_around_a_chunk(tokens: int, dtype: torch.dtype) -> None:
    assert_right(Case(tokens=tokens, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "state_size"), [(64, 128), (16, 256), (24, 40), (128, 16)])
def test_sizes_of_heads_and_states(size: int, state_size: int, dtype: torch.dtype) -> None:
    assert_right(Case(size=size, state_size=state_size, heads=1, tokens=40, dtype=dtype))


@pytest.mark.parametrize("decay", [0.0, 1e-3, 20.0])
def test_any_decay(decay: float) -> None:
    assert_right(Case(decay=decay))


@pytest.mark.parametrize(("skip", "start"), [(False, True), (True, False), (False, False)])
def test_without_a_skip_or_a_state(skip: bool, start: bool) -> None:
    assert_right(Case(skip=skip, start=start))


def test_heads_that_share_keys_and_several_sequences() -> None:
    assert_right(Case(heads=6, groups=2, sequences=2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_default_launch(dtype: torch.dtype) -> None:
    assert_right(Case(tokens=300, heads=1, size=64, state_size=128, dtype=dtype), ScanLaunch())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3))
def test_split_anywhere(parts: list[int]) -> None:
    inputs = Case(tokens=sum(parts)).inputs()
    truth, true_state = reference.scan_state_space(**inputs)
    outs, first = [], 0
    for count in parts:
        here = {name: value[:, first : first + count] for name, value in inputs.items() if "_BT" in name}
        out, inputs["initial_state_BHPN"] = scan_state_space(**(inputs | here), launch=SMALL)
        outs.append(out)
        first += count
    assert gap(torch.cat(outs, dim=1), truth) <= TOLERANCE[torch.float32]
    assert gap(inputs["initial_state_BHPN"], true_state) <= TOLERANCE[torch.float32]


def test_what_does_not_fit_is_refused() -> None:
    inputs = Case().inputs()
    with pytest.raises(ValueError, match=r"steps is \(1, 69, 2\) on .*; \(1, 70, 2\) on"):
        scan_state_space(**(inputs | {"steps_BTH": inputs["steps_BTH"][:, 1:]}))
    with pytest.raises(ValueError, match=r"keys are torch\.float64 and x is torch\.float32"):
        scan_state_space(**(inputs | {"keys_BTGN": inputs["keys_BTGN"].double()}))
    with pytest.raises(ValueError, match="3 heads must be a multiple of the 2 groups"):
        scan_state_space(**replace(Case(), heads=3, groups=2).inputs())
