"""Fixtures shared by the training tests."""

from collections.abc import Iterator

import pytest
from transformers.models.olmo_hybrid import modeling_olmo_hybrid


@pytest.fixture
def transformers_restored() -> Iterator[None]:
    """`fast_paths.install` replaces functions of transformers' module for the whole process."""
    kept = modeling_olmo_hybrid.causal_conv1d_fn, modeling_olmo_hybrid.torch_chunk_gated_delta_rule
    yield
    modeling_olmo_hybrid.causal_conv1d_fn, modeling_olmo_hybrid.torch_chunk_gated_delta_rule = kept
