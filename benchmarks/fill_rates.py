"""Fill rates of RULER's prompts and the cost of building them: python benchmarks/fill_rates.py --help.

One row per task and length: mean and minimum fill (prompt and budget over the context length), tokenized text as a
multiple of the prompt, and processor milliseconds per sample, first and median. Processor time, because other programs
on the machine would count as well; the first sample of a task also counts the parts of its corpus.
"""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import tokenizers
import typer

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import SampleKey
from evalkit.values import parse_contexts, read_value
from model_adapters.tokenizer import HfTokenizer
from suites.ruler import RulerCorpora, RulerSettings, RulerSuite


class CountingTokenizer(HfTokenizer):
    """Counts the characters that it is given."""

    characters = 0

    def encode(self, text: str) -> list[int]:
        self.characters += len(text)
        return super().encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        self.characters += len(text)
        return super().encode_with_offsets(text)


def measure(suite: RulerSuite, tokenizer: CountingTokenizer, keys: Sequence[SampleKey]) -> str:
    """The row of one task and length."""
    fills, passes, milliseconds, misfits = [], [], [], 0
    for key in keys:
        tokenizer.characters = 0
        started = time.process_time()
        try:
            sample = suite.ask(key).sample
        except SampleDoesNotFitError:
            misfits += 1
            continue
        milliseconds.append(1000 * (time.process_time() - started))
        fills.append((sample.prompt_tokens + sample.generation_tokens) / key.ctx)
        passes.append(tokenizer.characters / len(sample.prompt))
        if fills[-1] > 1:
            raise AssertionError(f"{key.id} is over its length")
    if not fills:
        return f"{keys[0].task:16} {keys[0].ctx:8,}  none of {misfits} samples fits"
    return (
        f"{keys[0].task:16} {keys[0].ctx:8,} {statistics.mean(fills):8.4f} {min(fills):8.4f} {max(passes):8.2f} "
        f"{milliseconds[0]:9.1f} {statistics.median(milliseconds):9.1f}{f'  {misfits} do not fit' if misfits else ''}"
    )


def main(
    tokenizer_json: Path = typer.Option(..., "--tokenizer", exists=True, dir_okay=False, help="A tokenizer.json."),
    ctx: str = typer.Option("4096,65536", help="Context lengths."),
    samples: int = typer.Option(20, min=1, help="Samples per task and length."),
    tasks: str | None = typer.Option(None, help="Comma-separated tasks; all 13 by default."),
    embedded: bool = typer.Option(False, help="Use the embedded corpora even if there are others."),
) -> None:
    """Print fill rates and costs of RULER's samples."""
    tokenizer = CountingTokenizer(tokenizers.Tokenizer.from_file(str(tokenizer_json)), name=str(tokenizer_json))
    corpora = RulerCorpora.embedded() if embedded else RulerCorpora.default()
    asked = read_value(tasks, tuple[str, ...] | None, "--tasks")
    settings = RulerSettings.of(ctx=parse_contexts(ctx), tasks=asked, samples=samples)
    suite = RulerSuite(settings, tokenizer, corpora)
    for use in suite.plan().corpora:
        print(f"{use.role}: {use.name} ({use.source})")
    print(f"{'task':16} {'ctx':>8} {'fill':>8} {'least':>8} {'passes':>8} {'first ms':>9} {'median ms':>9}")
    for length in settings.ctxs:
        for task in settings.tasks:
            keys = [SampleKey(task, length, index, settings.seed) for index in range(samples)]
            print(measure(suite, tokenizer, keys), flush=True)


if __name__ == "__main__":
    typer.run(main)
