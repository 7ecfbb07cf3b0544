"""Loading of a checkpoint of a published shape from disk to the device: seconds, and the host's memory.

    python benchmarks/gpu_load.py --shape olmo-hybrid-7b --folder /tmp/checkpoint

Random weights are written there first, in shards of 5 GB. A new process loads them, so that the peak is its own, and
answers one prompt. Whether the files are still in the host's page cache after writing decides how fast they are read,
and whether the shape's kernels have been compiled on this machine before how soon it answers.
"""

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROOT = Path(__file__).resolve().parent.parent
PROMPT_TOKENS = 4096
TOKENIZER = ROOT / "model_adapters" / "reference" / "hybrid"
"""Any tokenizer will do, because only weights are timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="olmo-hybrid-7b")
    parser.add_argument("--folder", type=Path, required=True, help="is made, and removed in the end")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.folder, options.device)
        return
    if options.folder.exists():
        parser.error(f"--folder {options.folder} exists; name a new one")
    try:
        print(f"written in {write(options.shape, options.folder, options.device):.1f} s", flush=True)
        arguments = ["--load", "--folder", str(options.folder), "--device", options.device]
        subprocess.run([sys.executable, __file__, *arguments], check=True)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


def write(shape: str, folder: Path, device: str) -> float:
    from model_adapters.bench.shapes import build_shape

    model = build_shape(shape, device=device, dtype="auto", seed=0)
    started = time.perf_counter()
    model.save_pretrained(folder, max_shard_size="5GB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder / name)
    return time.perf_counter() - started


def load(folder: Path, device: str) -> None:
    """Load once, and print one line of JSON."""
    import torch

    from evalkit.records import Request
    from evalkit.running.model_options import ModelOptions
    from model_adapters.bench.memory import random_prompt
    from model_adapters.engine.engine import Engine
    from model_adapters.loading import load_model

    with HostPeak() as host:
        started = time.perf_counter()
        model = load_model(ModelOptions(str(folder), device=device)).model
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    weights = sum(parameter.nbytes for parameter in model.parameters())
    started = time.perf_counter()
    prompt = tuple(random_prompt(model, min(PROMPT_TOKENS, model.config.max_position_embeddings // 2)))
    (answer,) = Engine(model).generate([Request("first", prompt, 2)])
    found = {
        "seconds": seconds,
        "first_prompt_tokens": len(prompt),
        "first_prompt_seconds": time.perf_counter() - started,
        "first_prompt_error": answer.error,
        "weights_bytes": weights,
        "bytes_per_second": weights / seconds,
        "host_peak_bytes_above_start": host.bytes_above_start,
        "device": torch.cuda.get_device_name() if model.device.type == "cuda" else "cpu",
    }
    print(json.dumps(found))


class HostPeak:
    """The most anonymous memory that this process holds within a block, looked at every few milliseconds.

    Pages of mapped files are not counted: they are the files, not copies.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._start = self._peak = anonymous_bytes()

    def __enter__(self) -> "HostPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def bytes_above_start(self) -> int:
        return self._peak - self._start

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self._peak = max(self._peak, anonymous_bytes())


def anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return 1024 * int(fields["RssAnon"].split()[0])


if __name__ == "__main__":
    main()
