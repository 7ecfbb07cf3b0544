"""A short preflight is made once per weights, code, libraries and GPU, and again whenever any of them differs."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from evalkit.cache import cache_folder
from evalkit.errors import UsageError
from evalkit.records import PreflightCheck, Request
from evalkit.records.codec import from_dict, to_dict
from evalkit.records.runs import ThinkingUse
from evalkit.running.model_options import GdnKernel, ModelOptions
from model_adapters import kept_files
from model_adapters.kernels import kernel_cache
from model_adapters.kernels.kernel_cache import Agreements, checked_once
from model_adapters.loading import load_model
from model_adapters.opening import OpenedModel, open_loaded, open_model
from model_adapters.preflight import Subject, full_preflight, kept_checks
from reports.preflight_report import preflight_fact
from tests.model_adapters.small_models import save_small_checkpoint, small_model

ENVIRONMENT = {"gpu": "H100", "code": "1"}
CPU = torch.device("cpu")

Process = Callable[..., OpenedModel]
"""Opens a model as a new process does."""


@pytest.fixture
def options(tmp_path: Path) -> ModelOptions:
    return ModelOptions(str(save_small_checkpoint(tmp_path / "checkpoint", "olmo_hybrid")), device="cpu")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """The models that were checked, in order, by a check that takes no time."""
    made = list[Subject]()

    def short_preflight(subject: Subject, *, invariant: object) -> tuple[PreflightCheck, ...]:
        made.append(subject)
        return (PreflightCheck("kernels", "pass", f"sizes {invariant}"),)

    monkeypatch.setattr(kept_checks, "short_preflight", short_preflight)
    return made


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(kernel_cache, "REMEMBERED_DEVICES", ("cpu",))

    def run(
        options: ModelOptions, environment: Mapping[str, str | None] = ENVIRONMENT, rejected: str = ""
    ) -> OpenedModel:
        found = Agreements(environment)
        monkeypatch.setattr(kernel_cache, "_agreements", lambda _: found)
        if rejected:
            checked_once(CPU, rejected, "", lambda: "is off")
        return open_model(options)

    return run


def stored_files() -> list[Path]:
    return sorted((cache_folder() / "kernels" / "preflight").glob("*"))


def answer(opened: OpenedModel) -> tuple[int, ...]:
    (completion,) = opened.make_adapter().generate([Request("one", tuple(range(40, 90)), 8)])
    return completion.token_ids


def test_a_later_process_takes_the_checks_and_says_when_they_were_made(process: Process, options: ModelOptions) -> None:
    first, second = process(options), process(options)
    assert {check.made_at for check in first.preflight} == {None}
    (made_at,) = {check.made_at for check in second.preflight}
    assert made_at is not None
    assert abs(datetime.now(UTC) - datetime.fromisoformat(made_at)).total_seconds() < 3600
    assert tuple(replace(check, made_at=None) for check in second.preflight) == first.preflight
    assert answer(second) == answer(first)
    assert preflight_fact(first.preflight)[1] == "6 of 6 checks passed"
    assert preflight_fact(second.preflight)[1] == (
        f"6 of 6 checks passed, on {made_at[:10]} with the same weights, code, libraries and kind of GPU"
    )


def test_a_copy_of_the_checkpoint_is_the_same_model(
    process: Process, made: list[Subject], options: ModelOptions, tmp_path: Path
) -> None:
    process(options)
    shutil.copytree(options.model, tmp_path / "copy")
    process(replace(options, model=str(tmp_path / "copy")))
    assert len(made) == 1


def test_chat_with_a_model_does_not_decide_its_checks(
    process: Process, made: list[Subject], options: ModelOptions
) -> None:
    opened = process(options)
    thinking = ThinkingUse(64, {"enable_thinking": True}, "<think>", "</think>")
    loaded = load_model(options)
    open_loaded(options, loaded, replace(opened.identity, chat_template="sha256:0", thinking=thinking))
    assert len(made) == 1


def _other_weights(options: ModelOptions, _: pytest.MonkeyPatch) -> ModelOptions:
    small_model("olmo_hybrid", seed=1).save_pretrained(options.model)
    return options


def _other_tokenizer(options: ModelOptions, _: pytest.MonkeyPatch) -> ModelOptions:
    file = Path(options.model) / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "normalizer": {"type": "NFC"}}), encoding="utf-8")
    return options


def _other_library(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    own = kept_files.installed_code
    monkeypatch.setattr(kept_files, "installed_code", lambda name: "0" if name == "causal-conv1d" else own(name))
    return options


def _other_code(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    monkeypatch.setattr(kept_files, "code_digest", lambda: "another")
    return options


def _other_variable(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    return options


def _other_switch(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    return options


def _other_attention(options: ModelOptions, monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    monkeypatch.setattr(kept_files, "current_flash_attention_impl", lambda: "FA3")
    return options


def _changed(**fields: Any) -> Callable[[ModelOptions, pytest.MonkeyPatch], ModelOptions]:
    return lambda options, _: replace(options, **fields)


@pytest.mark.parametrize(
    "change",
    [
        _other_weights,
        _other_tokenizer,
        _other_library,
        _other_code,
        _other_variable,
        _other_switch,
        _other_attention,
        _changed(dtype="bfloat16"),
        _changed(gdn_kernel=GdnKernel.TORCH),
        _changed(override="linear:factor=2,theta=10000"),
        _changed(batch_invariant=True),
    ],
)
def test_whatever_decides_the_checks_is_told_apart(
    process: Process,
    made: list[Subject],
    options: ModelOptions,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[ModelOptions, pytest.MonkeyPatch], ModelOptions],
) -> None:
    process(options)
    options = change(options, monkeypatch)
    for _ in range(2):
        process(options)
        assert len(made) == 2


def test_another_gpu_or_version_is_told_apart(process: Process, made: list[Subject], options: ModelOptions) -> None:
    process(options)
    process(options, {**ENVIRONMENT, "gpu": "H200"})
    assert len(made) == 2


def test_sizes_of_a_batch_matter_only_if_answers_must_not_depend_on_it(
    process: Process, made: list[Subject], options: ModelOptions
) -> None:
    process(options)
    process(replace(options, batch_sequences=2, segment_tokens=64))
    assert len(made) == 1
    for count, sequences in ((2, 2), (3, 3), (3, 2)):
        opened = process(replace(options, batch_invariant=True, batch_sequences=sequences))
        assert len(made) == count
        assert opened.preflight[0].statement == f"sizes {(None, sequences)}"


def test_a_stop_is_found_again_by_every_process(
    process: Process, options: ModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as faulty:
        faulty.setattr("model_adapters.preflight.equivalence.PREFIX_SHARE", float("nan"))
        for _ in range(2):
            with pytest.raises(UsageError, match="preflight stops at"):
                process(options)
    assert stored_files() == []
    assert {check.made_at for check in process(options).preflight} == {None}


def test_the_full_preflight_never_takes_them(
    process: Process, options: ModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(options)
    monkeypatch.setattr("model_adapters.preflight.equivalence.PREFIX_SHARE", float("nan"))
    assert process(options).preflight
    loaded = load_model(options)
    checks = full_preflight(Subject(loaded.model, loaded.tokenizer, loaded.identity), 256)
    assert "stop" in {check.outcome for check in checks}


def _without_checks(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "checks": []}


def _stopped(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "checks": [{**content["checks"][0], "outcome": "stop"}, *content["checks"][1:]]}


def _of_another(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "subject": {**content["subject"], "code": "another"}}


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[1]", b"{}", b"\xff", b'{"checks": 3}', b"[" * 100_000, _without_checks, _stopped, _of_another],
)
def test_a_damaged_file_costs_a_preflight(
    process: Process,
    made: list[Subject],
    options: ModelOptions,
    damaged: bytes | Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    process(options)
    (file,) = stored_files()
    whole = file.read_bytes()
    file.write_bytes(damaged if isinstance(damaged, bytes) else json.dumps(damaged(json.loads(whole))).encode())
    process(options)
    assert len(made) == 2
    process(options)
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_costs_a_preflight(
    process: Process, made: list[Subject], options: ModelOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    for count in (1, 2):
        process(options)
        assert len(made) == count


def test_other_kernels_are_checked_again(process: Process, made: list[Subject], options: ModelOptions) -> None:
    process(options)
    process(options, rejected="norm")  # now one is missing
    assert len(made) == 2
    process(options, rejected="norm")  # as it was
    process(options)  # or is not needed
    assert len(made) == 2
    Agreements(ENVIRONMENT).add("norm ")  # the name of a kernel and its shape
    process(options)  # it runs again
    assert len(made) == 3


@pytest.mark.parametrize("module", kept_files.TUNED)
def test_libraries_that_choose_kernels_in_each_process_are_checked_by_each(
    process: Process, made: list[Subject], options: ModelOptions, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    opened = process(options)
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    loaded = load_model(options)
    open_loaded(options, loaded, opened.identity)
    assert len(made) == 2


@pytest.mark.parametrize("field", ["fingerprint", "tokenizer"])
def test_nothing_is_kept_without_a_fingerprint(
    process: Process, made: list[Subject], options: ModelOptions, field: str
) -> None:
    opened = process(options)
    for count in (2, 3):
        loaded = load_model(options)
        open_loaded(options, loaded, replace(opened.identity, **{field: "unknown"}))
        assert len(made) == count


def test_other_code_is_checked_by_each_process(
    process: Process, made: list[Subject], options: ModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = process(options)
    loaded = load_model(options)
    monkeypatch.setitem(sys.modules, "transformers_modules.changed", sys.modules[type(loaded.model).__module__])
    loaded.model.__class__ = type("Changed", (type(loaded.model),), {"__module__": "transformers_modules.changed"})
    open_loaded(options, loaded, opened.identity)
    assert len(made) == 2


def test_libraries_that_can_be_edited_are_checked_by_each_process(
    process: Process, made: list[Subject], options: ModelOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = kept_files.installed_code
    for count in (1, 2):
        process(options, environment={**ENVIRONMENT, "transformers": None})
        assert len(made) == count
    monkeypatch.setattr(kept_files, "installed_code", lambda name: None if name == "tokenizers" else own(name))
    for count in (3, 4):
        process(options)
        assert len(made) == count
    assert stored_files() == []


def test_nothing_is_kept_on_a_cpu(options: ModelOptions, made: list[Subject]) -> None:
    for count in (1, 2):
        assert {check.made_at for check in open_model(options).preflight} == {None}
        assert len(made) == count
    assert stored_files() == []


def test_records_of_other_versions_are_read() -> None:
    check = PreflightCheck("kernels", "pass", "agrees", made_at="2026-05-01T12:00:00Z")
    assert from_dict(PreflightCheck, to_dict(check)) == check
    earlier = {name: value for name, value in to_dict(check).items() if name != "made_at"}
    assert from_dict(PreflightCheck, earlier) == replace(check, made_at=None)
