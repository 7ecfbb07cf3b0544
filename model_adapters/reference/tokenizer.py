"""The reference models' tokenizer: byte-level BPE with single digits, `python -m model_adapters.reference.tokenizer`.

A program, not a library: it reads prompts of the suites, so that words of the benchmark and of its prose are short.
"""

import json
import random
import string
from collections.abc import Iterator

import typer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from evalkit.records import SampleKey
from model_adapters.reference import NAMES, folder
from model_adapters.reference.answers import answer_text
from model_adapters.reference.architecture import EOS_ID, PAD_ID
from model_adapters.reference.batches import track_suite, training_suite
from model_adapters.reference.corpora import prose
from model_adapters.reference.curriculum import FIRST_TRAINING_SEED, PROSE_SEEDS, TASKS
from model_adapters.scripted import ScriptedTokenizer
from suites.ruler.words import every_word
from suites.state_tracking.tasks import TASKS as TRACK_TASKS
from suites.state_tracking.tasks import row_name

VOCABULARY = 8192
SAMPLES_A_TASK = 24
PROSE_SENTENCES = 20_000
LIST_REPEATS = 200
"""How often each word of the key lists is read: more often than most words of the prose, so that keys are short."""


def texts() -> Iterator[str]:
    """Prompts with answers, prose, the word lists that keys are drawn from, and names of capitals."""
    for prose_seed in PROSE_SEEDS:
        suite = training_suite(ScriptedTokenizer(), prose_seed)
        for task in TASKS:
            for index in range(SAMPLES_A_TASK):
                sample = suite.ask(SampleKey(task, 4096, index, FIRST_TRAINING_SEED - 1)).sample
                yield sample.prompt + answer_text(sample)
        yield from prose.sentences(prose_seed)[:PROSE_SENTENCES]
    track = track_suite(ScriptedTokenizer())
    for task in TRACK_TASKS:
        for index in range(SAMPLES_A_TASK):
            sample = track.ask(SampleKey(row_name(task, 64), 0, index, FIRST_TRAINING_SEED - 1)).sample
            yield f"{sample.prompt} {sample.targets[0]}"
    yield from names()
    words = every_word()
    yield from (f" {word}" for word in words * LIST_REPEATS)
    yield from (f"-{word}" for word in words * LIST_REPEATS)


def names(count: int = 100_000) -> Iterator[str]:
    """Variable names of random capitals, so that any two capitals are one token."""
    rng = random.Random("variable names")
    for _ in range(count):
        yield f" {''.join(rng.choices(string.ascii_uppercase, k=5))}"


def train_tokenizer(corpus: Iterator[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocabulary` tokens in which every digit is a separate token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = {PAD_ID: "<pad>", EOS_ID: "<eos>"}
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[special[token_id] for token_id in sorted(special)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def main() -> None:
    """Train the tokenizer and write it into both checkpoints' folders."""
    tokenizer = train_tokenizer(texts())
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False,
    }
    for name in NAMES:
        folder(name).mkdir(exist_ok=True)
        tokenizer.save(str(folder(name) / "tokenizer.json"))
        (folder(name) / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    typer.run(main)
