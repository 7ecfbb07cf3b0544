"""MMLU with lm-eval's `hf` model and with this engine, on the same weights and questions: choices and times.

python benchmarks/mmlu_speed.py --data MMLU_FOLDER --samples 10
python benchmarks/mmlu_speed.py --data MMLU_FOLDER --shape olmo-hybrid-7b --tokenizer tokenizer.json --device cuda
python benchmarks/mmlu_speed.py --data MMLU_FOLDER --samples 5 --ours 4 --shape olmo-hybrid-7b --tokenizer FILE

`hf` runs first, with the fastest of --batch-sizes on a probe, and with FLA's kernels if they are installed; evalkit
also answers the probe first. Times include tokenizing and answering, without lm-eval's templates and the loading of
weights. Exits 1 if a choice differs in float32; in other data types near ties may differ.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalkit.records import ModelIdentity, PositionScheme, Request, Sample
from evalkit.running.answering import prepared_ahead
from evalkit.running.model_options import Dtype, ModelOptions
from evalkit.running.prefetch import prefetch
from model_adapters.bench.plain import plain_transformers, plain_variants
from model_adapters.bench.shapes import build_shape
from model_adapters.engine.fast_modules.choose import choose_kernels
from model_adapters.keeping import leave_out_of_collections
from model_adapters.loading import load_model
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from suites.mmlu import MmluSettings, build
from suites.mmlu.prompt import LETTERS

PROBE_QUESTIONS = 48
"""Number of probe questions, spread over all subjects, whose lengths differ."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model in the form that both sides take."""

    name: str
    model: PreTrainedModel
    hf_tokenizer: PreTrainedTokenizerFast
    tokenizer: HfTokenizer
    identity: ModelIdentity


@dataclass(frozen=True, slots=True)
class Result:
    """The results of both on the same questions."""

    model: str
    device: str
    dtype: str
    questions: int
    subjects: int
    shots: int
    hf_batch_size: int
    hf_probe_seconds: dict[int, float | None]
    """Seconds of the probe by batch size; None if memory ran out."""
    hf_seconds: float
    evalkit_seconds: float
    speedup: float
    equal_choices: int
    largest_gap_nats: float
    """Of one choice's log-probability."""
    median_gap_nats: float
    hf_accuracy: float
    evalkit_accuracy: float


Nats = dict[str, tuple[float, ...]]
"""Sample id -> log-probabilities of its choices."""


def main() -> int:
    options = read_options()
    model = open_model(options)
    settings = MmluSettings.of(
        data=options.data, subjects=options.subjects, samples=options.samples, shots=options.shots
    )
    suite = build(settings, model.tokenizer)
    samples = [suite.ask(key).sample for key in suite.plan().keys]
    if options.ours is not None:
        for _ in range(options.ours):
            told(f"evalkit, {len(samples):,} questions", run_evalkit(model, settings, probe_of(samples))[0])
        return 0
    with torch.inference_mode(), plain_transformers(model.model, plain_variants(model.model)[0]):
        batch_size, probes, hf_seconds, theirs = run_hf(model, samples, options.batch_sizes)
    evalkit_seconds, ours = run_evalkit(model, settings, probe_of(samples))
    told(f"evalkit, {len(samples):,} questions", evalkit_seconds)
    result = held_against(options, model, samples, (batch_size, probes, hf_seconds, theirs), (evalkit_seconds, ours))
    print(json.dumps(asdict(result), indent=2) if options.json else shown(result))
    return 1 if result.equal_choices < result.questions and result.dtype == "float32" else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of MMLU's CSV files")
    parser.add_argument("--model", default="reference:hybrid")
    parser.add_argument("--shape", help="random weights of a published shape instead, such as olmo-hybrid-7b")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json for --shape, or its folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=[*Dtype])
    parser.add_argument("--samples", type=int, default=10, help="questions per subject")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--subjects", type=lambda text: text.split(","), help="all 57 by default")
    parser.add_argument("--batch-sizes", type=sizes, default=(1, 4, 16, 32, 64), help="that hf is tried with")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ours", type=int, metavar="N", help="time evalkit alone, N times in this process")
    options = parser.parse_args()
    if options.shape and options.tokenizer is None:
        parser.error("--shape needs --tokenizer")
    return options


def sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def open_model(options: argparse.Namespace) -> Model:
    """The model, kept out of later collections as a run keeps it."""
    model = loaded_model(options)
    gc.collect()
    leave_out_of_collections()
    return model


def loaded_model(options: argparse.Namespace) -> Model:
    if options.shape is None:
        loaded = load_model(ModelOptions(options.model, device=options.device, dtype=Dtype(options.dtype)))
        from model_adapters.checkpoint import open_checkpoint

        folder = open_checkpoint(options.model, trust_remote_code=False).folder
        fast = PreTrainedTokenizerFast.from_pretrained(folder)
        return Model(options.model, loaded.model, fast, loaded.tokenizer, loaded.identity)
    model = build_shape(options.shape, device=options.device, dtype=options.dtype, seed=0)
    for line in choose_kernels(model):
        print(f"warning: {line}", file=sys.stderr)
    file = options.tokenizer / "tokenizer.json" if options.tokenizer.is_dir() else options.tokenizer
    fast = PreTrainedTokenizerFast(tokenizer_file=str(file))
    if fast.eos_token is None:
        fast.eos_token = "<|endoftext|>"
    tokenizer = HfTokenizer.from_file(file)
    identity = ModelIdentity(
        path=options.shape,
        family=model.config.model_type,
        fingerprint="random",
        tokenizer=tokenizer.fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        positions=PositionScheme("none", "random weights"),
        trained_length=None,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=False,
    )
    return Model(options.shape, model, fast, tokenizer, identity)


def run_hf(
    model: Model, samples: Sequence[Sample], batch_sizes: Sequence[int]
) -> tuple[int, dict[int, float | None], float, Nats]:
    """The best batch size, the probe's seconds by size, the seconds of all questions, and what it found."""
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model.model, tokenizer=model.hf_tokenizer, batch_size=1)
    probe = instances(probe_of(samples))
    # Compilation, tuning and allocation happen once.
    told("hf, first question", timed(model, lambda: lm.loglikelihood(probe[: len(LETTERS)], disable_tqdm=True))[0])
    probes: dict[int, float | None] = {}
    for size in batch_sizes:
        lm.batch_size_per_gpu = size
        probes[size] = within_memory(lambda: timed(model, lambda: lm.loglikelihood(probe, disable_tqdm=True))[0])
        told(f"hf, probe at batch {size}", probes[size])
        if probes[size] is None:
            break
    best = min((seconds, size) for size, seconds in probes.items() if seconds is not None)[1]
    lm.batch_size_per_gpu = best
    seconds, found = timed(model, lambda: lm.loglikelihood(instances(samples), disable_tqdm=True))
    told(f"hf, {len(samples):,} questions", seconds)
    nats = [value for value, _ in found]
    width = len(LETTERS)
    by_sample = {sample.id: tuple(nats[width * n : width * (n + 1)]) for n, sample in enumerate(samples)}
    return best, probes, seconds, by_sample


