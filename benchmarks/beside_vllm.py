"""The same random prompts through this engine or through vLLM: wall clock of whole calls, a row each.

    python benchmarks/beside_vllm.py evalkit --shape olmo3-7b
    python benchmarks/beside_vllm.py config --shape olmo3-7b --folder /tmp/olmo3
    python benchmarks/beside_vllm.py vllm --folder /tmp/olmo3 --options '{"max_num_batched_tokens": 8192}'

vLLM pins its own torch and transformers, so it runs in an environment of its own, which needs nothing of evalkit.
Weights are random on both sides: their values decide how much power a product takes, and with it its speed.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Generate = Callable[[list[list[int]], int], int]
"""Answers prompts with that many greedy tokens each, whatever they are; returns the number of all new tokens."""

TOKEN_IDS = range(1000, 100_000)
SPARE_TOKENS = 512


def evalkit_generate(shape: str, device: str) -> Generate:
    """This engine, as suites use it."""
    from evalkit.records import Request
    from model_adapters.bench.shapes import build_shape
    from model_adapters.engine.engine import Engine
    from model_adapters.engine.fast_modules.choose import choose_kernels

    model = build_shape(shape, device=device, dtype="auto", seed=0)
    for warning in choose_kernels(model):
        print(warning, file=sys.stderr)
    engine = Engine(model)
    engine.stop_ids = frozenset()

    def generate(prompts: list[list[int]], new_tokens: int) -> int:
        requests = [Request(str(place), tuple(prompt), new_tokens) for place, prompt in enumerate(prompts)]
        answers = list(engine.generate(requests))
        failed = [answer.error for answer in answers if answer.error is not None]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(answers)} prompts failed: {failed[0]}")
        return sum(len(answer.token_ids) for answer in answers)

    return generate


def vllm_generate(folder: str, options: dict[str, Any]) -> Generate:
    """vLLM's offline engine with random weights of the configuration in `folder`."""
    # Needed to send a function to the process that holds the weights.
    os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
    from vllm import LLM, SamplingParams

    fixed = {"skip_tokenizer_init": True, "load_format": "dummy", "dtype": "bfloat16", "enable_prefix_caching": False}
    engine = LLM(model=folder, generation_config="vllm", **fixed, **options)
    engine.collective_rpc(_draw_weights)

    def generate(prompts: list[list[int]], new_tokens: int) -> int:
        sampling = SamplingParams(max_tokens=new_tokens, ignore_eos=True, temperature=0, detokenize=False)
        answers = engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
        return sum(len(answer.outputs[0].token_ids) for answer in answers)

    return generate


def _draw_weights(worker: Any) -> None:
    """Weights as of a new model; those of vLLM's dummy loader are nearly zero."""
    for name, weight in worker.model_runner.model.named_parameters():
        if "norm" in name:
            weight.data.fill_(1)
        elif name.endswith("A_log"):
            weight.data.uniform_(1, 16).log_()
        elif name.endswith("dt_bias"):
            weight.data.uniform_(-6.9, -2.2)
        else:
            weight.data.normal_(0, 0.02)


class Timer:
    """Times calls with prompts that no call before had."""

    def __init__(self, generate: Generate) -> None:
        self._generate, self._random = generate, random.Random(0)

    def seconds(self, sequences: int, tokens: int, new_tokens: int) -> float:
        """Wall clock of one call. Raises RuntimeError if an answer is short."""
        prompts = [self._random.choices(TOKEN_IDS, k=tokens) for _ in range(sequences)]
        started = time.perf_counter()
        made = self._generate(prompts, new_tokens)
        taken = time.perf_counter() - started
        if made != sequences * new_tokens:
            raise RuntimeError(f"{made} new tokens instead of {sequences * new_tokens}")
        return taken

    def first_token(self, tokens: int, repeats: int) -> list[float]:
        """Seconds to the first token of a prompt."""
        self.seconds(1, tokens, 1)
        return [self.seconds(1, tokens, 1) for _ in range(repeats)]

    def step(self, sequences: int, tokens: int, new_tokens: int, repeats: int) -> list[float]:
        """Seconds of a decode step of several sequences: answers of full length without their first token."""
        self.seconds(sequences, tokens, new_tokens)
        return [
            (self.seconds(sequences, tokens, 1 + new_tokens) - self.seconds(sequences, tokens, 1)) / new_tokens
            for _ in range(repeats)
        ]

    def suite(self, samples: int, tokens: int, new_tokens: int) -> list[float]:
        """Seconds of one sample among many."""
        self.seconds(min(samples, 64), min(tokens, 256), 3)
        self.seconds(1, tokens - new_tokens, new_tokens)
        return [self.seconds(samples, tokens - new_tokens, new_tokens) / samples]


def rows(timer: Timer, args: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
    """Names and seconds of the rows."""
    short, long = args.ctx
    new, suites = args.new_tokens, args.samples
    yield f"first token after {short:,}", timer.first_token(short, 7)
    yield f"first token after {long - 1:,}", timer.first_token(long - 1, 3)
    yield f"decode step at {short:,} × 1", timer.step(1, short, new, 3)
    yield f"decode step at {long - new - 1:,} × 1", timer.step(1, long - new - 1, new, 2)
    yield f"decode step at {short:,} × {args.batch}", timer.step(args.batch, short, new, 2)
    yield f"sample of {short:,}, {suites[0]} of them", timer.suite(suites[0], short, new)
    yield f"sample of {long:,}, {suites[1]} of them", timer.suite(suites[1], long, new)


def write_config(shape: str, folder: Path, longest: int) -> None:
    """config.json of a shape, with its class: without one vLLM builds a model that only embeds texts."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    from model_adapters.bench.shapes import SHAPES

    config = SHAPES[shape]()
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__]
    config.max_position_embeddings = longest + SPARE_TOKENS
    config.save_pretrained(folder)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("config", "evalkit", "vllm"))
    parser.add_argument("--shape", default="olmo-hybrid-7b")
    parser.add_argument("--folder", type=Path, default=Path("shape"), help="Folder of config.json.")
    parser.add_argument("--device", default="auto", help="evalkit's device.")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON of more arguments of vLLM's LLM.")
    parser.add_argument("--ctx", type=int, nargs=2, default=(4096, 65_536))
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--samples", type=int, nargs=2, default=(256, 8))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row as soon as it is measured."""
    args = _options(arguments)
    if args.engine == "config":
        write_config(args.shape, args.folder, max(args.ctx))
        return
    started = time.perf_counter()
    if args.engine == "vllm":
        generate = vllm_generate(str(args.folder), {"max_model_len": max(args.ctx) + SPARE_TOKENS // 2, **args.options})
    else:
        generate = evalkit_generate(args.shape, args.device)
    timer = Timer(generate)
    timer.seconds(1, 16, 1)
    print(f"first answer {time.perf_counter() - started:.1f} s after the imports began", flush=True)
    for name, seconds in rows(timer, args):
        every = ", ".join(f"{1000 * one:.2f}" for one in seconds)
        middle = statistics.median(seconds)
        print(f"{name}: {1000 * middle:.2f} ms ({every}); {60 / middle:.1f} per minute", flush=True)


if __name__ == "__main__":
    main()
