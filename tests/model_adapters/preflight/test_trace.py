"""Traces hold what layers put out, whatever later layers do to it, and can be looked at by position."""

import torch

from model_adapters.preflight.trace import DEVICE_TOKENS, LayerRecorder, Trace
from tests.model_adapters.small_models import small_model


def test_a_kept_output_is_a_copy() -> None:
    recorder = LayerRecorder(small_model("llama"), 2)
    output_TD = torch.ones(2, 3)
    kept_TD = recorder.kept(output_TD)
    output_TD.zero_()
    assert kept_TD.tolist() == [[1, 1, 1]] * 2


def test_a_long_trace_is_kept_on_the_cpu() -> None:
    model = small_model("llama").to("meta")
    assert LayerRecorder(model, DEVICE_TOKENS + 1).kept(torch.empty(1)).device.type == "cpu"
    assert LayerRecorder(model, DEVICE_TOKENS).kept(torch.empty(1)).device.type == "meta"


def test_rows_are_those_of_the_positions_in_their_order() -> None:
    trace = Trace((torch.arange(4.0)[:, None],), torch.arange(8.0).view(4, 2))
    part = trace.rows([2, 0, 2])
    assert part.layers_TD[0].flatten().tolist() == [2, 0, 2]
    assert part.logits_TV.tolist() == [[4, 5], [0, 1], [4, 5]]
    assert trace.rows(range(4)).logits_TV is trace.logits_TV
    assert len(trace.rows(range(1, 3)).logits_TV) == 2
