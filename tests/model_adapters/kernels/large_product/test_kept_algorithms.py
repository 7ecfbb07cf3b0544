"""The file with the fastest algorithms: what is found in it, and what it survives."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.kernels.large_product import kept_algorithms as module
from model_adapters.kernels.large_product.cublas_lt import ALGORITHM_BYTES, ProductShape
from model_adapters.kernels.large_product.kept_algorithms import (
    LEAST_TOKENS,
    MEASURED_TOKENS,
    KeptAlgorithms,
    described_algorithms,
    kept_algorithms,
    measured_tokens,
)

SHAPE = ProductShape(22_016, 3840, False, torch.bfloat16)
ADDED = ProductShape(22_016, 3840, True, torch.bfloat16)
ONE, OTHER = bytes(range(ALGORITHM_BYTES)), bytes(ALGORITHM_BYTES)
HERE = {"gpu": "A", "cublas_lt": "130100"}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(module, "kernel_folder", lambda: tmp_path / "kernels")
    return tmp_path / "kernels"


def test_an_algorithm_serves_the_lengths_around_the_measured_one_in_later_processes() -> None:
    KeptAlgorithms(HERE).keep(SHAPE, 4096, ONE)
    KeptAlgorithms(HERE).keep(SHAPE, 8192, OTHER)
    kept = KeptAlgorithms(HERE)
    found = [kept.find(SHAPE, tokens) for tokens in (3071, 3072, 4095, 6144, 6145, 8191, 20_000)]
    assert found == [None, ONE, ONE, ONE, OTHER, OTHER, OTHER]
    assert kept.find(ADDED, 4096) is None
    assert KeptAlgorithms({**HERE, "cublas_lt": "130200"}).find(SHAPE, 4096) is None


@given(st.integers(1, 2**20))
def test_the_nearest_measured_length_is_used(tokens: int) -> None:
    found = measured_tokens(tokens)
    if tokens < LEAST_TOKENS:
        assert found is None
    else:
        assert found is not None
        assert abs(found - tokens) == min(abs(measured - tokens) for measured in MEASURED_TOKENS)


def test_cublas_own_choice_replaces_an_algorithm(folder: Path) -> None:
    kept = KeptAlgorithms(HERE)
    kept.keep(SHAPE, 4096, ONE)
    KeptAlgorithms(HERE).keep(ADDED, 4096, OTHER)  # by another process
    kept.keep(SHAPE, 4096, None)
    assert KeptAlgorithms(HERE).described() == {"4,096 × 22,016 × 3,840, added, bfloat16": OTHER.hex()}
    (file,) = folder.iterdir()
    assert json.loads(file.read_text())["environment"] == HERE


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"environment": {"gpu": "A", "cublas_lt": "130100"}, "algorithms": {"x": "zz"}}',
        '{"environment": 1}',
    ],
)
def test_a_damaged_file_keeps_nothing(content: str) -> None:
    kept = KeptAlgorithms(HERE)
    kept.path.parent.mkdir()
    kept.path.write_text(content)
    assert KeptAlgorithms(HERE).find(SHAPE, 4096) is None


def test_an_algorithm_of_another_size_is_left_out() -> None:
    kept = KeptAlgorithms(HERE)
    kept.path.parent.mkdir()
    algorithms = {"4,096 × 22,016 × 3,840, bfloat16": ONE[:-1].hex(), "8,192 × 22,016 × 3,840, bfloat16": ONE.hex()}
    kept.path.write_text(json.dumps({"environment": HERE, "algorithms": algorithms}))
    read = KeptAlgorithms(HERE)
    assert (read.find(SHAPE, 4096), read.find(SHAPE, 8192)) == (None, ONE)


def test_a_cpu_keeps_nothing() -> None:
    assert kept_algorithms(torch.device("cpu")) is None
    assert described_algorithms(torch.device("cpu")) == {}
