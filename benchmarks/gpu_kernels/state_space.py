"""Jobs on other hybrids' mixers: Mamba-2's scan at the sizes of Nemotron-H 8B, KDA at those of Kimi Linear."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_kernels.rows import TOLERANCE, Rows, name_of
from model_adapters.kernels.state_space import reference
from model_adapters.kernels.state_space.triton_scan import ScanLaunch, scan_state_space
from model_adapters.kernels.trial import gap

HEADS, GROUPS, SIZE, STATE_SIZE = 128, 8, 64, 128
"""Mamba-2 layers of Nemotron-H 8B (config.json of nvidia/Nemotron-H-8B-Base-8K)."""
KDA_HEADS, KDA_SIZE = 32, 128
"""Kimi Linear 48B A3B (config.json of moonshotai/Kimi-Linear-48B-A3B-Base)."""


def make_inputs(tokens: int, dtype: torch.dtype, *, heads: int = HEADS, groups: int = GROUPS) -> dict[str, Any]:
    """Parts of one projection, as a layer has them."""
    generator = torch.Generator("cuda").manual_seed(tokens)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device="cuda", generator=generator)

    inner, shared = heads * SIZE, groups * STATE_SIZE
    mixed = normal(1, tokens, inner + 2 * shared).to(dtype)
    x, keys, queries = mixed.split([inner, shared, shared], dim=-1)
    return {
        "x_BTHP": x.unflatten(-1, (heads, SIZE)),
        "keys_BTGN": keys.unflatten(-1, (groups, STATE_SIZE)),
        "queries_BTGN": queries.unflatten(-1, (groups, STATE_SIZE)),
        "steps_BTH": torch.nn.functional.softplus(normal(1, tokens, heads) - 3),
        "rates_H": -torch.linspace(0.01, 16, heads, device="cuda"),
        "skip_H": normal(heads),
        "initial_state_BHPN": normal(1, heads, SIZE, STATE_SIZE),
    }


def check_scan(rows: Rows) -> None:
    for dtype, tolerance in TOLERANCE.items():
        for tokens in (1, 255, 257, 2000):
            case = f"T {tokens} {name_of(dtype)}"
            rows.check("ssm scan", case, partial(_scan_errors, tokens, dtype), tolerance)


def _scan_errors(tokens: int, dtype: torch.dtype) -> dict[str, float]:
    inputs = make_inputs(tokens, dtype, heads=8, groups=2)
    out, state = scan_state_space(**inputs)
    truth, true_state = reference.scan_state_space(**inputs)
    return {"out": gap(out, truth), "state": gap(state, true_state)}


def time_scan(rows: Rows) -> None:
    rows.ceilings()
    for tokens in (8192, 65536):
        inputs = make_inputs(tokens, torch.bfloat16)
        # x, keys, queries and step sizes are read once, outputs written once; each token meets the state twice.
        moved = tokens * (2 * (2 * HEADS * SIZE + 2 * GROUPS * STATE_SIZE) + 4 * HEADS)
        products = tokens * HEADS * SIZE * STATE_SIZE * 2 * 2
        for change in (
            {},
            {"chunk": 128},
            {"stages": 3},
            {"stages": 2},
            {"rows": 32},
            {"pass_block": 512},
            {"warps": 8},
        ):
            launch = ScanLaunch(**(asdict(ScanLaunch()) | change))
            name = " ".join(f"{key}={value}" for key, value in change.items()) or "as chosen"
            call = partial(scan_state_space, **inputs, launch=launch)
            rows.time("ssm scan", f"T {tokens} {name}", call, moved_bytes=moved, operations=products)
        if tokens == 8192:
            rows.profile("ssm scan", f"T {tokens}", partial(scan_state_space, **inputs), top=6)
        rows.time("transformers", f"T {tokens}", _plain_scan(inputs), moved_bytes=moved, operations=products)


def _plain_scan(inputs: dict[str, Any]) -> Callable[[], object]:
    from transformers.models.nemotron_h.modeling_nemotron_h import mamba2_chunk_scan

    return partial(
        mamba2_chunk_scan,
        inputs["x_BTHP"], inputs["steps_BTH"], inputs["rates_H"], inputs["keys_BTGN"], inputs["queries_BTGN"],
        chunk_size=128, D=inputs["skip_H"], initial_states=inputs["initial_state_BHPN"], return_final_states=True,
    )  # fmt: skip


def make_kda(tokens: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    generator = torch.Generator("cuda").manual_seed(tokens)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device="cuda", generator=generator)

    shape = (1, tokens, KDA_HEADS, KDA_SIZE)
    query, key, value = (normal(*shape).to(dtype) for _ in range(3))
    return {
        "query": query,
        "key": key,
        "value": value,
        "g": -torch.nn.functional.softplus(normal(*shape) - 2),
        "beta": torch.sigmoid(normal(1, tokens, KDA_HEADS)),
        "initial_state": normal(1, KDA_HEADS, KDA_SIZE, KDA_SIZE),
    }


def check_kda(rows: Rows) -> None:
    """What transformers calls with FLA installed, and its own code, against the recurrence in fp64."""
    from transformers.models.kimi_linear import modeling_kimi_linear as family

    for tokens in (65, 2000):
        inputs = make_kda(tokens, torch.bfloat16)
        truth = _kda_truth(**inputs)
        for name, rule in (
            ("installed", family.chunk_kimi_delta_attention),
            ("transformers", family.chunk_kimi_delta_attention.__wrapped__),
        ):
            rows.check(f"kda {name}", f"T {tokens}", partial(_kda_errors, rule, inputs, truth), 5e-3)


def _kda_errors(
    rule: Callable[..., tuple[torch.Tensor, ...]], inputs: dict[str, torch.Tensor], truth: tuple[torch.Tensor, ...]
) -> dict[str, float]:
    out, state = _kda(rule, inputs)()
    return {"out": gap(out, truth[0]), "state": gap(state, truth[1])}


def _kda(rule: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> Callable[[], Any]:
    """A call as transformers makes it: FLA has other names for the first three arguments."""
    qkv = [inputs[name] for name in ("query", "key", "value")]
    rest = {name: inputs[name] for name in ("g", "beta", "initial_state")}
    return partial(rule, *qkv, **rest, output_final_state=True, use_qk_l2norm_in_kernel=True)


def _kda_truth(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The recurrence token by token in fp64 (Kimi Team, Kimi Linear, 2025, eq. 1): a decay per channel of the keys."""
    q, k = (x.double() / (x.double().square().sum(-1, keepdim=True) + 1e-6).sqrt() for x in (query, key))
    q = q / q.shape[-1] ** 0.5
    state, outs = initial_state.double(), []
    for token in range(q.shape[1]):
        state = state * g[:, token, :, :, None].double().exp()
        missing = value[:, token].double() - torch.einsum("bhkv,bhk->bhv", state, k[:, token])
        written = beta[:, token, :, None].double() * missing
        state = state + k[:, token, :, :, None] * written[:, :, None]
        outs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, token]))
    return torch.stack(outs, dim=1), state


def time_kda(rows: Rows) -> None:
    rows.ceilings()
    from transformers.models.kimi_linear import modeling_kimi_linear as family

    for tokens in (8192, 65536):
        inputs = make_kda(tokens, torch.bfloat16)
        moved = tokens * KDA_HEADS * (2 * 4 * KDA_SIZE + 4 * KDA_SIZE)
        rule = family.chunk_kimi_delta_attention
        rows.time("kda installed", f"T {tokens}", _kda(rule, inputs), moved_bytes=moved)
        if tokens == 8192:
            rows.time("kda transformers", f"T {tokens}", _kda(rule.__wrapped__, inputs), moved_bytes=moved)