def probe_of(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[:: max(1, len(samples) // PROBE_QUESTIONS)]


def instances(samples: Sequence[Sample]) -> list[Any]:
    """lm-eval's requests, one per letter."""
    from lm_eval.api.instance import Instance

    return [
        Instance("loglikelihood", {}, (sample.prompt, f" {letter}"), index, metadata=(sample.key.task, number, 1))
        for number, sample in enumerate(samples)
        for index, letter in enumerate(LETTERS)
    ]


def run_evalkit(model: Model, settings: MmluSettings, probe: Sequence[Sample]) -> tuple[float, Nats]:
    """Seconds of all questions, and the results; samples and tokens are made within that time, ahead as in a run."""
    suite = build(settings, model.tokenizer)
    told(
        "evalkit, probe",
        timed(model, lambda: answer(model, (suite.ask(sample.key).requests[0] for sample in probe)))[0],
    )

    def requests() -> Iterator[Request]:
        suite = build(settings, model.tokenizer)
        keys = suite.plan().keys
        yield from prefetch(lambda key: suite.ask(key).requests[0], keys, depth=prepared_ahead(keys))

    return timed(model, lambda: answer(model, requests()))


def answer(model: Model, requests: Iterable[Request]) -> Nats:
    """Log-probabilities by an adapter of its own, which keeps no prefix from before."""
    adapter = TransformersAdapter(model.model, model.tokenizer, model.identity)
    found: Nats = {}
    for completion in adapter.generate(requests):
        if completion.continuations is None:
            raise SystemExit(f"{completion.request_id}: {completion.error}")
        found[completion.request_id] = tuple(score.log_probability for score in completion.continuations)
    return found


def timed(model: Model, work: Callable[[], Any]) -> tuple[float, Any]:
    synchronize(model)
    started = time.perf_counter()
    result = work()
    synchronize(model)
    return time.perf_counter() - started, result


def told(what: str, seconds: float | None) -> None:
    """Reports progress on stderr, so that a run that is ended early still shows something."""
    print(f"{what}: {'out of memory' if seconds is None else f'{seconds:.1f} s'}", file=sys.stderr, flush=True)


def synchronize(model: Model) -> None:
    if model.model.device.type == "cuda":
        torch.cuda.synchronize()


def within_memory(work: Callable[[], float]) -> float | None:
    try:
        return work()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def held_against(
    options: argparse.Namespace,
    model: Model,
    samples: Sequence[Sample],
    hf: tuple[int, dict[int, float | None], float, Nats],
    evalkit: tuple[float, Nats],
) -> Result:
    batch_size, probes, hf_seconds, theirs = hf
    seconds, ours = evalkit
    gaps = [abs(a - b) for s in samples for a, b in zip(theirs[s.id], ours[s.id], strict=True)]
    chosen = [{s.id: LETTERS[nats[s.id].index(max(nats[s.id]))] for s in samples} for nats in (theirs, ours)]
    accuracy = [sum(choice[s.id] == s.targets[0] for s in samples) / len(samples) for choice in chosen]
    place = model.model.device
    return Result(
        model=model.name,
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        dtype=str(model.model.dtype).removeprefix("torch."),
        questions=len(samples),
        subjects=len({sample.key.task for sample in samples}),
        shots=options.shots,
        hf_batch_size=batch_size,
        hf_probe_seconds=probes,
        hf_seconds=hf_seconds,
        evalkit_seconds=seconds,
        speedup=hf_seconds / seconds,
        equal_choices=sum(chosen[0][s.id] == chosen[1][s.id] for s in samples),
        largest_gap_nats=max(gaps),
        median_gap_nats=statistics.median(gaps),
        hf_accuracy=accuracy[0],
        evalkit_accuracy=accuracy[1],
    )


def shown(result: Result) -> str:
    probes = ", ".join(
        f"{size}: {'out of memory' if seconds is None else f'{seconds:.1f} s'}"
        for size, seconds in result.hf_probe_seconds.items()
    )
    return (
        f"{result.model}, {result.dtype}, {result.device}: {result.questions:,} questions of {result.subjects} "
        f"subjects, {result.shots}-shot\n"
        f"hf by batch size on a probe: {probes}\n"
        f"lm-eval hf (batch {result.hf_batch_size})  {result.hf_seconds:9.1f} s\n"
        f"evalkit               {result.evalkit_seconds:9.1f} s   {result.speedup:.1f} × faster\n"
        f"equal choices {result.equal_choices:,} of {result.questions:,}; log-probabilities differ by at most "
        f"{result.largest_gap_nats:.2e} nats (median {result.median_gap_nats:.2e})\n"
        f"accuracy {100 * result.hf_accuracy:.1f} and {100 * result.evalkit_accuracy:.1f}, chance 25.0"
    )


if __name__ == "__main__":
    sys.exit(main())
