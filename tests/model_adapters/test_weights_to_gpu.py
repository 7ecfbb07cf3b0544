"""Weights read through pinned memory are those that transformers reads by itself."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel, modeling_utils

from model_adapters import weights_to_gpu
from tests.model_adapters.small_models import save_small_checkpoint, small_model

PIECE_BYTES = 1024
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Copied:
    """Stands for an event: nothing is being copied by the time a copy on the host has returned."""

    def synchronize(self) -> None: ...

    def record(self) -> None: ...


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, tuple[int, ...]]]]:
    """Weights go to the host as they would to a GPU, in small pieces; the threads and shapes of those that are read."""
    found: list[tuple[str, tuple[int, ...]]] = []
    whole = weights_to_gpu._Buffers.read

    def recorded(self: Any, raw: Any, stored: Any) -> torch.Tensor:
        found.append((threading.current_thread().name, stored.shape))
        return whole(self, raw, stored)

    monkeypatch.setattr(weights_to_gpu, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(weights_to_gpu, "_pinned_piece", lambda: torch.empty(PIECE_BYTES, dtype=torch.uint8))
    monkeypatch.setattr(weights_to_gpu._Buffers, "read", recorded)
    monkeypatch.setattr(torch.cuda, "Event", Copied)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    with weights_to_gpu._read_into(weights_to_gpu._Buffers(torch.device("cpu"))):
        yield found


def loaded(folder: Path, dtype: torch.dtype | str = "auto") -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model


@pytest.mark.parametrize("family", ["olmo_hybrid", "qwen3_next"])
def test_every_weight_is_as_stored(tmp_path: Path, read: list[Any], family: str) -> None:
    folder = save_small_checkpoint(tmp_path, family)
    expected = small_model(family).state_dict()
    found = loaded(folder).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert len(read) == len(load_file(folder / "model.safetensors"))


def test_shards_and_another_data_type(tmp_path: Path, read: list[Any]) -> None:
    model = small_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    found = loaded(tmp_path, torch.bfloat16).state_dict()
    assert all(torch.equal(found[name], weight.bfloat16()) for name, weight in model.state_dict().items())
    assert len(read) == len(model.state_dict())


STORED = {
    "empty": torch.empty(0, 3),
    "number": torch.tensor(7.0, dtype=torch.float64),
    "odd": torch.arange(2 * PIECE_BYTES + 1, dtype=torch.uint8),
    "flags": torch.tensor([True, False, True]),
    "half": torch.linspace(-3, 3, 77).half().view(7, 11),
    "quarter": torch.linspace(-3, 3, 9).to(torch.float8_e4m3fn),
    "counts": torch.arange(-5, PIECE_BYTES // 8, dtype=torch.int64),
    "imaginary": torch.complex(torch.ones(3), -torch.ones(3)),
}


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def test_tensors_of_all_types_and_sizes(tmp_path: Path, read: list[Any]) -> None:
    file = tmp_path / "some.safetensors"
    save_file(STORED, file, metadata={"made by": "a test"})
    with modeling_utils.safe_open(file, framework="pt") as tensors:
        assert tensors.metadata() == {"made by": "a test"}
        for name, expected in STORED.items():
            part = tensors.get_slice(name)
            assert tuple(part.get_shape()) == expected.shape
            whole = part[...]
            assert whole.dtype == expected.dtype
            assert torch.equal(as_bytes(whole), as_bytes(expected))
        assert torch.equal(tensors.get_slice("half")[2:4], STORED["half"][2:4])
        assert torch.equal(tensors.get_tensor("odd"), STORED["odd"])
    # safetensors reads what has no type of PyTorch in the table, and parts.
    assert len(read) == len(STORED) - 1


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path: Path, read: list[Any]) -> None:
    file = tmp_path / "some.safetensors"
    save_file({"weight": torch.ones(1000)}, file)
    with modeling_utils.safe_open(file, framework="pt") as tensors:
        part = tensors.get_slice("weight")
        os.truncate(file, file.stat().st_size - 1)
        with pytest.raises(OSError, match=rf"^{file} ends after [0-9,]+ bytes, before its weights do$"):
            part[...]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path, read: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_small_checkpoint(tmp_path, "llama")
    whole = os.preadv

    def broken(descriptor: int, buffers: Any, offset: int) -> int:
        if len(buffers[0]) == PIECE_BYTES:
            raise OSError(errno.EIO, "Input/output error")
        return whole(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(OSError, match=rf"^{folder / 'model.safetensors'} cannot be read: Input/output error$"):
        loaded(folder)


def test_files_that_are_read_in_parts(tmp_path: Path, read: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(STORED, tmp_path / "some.safetensors")
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, at: whole(descriptor, [buffers[0][:5]], at))
    with modeling_utils.safe_open(tmp_path / "some.safetensors", framework="pt") as tensors:
        assert torch.equal(tensors.get_slice("odd")[...], STORED["odd"])


def test_a_thread_ends_with_the_block(tmp_path: Path, read: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "some.safetensors"
    save_file({"weight": torch.ones(10 * PIECE_BYTES)}, file)
    begun, left = threading.Event(), threading.Event()
    fill = weights_to_gpu._fill

    def waiting(*args: Any) -> None:
        begun.set()
        assert left.wait(60)
        fill(*args)

    with ThreadPoolExecutor(1) as pool:
        with suppress(KeyboardInterrupt), weights_to_gpu._read_into(weights_to_gpu._Buffers(torch.device("cpu"))):
            part = modeling_utils.safe_open(file, framework="pt").get_slice("weight")
            monkeypatch.setattr(weights_to_gpu, "_fill", waiting)
            reading = pool.submit(lambda: part[...])
            assert begun.wait(60)
            raise KeyboardInterrupt
        # A file that is opened now has the number of the one that was closed.
        with file.open("rb"):
            left.set()
            with pytest.raises(ValueError, match="closed file"):
                reading.result()


def test_models_are_loaded_one_at_a_time() -> None:
    before = modeling_utils.safe_open, sys.getswitchinterval()
    entered, left = threading.Event(), threading.Event()

    def load() -> None:
        with weights_to_gpu.weights_read_to(torch.device("cuda", 1)):
            entered.set()
            assert left.wait(60)

    with ThreadPoolExecutor(1) as pool:
        with weights_to_gpu.weights_read_to(torch.device("cuda", 0)):
            other = pool.submit(load)
            assert not entered.wait(0.2)
        left.set()
        other.result()
    assert (modeling_utils.safe_open, sys.getswitchinterval()) == before


def test_a_version_that_reads_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(modeling_utils, "safe_open")
    with weights_to_gpu._read_into(weights_to_gpu._Buffers(torch.device("cpu"))):
        assert not hasattr(modeling_utils, "safe_open")


def test_threads_take_turns_quickly_meanwhile() -> None:
    before = sys.getswitchinterval()
    with suppress(ZeroDivisionError), weights_to_gpu.weights_read_to(torch.device("cuda", 0)):
        assert sys.getswitchinterval() == pytest.approx(weights_to_gpu.SWITCH_SECONDS)
        raise ZeroDivisionError
    assert sys.getswitchinterval() == pytest.approx(before)


def test_transformers_reads_by_itself_afterwards_and_elsewhere() -> None:
    own = modeling_utils.safe_open
    with weights_to_gpu.weights_read_to(torch.device("cpu")):
        assert modeling_utils.safe_open is own
    with suppress(ZeroDivisionError), weights_to_gpu._read_into(weights_to_gpu._Buffers(torch.device("cpu"))):
        assert modeling_utils.safe_open is not own
        raise ZeroDivisionError
    assert modeling_utils.safe_open is own


@needs_gpu
def test_on_a_gpu_with_real_pieces(tmp_path: Path) -> None:
    model = small_model("olmo3", hidden_size=1024, intermediate_size=12_000)
    weights = {name: weight.bfloat16() for name, weight in model.state_dict().items()}
    assert max(weight.nbytes for weight in weights.values()) > weights_to_gpu.PIECE_BYTES
    model.save_pretrained(tmp_path)
    place = torch.device("cuda", 0)
    with weights_to_gpu.weights_read_to(place):
        found = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16, device_map={"": place})
    assert all(torch.equal(weight.cpu(), weights[name]) for name, weight in found.state_dict().items())
