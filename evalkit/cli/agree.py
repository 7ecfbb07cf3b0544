"""`evalkit agree`: whether a server and this engine give the same answers with the same checkpoint."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from evalkit.cli.shared import options
from evalkit.cli.shared.option_groups import HERE, takes
from evalkit.cli.shared.output import print_result
from evalkit.errors import UsageError
from evalkit.values import parse_contexts, read_value

if TYPE_CHECKING:
    from evalkit.analysis.agreement.probes import Probe
    from evalkit.analysis.agreement.records import Agreement
    from evalkit.running.model_options import ModelOptions
    from evalkit.running.protocols import Tokenizer
    from model_adapters.served.pair import ReferenceModel, Served
    from suites.ruler import RulerSettings

EXAMPLES = (
    "Examples: evalkit agree --model ./my-checkpoint --server http://localhost:8000 --ctx 4096,65536 · "
    "evalkit agree --model ORG/NAME --server http://localhost:8000 --ctx 4096 --concurrency 32 --format markdown"
)
DIFFERS = 1
TASKS = "niah_single_2,vt,fwe,qa_1"


@takes(HERE)
def agree(
    server: str = typer.Option(..., "--server", metavar="URL", help="OpenAI-compatible server that runs the model."),
    ctx: str = typer.Option(..., "--ctx", help="Context lengths in tokens: 4096, or 4096,64K."),
    served_name: str | None = typer.Option(
        None, "--served-name", help="Name of the model on the server.", show_default="the only one it lists, or --model"
    ),
    samples: int = typer.Option(4, "--samples", min=1, help="Prompts per context length."),
    tasks: str = typer.Option(TASKS, "--tasks", help="Comma-separated RULER tasks that the prompts are taken from."),
    new_tokens: int = typer.Option(32, "--new-tokens", min=1, help="Maximum length of an answer in tokens."),
    blocks: str = typer.Option(
        "16,64,2048", "--blocks", help="The server's cache blocks and prefill chunks, in tokens: prompts end at them."
    ),
    concurrency: int = typer.Option(16, "--concurrency", min=1, help="Requests at once under load; 1: no load."),
    repeats: int = typer.Option(3, "--repeats", min=1, help="How often each whole prompt is asked alone."),
    format: options.ReportFormat = typer.Option(
        options.ReportFormat.TERMINAL, "--format", help="json prints everything that was compared."
    ),
    *,
    model_options: "ModelOptions",
) -> None:
    """Compare a server's answers and log-probabilities with this engine's, and exit 1 if they differ.

    Both get the same token ids, greedily: prompts of RULER, prompts that share a beginning, and prompts that end at
    borders of segments and cache blocks, alone, repeated and many at once. Where the first differing token was a near
    tie, rounding explains it; the bounds come from the rounding error of transformers' own code in the same dtype. The
    server has to run the dtype of --dtype.
    """
    from model_adapters.served.client import server_root
    from model_adapters.served.pair import ReferenceModel, open_served
    from reports.agreement_report import agreement_report
    from reports.plain_text import one_line
    from suites.ruler import RulerSettings

    server_root(server)
    ctxs, sizes = parse_contexts(ctx), read_value(blocks, tuple[int, ...], "--blocks")
    chosen = read_value(tasks, tuple[str, ...], "--tasks")
    settings = [RulerSettings.of(ctx=(each,), tasks=chosen, samples=-(-samples // len(chosen))) for each in ctxs]
    if min(sizes) < 1:
        raise UsageError(f"--blocks {blocks}: {min(sizes)} is too small; write 1 or more")
    reference = ReferenceModel(model_options, ctxs)
    for warning in reference.warnings:
        typer.echo(f"warning: {one_line(warning)}", err=True)
    served = open_served(
        server, served_name, reference.tokenizer, concurrency=concurrency, ctxs=ctxs, checkpoint=model_options.model
    )
    prompts = [prompt for each in settings for prompt in _prompts(reference.tokenizer, each, samples)]
    prompts = [replace(prompt, new_tokens=min(prompt.new_tokens, new_tokens)) for prompt in prompts]
    result = _compare(reference, served, prompts, sizes, repeats=repeats, server=server)
    print_result(format, result, agreement_report(result))
    if result.verdict == "differs":
        raise typer.Exit(DIFFERS)


def _prompts(tokenizer: "Tokenizer", settings: "RulerSettings", samples: int) -> "Iterator[Probe]":
    """`samples` prompts of one context length, of the tasks in turn."""
    from evalkit.analysis.agreement.probes import WHOLE, Probe
    from suites.ruler import build

    suite = build(settings, tokenizer)
    keys = sorted(suite.plan().keys, key=lambda key: (key.index, settings.tasks.index(key.task)))
    for key in keys[:samples]:
        (request,) = suite.ask(key).requests
        yield Probe(key.id, WHOLE, key.ctx, request.token_ids, request.generation_tokens)


def _probes(
    prompts: "Sequence[Probe]", blocks: Mapping[str, int], tokenizer: "Tokenizer", *, token_ids: bool
) -> "list[Probe]":
    """The prompts with their probes at borders; only those that a text spells, if the server takes no token ids."""
    from evalkit.analysis.agreement.probes import make_probes

    def spelled(ids: tuple[int, ...]) -> bool:
        return tuple(tokenizer.encode_prompt(tokenizer.decode(ids))) == ids

    by_ctx = [[prompt for prompt in prompts if prompt.ctx == ctx] for ctx in sorted({each.ctx for each in prompts})]
    probes = [probe for group in by_ctx for probe in make_probes(group, blocks, spelled)]
    return probes if token_ids else [probe for probe in probes if spelled(probe.token_ids)]


def _compare(
    reference: "ReferenceModel",
    served: "Served",
    prompts: "Sequence[Probe]",
    sizes: Sequence[int],
    *,
    repeats: int,
    server: str,
) -> "Agreement":
    from evalkit.analysis.agreement.answers import Sides
    from evalkit.analysis.agreement.measure import measure
    from evalkit.analysis.agreement.records import Agreement
    from evalkit.running.environment import describe_environment

    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    rounding = reference.rounding(prompts[0].token_ids)
    longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
    adapter = reference.adapter(longest.token_ids, longest.new_tokens)
    segment, abilities = adapter.describe().segment_tokens, served.abilities
    blocks = {} if segment is None else {f"engine segment of {segment:,}": segment}
    blocks |= {f"server block of {size:,}": size for size in sizes}
    probes = _probes(prompts, blocks, reference.tokenizer, token_ids=abilities.token_ids)
    if not probes:
        raise UsageError(
            f"--server {server} takes only text, and no text is tokenized as any of the prompts is; use a server "
            "that takes token ids"
        )
    measured = measure(
        Sides(adapter, served.alone, served.at_once, reference.end_ids),
        probes,
        blocks,
        rounding,
        repeats=repeats,
        given_text=abilities.log_probabilities,
    )
    return Agreement(
        verdict="differs" if measured.findings else "agrees",
        findings=measured.findings,
        model=reference.identity,
        reference=adapter.describe(),
        server=server,
        served_model=served.name,
        engine=abilities.engine,
        takes_token_ids=abilities.token_ids,
        answers=measured.answers,
        differences=measured.differences,
        gaps=measured.gaps,
        margin_bound=rounding.margin_bound,
        rounding=rounding.statement,
        sampling={**abilities.sampling, "max_tokens": max(prompt.new_tokens for prompt in prompts)},
        concurrency=served.at_once.describe().batch_sequences or 1,
        failures=measured.failures,
        command=shlex.join(["evalkit", *sys.argv[1:]]),
        environment=describe_environment(adapter.describe().device or ""),
        started_at=started_at,
    )
