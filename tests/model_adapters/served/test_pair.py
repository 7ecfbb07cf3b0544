"""A comparison with a server finds the faults that served engines have had, and nothing in a healthy one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.analysis.agreement.answers import Sides
from evalkit.analysis.agreement.measure import Measured, measure
from evalkit.analysis.agreement.probes import WHOLE, Probe, make_probes
from evalkit.analysis.agreement.rounding import Rounding
from evalkit.errors import UsageError
from evalkit.running.model_options import Dtype, ModelOptions
from evalkit.running.protocols import Adapter
from model_adapters.served import client
from model_adapters.served.pair import ReferenceModel, open_served
from tests.model_adapters.served import stand_in
from tests.model_adapters.served.fake_server import FakeServer, serve
from tests.model_adapters.served.stand_in import StandIn
from tests.model_adapters.small_models import save_small_checkpoint

BLOCKS = {"server block of 16": 16}


class Engine:
    """A small hybrid in the engine, with its prompts and rounding error."""

    def __init__(self, folder: Path, dtype: Dtype, segment_tokens: int) -> None:
        options = ModelOptions(
            str(folder),
            device="cpu",
            dtype=dtype,
            segment_tokens=segment_tokens,
            batch_sequences=3,
            skip_preflight=True,
        )
        self.model = ReferenceModel(options, ())
        texts = [" ".join(f"{word} {number * number}" for number in range(14)) for word in ("letter", "number")]
        prompts = [tuple(self.model.tokenizer.encode_prompt(text)) for text in texts]
        self.prompts = [Probe(f"prompt {ids[0]}", WHOLE, 256, ids, 3) for ids in prompts]
        self.probes = make_probes(self.prompts, BLOCKS, lambda _: True)
        self.rounding: Rounding = self.model.rounding(prompts[0])
        self.adapter: Adapter = self.model.adapter(prompts[0], 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_checkpoint(tmp_path_factory.mktemp("hybrid"), "olmo_hybrid")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder, Dtype.FLOAT32, 64)


@pytest.fixture(scope="module")
def other_engine(folder: Path) -> Engine:
    return Engine(folder, Dtype.FLOAT32, 41)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, other_engine: Engine) -> Iterator[StandIn]:
    monkeypatch.setattr(client, "_FIRST_DELAY_SECONDS", 0.001)
    with serve() as fake:
        yield StandIn(other_engine.adapter, fake)


def compared(engine: Engine, fake: FakeServer) -> Measured:
    served = open_served(fake.url, None, engine.model.tokenizer, concurrency=4, ctxs=(), checkpoint="unused")
    sides = Sides(engine.adapter, served.alone, served.at_once, engine.model.end_ids)
    given_text = served.abilities.log_probabilities
    return measure(sides, engine.probes, BLOCKS, engine.rounding, repeats=2, given_text=given_text)


@pytest.mark.parametrize("gives_ids", [True, False])
def test_a_healthy_server_agrees(engine: Engine, server: StandIn, gives_ids: bool) -> None:
    server.gives_ids = gives_ids
    found = compared(engine, server.fake)
    assert (found.findings, found.failures, found.differences) == ((), (), ())
    assert {group.way for group in found.answers} == {"alone", "repeated", "under load"}
    assert all(group.requests == group.equal for group in found.answers)
    own = [group for group in found.gaps if "own answers" in group.where]
    assert len(own) == (2 if gives_ids else 0)
    assert {"all positions", "all positions, under load", "5 tokens at each border: server block of 16"} <= {
        group.where for group in found.gaps
    }


def test_a_state_that_is_lost_at_a_chunk(engine: Engine, server: StandIn) -> None:
    server.fault = stand_in.state_lost_at_chunks
    found = compared(engine, server.fake)
    assert "alone, whole prompts: 2 of 2 answers differ from the reference's" in found.findings
    assert f"at 256: log-probabilities depart from position {stand_in.CHUNK} on" in found.findings
    by_place = {group.where: group for group in found.gaps}
    assert not by_place["all positions"].agrees
    assert by_place["all positions"].largest_at >= stand_in.CHUNK


def test_a_stale_prefix(engine: Engine, server: StandIn) -> None:
    server.fault = stand_in.stale_prefix
    found = compared(engine, server.fake)
    differing = {(group.way, group.what): group.differing for group in found.answers if group.differing}
    assert ("alone", "prompts that share a beginning") in differing
    assert ("alone", WHOLE) not in differing


def test_answers_that_are_wrong_under_load_only(engine: Engine, server: StandIn) -> None:
    server.fault = stand_in.wrong_under_load
    found = compared(engine, server.fake)
    assert {group.way for group in found.answers if group.differing} == {"under load"}
    assert all(group.agrees for group in found.gaps if "under load" not in group.where)


def test_a_prompt_that_is_shifted_by_a_bos(engine: Engine, server: StandIn) -> None:
    server.fault = stand_in.shifted_by_bos
    found = compared(engine, server.fake)
    assert any(line.startswith("alone, whole prompts") for line in found.findings)
    assert not any(group.agrees for group in found.gaps if group.where == "all positions")


def test_a_bos_that_the_server_counts(engine: Engine, server: StandIn) -> None:
    server.fake.reply = lambda ids: {"prompt_tokens": len(ids) + 1}
    found = compared(engine, server.fake)
    assert any("2 of 2 requests failed" in line for line in found.findings)
    assert found.failures[0].startswith("the server read ")


def test_log_probabilities_that_fail_are_a_finding(engine: Engine, server: StandIn) -> None:
    server.fake.fault = lambda body, before: (400, {}) if body.get("echo") and len(body["prompt"]) > 64 else None
    found = compared(engine, server.fake)
    assert found.findings == (
        "log-probabilities: 2 of 2 requests failed",
        "log-probabilities, under load: 2 of 2 requests failed",
    )


def test_another_model(engine: Engine, server: StandIn, tmp_path: Path) -> None:
    other = Engine(save_small_checkpoint(tmp_path / "other", "olmo_hybrid", seed=1), Dtype.FLOAT32, 64)
    server.adapter = other.adapter
    found = compared(engine, server.fake)
    assert "alone, whole prompts: 2 of 2 answers differ from the reference's" in found.findings
    assert not any(group.agrees for group in found.gaps)


def test_rounding_explains_what_bf16_changes(folder: Path, server: StandIn) -> None:
    """Both round to bf16, in other segments and batches: far more than fp32 allows, and within bf16's own loss."""
    server.adapter = Engine(folder, Dtype.BFLOAT16, 41).adapter
    found = compared(Engine(folder, Dtype.BFLOAT16, 64), server.fake)
    assert found.findings == ()
    assert all(1e-3 < group.rms < group.bound < 1 for group in found.gaps)


def test_a_server_that_cannot_be_compared(engine: Engine, server: StandIn) -> None:
    server.fake.listing = {"max_model_len": 64}
    with pytest.raises(UsageError, match="reads at most 64 tokens of served, and the run has a context of 256"):
        open_served(server.fake.url, None, engine.model.tokenizer, concurrency=1, ctxs=(256,), checkpoint="x")
    with pytest.raises(UsageError, match="no model other"):
        open_served(server.fake.url, "other", engine.model.tokenizer, concurrency=1, ctxs=(), checkpoint="x")
