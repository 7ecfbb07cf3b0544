"""Golden prompts: `python -m tests.suites.ruler.golden` regenerates them.

`prompts/<task>.txt` holds whole prompts over small corpora: read the difference before committing it.
`embedded.json` pins the sha256 of prompts over the embedded corpora. If one changes, earlier runs cannot be compared
with new ones: raise suites.ruler.suite.VERSION, or the version of the corpus, in the same commit.
"""

import hashlib
import json
from pathlib import Path

from evalkit.records import SampleKey
from evalkit.running.protocols import Tokenizer
from model_adapters.scripted import ScriptedTokenizer
from suites.ruler import TASKS, RulerCorpora, RulerSettings, RulerSuite
from suites.ruler.suite import VERSION
from tests.suites.ruler import small_corpora

GOLDEN = Path(__file__).parents[2] / "golden" / "ruler"
EMBEDDED = GOLDEN / "embedded.json"
SEED = 42
# The worked examples of vt and cwe take 500 tokens and more.
WHOLE_PROMPT_TOKENS = {task: 800 if task in ("vt", "cwe") else 600 for task in TASKS}
PINNED = tuple(SampleKey(task, ctx, index, SEED) for ctx in (1024, 4096) for task in TASKS for index in range(2))


def whole_prompt(task: str) -> str:
    """The prompt and right answers of sample 0, over small corpora."""
    ctx = WHOLE_PROMPT_TOKENS[task]
    suite = small_corpora.suite(ScriptedTokenizer(), ctxs=(ctx,), tasks=(task,))
    sample = suite.ask(SampleKey(task, ctx, 0, SEED)).sample
    facts = f"targets {list(sample.targets)} · depths {list(sample.depths)} · gold {list(sample.gold_positions)}"
    return f"{sample.prompt}\n<<< {sample.prompt_tokens} + {sample.generation_tokens} tokens · {facts}\n"


def pinned_prompts(tokenizer: Tokenizer) -> dict[str, str]:
    """Sample id -> sha256 of its prompt over the embedded corpora."""
    settings = RulerSettings.of(ctx=(1024, 4096), samples=2, seed=SEED)
    suite = RulerSuite(settings, tokenizer, RulerCorpora.embedded())
    return {key.id: hashlib.sha256(suite.ask(key).sample.prompt.encode()).hexdigest() for key in PINNED}


def pinned() -> dict[str, object]:
    """The contents of `embedded.json`."""
    return {"suite version": VERSION, "prompts": pinned_prompts(ScriptedTokenizer())}


def main() -> None:
    folder = GOLDEN / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        (folder / f"{task}.txt").write_text(whole_prompt(task), encoding="utf-8")
    EMBEDDED.write_text(json.dumps(pinned(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
