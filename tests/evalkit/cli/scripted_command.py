"""A program: what `evalkit <suite>` does from its options on, with a tiny suite and a scripted model.

python -m tests.evalkit.cli.scripted_command --out DIR --samples 40 --asked FILE [--answers 3] [--resume]
"""

import argparse
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evalkit.cli.shared import suite_run
from evalkit.cli.shared.options import Format
from evalkit.cli.shared.suite_run import ModelOptions, RunOptions, execute
from evalkit.errors import EvalkitError
from evalkit.records import Request
from model_adapters.scripted import SCRIPTED_IDENTITY, ScriptedAdapter, ScriptedTokenizer
from tests.evalkit.tiny_suite import TinySuite, right_answer

MODEL_OPTIONS = ModelOptions("scripted", "cpu", "float32", None, None, False)


def loaded(**changes: Any) -> Any:
    """What loading a model would have returned."""
    values = {
        "model": None,
        "tokenizer": ScriptedTokenizer(),
        "identity": SCRIPTED_IDENTITY,
        "tokens_seen": None,
        "warnings": (),
        "preflight": (),
    }
    return SimpleNamespace(**{**values, **changes})


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--asked", type=Path, required=True, help="file that each request is noted in")
    parser.add_argument("--loaded", type=Path, help="file that is made when the model is loaded")
    parser.add_argument("--answers", type=int, help="requests that are answered before the model waits for ever")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    asked: list[str] = []

    def load(model_options: ModelOptions, ctxs: tuple[int, ...]) -> Any:
        if options.loaded is not None:
            options.loaded.touch()
        return loaded()

    def reply(request: Request) -> str:
        with options.asked.open("a") as file:
            file.write(f"{request.id}\n")
        asked.append(request.id)
        while options.answers is not None and len(asked) > options.answers:
            time.sleep(1)
        # One answer in three is wrong, so that equal scores say something.
        return "no idea" if int(request.id.split("/")[2]) % 3 == 0 else right_answer(request)

    suite_run.load = load
    suite_run._memory_forecast = lambda model_options, ctx: None  # it would import torch, for seconds
    suite_run.make_adapter = lambda loaded, model_options: ScriptedAdapter(reply)
    suite = TinySuite(samples=options.samples)
    return execute(
        lambda loaded: suite,
        MODEL_OPTIONS,
        RunOptions(options.out, options.resume, Format.TERMINAL, {}, time.perf_counter()),
        settings={"seed": suite.seed, "ctxs": suite.ctxs},
        headline=f"tiny: {options.samples} prompts",
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EvalkitError as error:
        print(f"evalkit: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
