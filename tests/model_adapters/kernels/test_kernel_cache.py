"""Checks of kernels run once per version, GPU and shape, and a copied kernel cache is as good as the original."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from evalkit.cache import cache_folder
from model_adapters.kernels import kernel_cache
from model_adapters.kernels.kernel_cache import LOCATION, TRITON_VARIABLE, checked_once, use_kernel_cache

CPU = torch.device("cpu")
ENVIRONMENT = {"gpu": "H100", "code": "1"}


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs checks of kernels as a new process does; returns the shapes that it had to check."""
    monkeypatch.setattr(kernel_cache, "REMEMBERED_DEVICES", ("cpu",))

    def run(*shapes: str, faulty: bool = False, environment: Mapping[str, str | None] = ENVIRONMENT) -> list[str]:
        agreements = kernel_cache.Agreements(environment)
        monkeypatch.setattr(kernel_cache, "_agreements", lambda _: agreements)
        checked = []

        def check(shape: str) -> str | None:
            checked.append(shape)
            return "is off by 9e-1" if faulty else None

        for shape in shapes:
            assert checked_once(CPU, "norm", shape, lambda shape=shape: check(shape)) == (  # type: ignore[misc]
                "is off by 9e-1" if faulty and shape in checked else None
            )
        return checked

    return run


def test_agreement_is_remembered_by_shape_and_environment(process: Callable[..., list[str]]) -> None:
    assert process("a", "b", "a") == ["a", "b"]
    assert process("a", "b", "c") == ["c"]
    assert process("a", environment={**ENVIRONMENT, "gpu": "H200"}) == ["a"]
    assert process("a", environment={**ENVIRONMENT, "code": "2"}) == ["a"]
    assert process("a", "b", "c") == []


def test_nothing_is_remembered_of_a_library_that_can_be_edited(process: Callable[..., list[str]]) -> None:
    environment = {**ENVIRONMENT, "torch": None}
    assert process("a", "a", environment=environment) == ["a"]
    assert process("a", environment=environment) == ["a"]
    assert not cache_folder().exists()


def test_a_fault_is_found_again_by_every_process(process: Callable[..., list[str]]) -> None:
    assert process("a", faulty=True) == ["a"]
    assert process("a", faulty=True) == ["a"]
    assert process("a") == ["a"]


def test_processes_that_run_at_once_lose_nothing(process: Callable[..., list[str]]) -> None:
    first, second = kernel_cache.Agreements(ENVIRONMENT), kernel_cache.Agreements(ENVIRONMENT)
    first.add("norm a")
    second.add("norm b")
    assert process("a", "b") == []


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff", b'{"agreed": 3}'])
def test_a_damaged_file_costs_a_check(process: Callable[..., list[str]], content: bytes) -> None:
    path = kernel_cache.Agreements(ENVIRONMENT).path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert process("a") == ["a"]
    assert process("a") == []


def test_a_cache_that_cannot_be_written_costs_a_check(
    process: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    assert process("a") == process("a") == ["a"]


@pytest.mark.parametrize("read_only", [False, True])
def test_triton_compiles_although_the_cache_cannot_be_written(
    read_only: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The home folder is a file, or the cache is part of an image that cannot be written and lies elsewhere now."""
    manager = pytest.importorskip("triton.runtime.cache").FileCacheManager
    cache = kernel_cache.kernel_folder() / "triton"
    monkeypatch.setenv(TRITON_VARIABLE, "")
    if read_only:
        use_kernel_cache()
        made = manager("0" * 64)
        made.put_group("scan.json", {"scan.cubin": made.put(b"binary", "scan.cubin")})
        # The user that runs tests may be allowed to write anywhere.
        monkeypatch.setattr(kernel_cache.os, "access", lambda folder, _: folder != cache)
        monkeypatch.setenv(TRITON_VARIABLE, "")
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    use_kernel_cache()
    assert Path(os.environ[TRITON_VARIABLE]).parent == tmp_path
    assert Path(manager("1" * 64).put(b"more", "more.cubin")).read_bytes() == b"more"
    found = manager("0" * 64).get_group("scan.json")
    if read_only:
        assert Path(found["scan.cubin"]).is_relative_to(os.environ[TRITON_VARIABLE])
    else:
        assert found is None


def test_nothing_is_remembered_on_a_cpu() -> None:
    found = [checked_once(CPU, "norm", "a", lambda: "is off") for _ in range(2)]
    assert found == ["is off"] * 2
    assert not cache_folder().exists()


def test_code_is_part_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = type("Properties", (), {"name": "H100", "major": 9, "minor": 0})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    found = kernel_cache.environment_of(torch.device("cuda", 0))
    assert found["gpu"] == "H100, capability 9.0"
    assert found["code"] == kernel_cache.code_digest(*kernel_cache._CODE)[:16]
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__


def test_triton_keeps_its_kernels_in_the_cache_unless_it_is_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRITON_VARIABLE, "/elsewhere")
    use_kernel_cache()
    assert os.environ[TRITON_VARIABLE] == "/elsewhere"
    monkeypatch.setenv(TRITON_VARIABLE, "")
    use_kernel_cache()
    assert os.environ[TRITON_VARIABLE] == str(cache_folder() / "kernels" / "triton")
    assert (cache_folder() / "kernels" / "triton" / LOCATION).read_text() == os.environ[TRITON_VARIABLE]


def test_a_copied_cache_names_its_own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Triton's own cache finds a kernel's files in the copy, after the original is gone."""
    manager = pytest.importorskip("triton.runtime.cache").FileCacheManager
    monkeypatch.setenv(TRITON_VARIABLE, "")
    use_kernel_cache()
    made = manager("0" * 64)
    made.put_group("scan.json", {"scan.cubin": made.put(b"binary", "scan.cubin")})
    assert manager("0" * 64).get_group("scan.json") is not None
    (cache_folder() / "kernels" / "triton" / "damaged").mkdir()
    (cache_folder() / "kernels" / "triton" / "damaged" / "__grp__x.json").write_text("{")

    cache_folder().rename(tmp_path / "image")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "image"))
    monkeypatch.setenv(TRITON_VARIABLE, "")
    for _ in range(2):
        use_kernel_cache()
        found = manager("0" * 64).get_group("scan.json")
        assert {name: Path(path).read_bytes() for name, path in found.items()} == {"scan.cubin": b"binary"}
        assert Path(found["scan.cubin"]).is_relative_to(tmp_path / "image")
        monkeypatch.setenv(TRITON_VARIABLE, "")
    assert json.loads(next(tmp_path.rglob("__grp__scan.json")).read_text()).keys() == {"child_paths"}
