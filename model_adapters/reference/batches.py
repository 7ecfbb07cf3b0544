"""Training batches, made in worker processes: a batch is a function of its index and the recipe's seed alone."""

import os
import random
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.errors import SampleDoesNotFitError
from evalkit.protocols import Suite, Tokenizer
from evalkit.records import Sample, SampleKey
from model_adapters.reference import curriculum
from model_adapters.reference.answers import answer_text, follow_ups
from model_adapters.reference.architecture import EOS_ID, PAD_ID
from suites.ruler import RulerCorpora, RulerSettings, build

FIRST_TRAINING_SEED = 1_000_000_000
"""Training samples have seeds from here on; evaluation seeds lie below."""
PROSE_SEEDS = (101, 102, 103, 104)
"""Seeds of the embedded corpora behind training prompts; evaluation reads seed 0."""
SCORED_POSITIONS = 12_288
"""Positions a batch whose next token is learned: all answers, the rest drawn from the text."""
FOLLOW_UPS = 4
TEXT_WEIGHT = 0.1
AHEAD = 48

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's rows and the positions that are learned.

    B rows of T tokens; P scored positions. `positions_P` are flat indices b·T + t whose next token is `targets_P`.
    """

    token_ids_BT: IntArray
    positions_P: IntArray
    targets_P: IntArray
    weights_P: FloatArray
    questions_P: IntArray
    """Which of `tasks` a position's answer belongs to; -1 for text."""
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Samples with their answers and follow-ups as tokens; `answers` are (task, start, end) of answer tokens."""

    token_ids: list[int]
    answers: list[tuple[str, int, int]]


def make_part(sample: Sample, suite: Suite, tokenizer: Tokenizer, rng: random.Random) -> Row | None:
    """`sample`, its answer and its follow-ups within the sample's length; None where the answer is over its budget."""
    token_ids = list(suite.request(sample).token_ids)
    answers: list[tuple[str, int, int]] = []

    def add(opening: str, answer: str, task: str) -> bool:
        opening_ids = tokenizer.encode(opening) if opening else []
        answer_ids = [*tokenizer.encode(answer), EOS_ID]
        start = len(token_ids) + len(opening_ids)
        if start + len(answer_ids) > sample.key.ctx:
            return False
        token_ids.extend(opening_ids + answer_ids)
        answers.append((task, start, start + len(answer_ids)))
        return True

    answer = answer_text(sample)
    if len(tokenizer.encode(answer)) > sample.generation_tokens or not add("", answer, sample.key.task):
        return None
    if sample.key.task.startswith("niah"):
        for count, (opening, text) in enumerate(follow_ups(sample, rng), start=1):
            if not add(opening, text, f"{sample.key.task}+") or count == FOLLOW_UPS:
                break
    return Row(token_ids, answers)


def join(parts: list[Row]) -> Row:
    """Parts one after another in one row; nothing resets a model's state between them."""
    token_ids: list[int] = []
    answers: list[tuple[str, int, int]] = []
    for part in parts:
        offset = len(token_ids)
        token_ids += part.token_ids
        answers += [(task, offset + start, offset + end) for task, start, end in part.answers]
    return Row(token_ids, answers)


def assemble(rows: list[Row], length: int, rng: np.random.Generator) -> Batch:
    """Rows padded on the right to `length`, with all answers and as much text as fits the scored positions."""
    token_ids_BT = np.full((len(rows), length), PAD_ID, dtype=np.int64)
    is_text = np.zeros((len(rows), length), dtype=bool)
    positions: list[IntArray] = []
    questions: list[IntArray] = []
    tasks: list[str] = []
    for index, row in enumerate(rows):
        token_ids_BT[index, : len(row.token_ids)] = row.token_ids
        is_text[index, : len(row.token_ids) - 1] = True
        for task, start, end in row.answers:
            is_text[index, start - 1 : end - 1] = False
            positions.append(np.arange(start - 1, end - 1) + index * length)
            questions.append(np.full(end - start, len(tasks)))
            tasks.append(task)
    answer_positions = np.concatenate(positions)[:SCORED_POSITIONS]
    text_positions = rng.permutation(np.flatnonzero(is_text))[: SCORED_POSITIONS - len(answer_positions)]
    # Rows of padding alone cannot fill the text's share: repeat what there is, at the weight of padding, zero.
    missing = SCORED_POSITIONS - len(answer_positions) - len(text_positions)
    positions_P = np.concatenate([answer_positions, text_positions, np.zeros(missing, dtype=np.int64)])
    weights_P = np.zeros(SCORED_POSITIONS, dtype=np.float32)
    weights_P[: len(answer_positions)] = 1.0 / len(answer_positions)
    weights_P[len(answer_positions) : SCORED_POSITIONS - missing] = TEXT_WEIGHT / max(len(text_positions), 1)
    questions_P = np.full(SCORED_POSITIONS, -1, dtype=np.int64)
    questions_P[: len(answer_positions)] = np.concatenate(questions)[: len(answer_positions)]
    flat = token_ids_BT.reshape(-1)
    targets_P = flat[np.minimum(positions_P + 1, flat.size - 1)]
    return Batch(token_ids_BT, positions_P, targets_P, weights_P, questions_P, tuple(tasks))


class BatchMaker:
    """Makes batches by index; one lives in each worker process."""

    def __init__(self, tokenizer_file: Path, seed: int) -> None:
        from model_adapters.tokenizer import HfTokenizer

        self._tokenizer = HfTokenizer.from_file(tokenizer_file)
        self._seed = seed
        self._suites: dict[int, Suite] = {}

    def batch(self, index: int, progress: float) -> Batch:
        """Batch number `index`, made for `progress` in [0, 1] of the training."""
        rng = random.Random(f"{self._seed}/{index}")
        length = curriculum.row_tokens(progress, rng)
        rows = [self._row(rng, length, progress) for _ in range(curriculum.BATCH_TOKENS // length)]
        return assemble(rows, length, np.random.default_rng([self._seed, index]))

    def _row(self, rng: random.Random, length: int, progress: float) -> Row:
        sample_tokens = curriculum.sample_tokens(length, rng)
        return join([self._part(rng, sample_tokens, progress) for _ in range(length // sample_tokens)])

    def _part(self, rng: random.Random, length: int, progress: float) -> Row:
        suite = self._suite(rng.choice(PROSE_SEEDS))
        while True:
            seed = FIRST_TRAINING_SEED + rng.randrange(2**40)
            key = SampleKey(curriculum.task(progress, rng), length, 0, seed)
            try:
                part = make_part(suite.sample(key), suite, self._tokenizer, rng)
            except SampleDoesNotFitError:
                continue
            if part is not None:
                return part

    def _suite(self, prose_seed: int) -> Suite:
        if prose_seed not in self._suites:
            self._suites[prose_seed] = training_suite(self._tokenizer, prose_seed)
        return self._suites[prose_seed]


def training_suite(tokenizer: Tokenizer, prose_seed: int) -> Suite:
    """RULER over the embedded corpora of `prose_seed`, ready to make samples of any key."""
    settings = RulerSettings.of(ctxs=curriculum.LENGTHS, samples=1, seed=FIRST_TRAINING_SEED)
    return build(settings, tokenizer, RulerCorpora.embedded(prose_seed))


_maker: BatchMaker | None = None


def _start_worker(tokenizer_file: Path, seed: int) -> None:
    global _maker
    # One process a core: the tokenizer's own threads would only fight each other.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _maker = BatchMaker(tokenizer_file, seed)


def _make(index: int, progress: float) -> Batch:
    if _maker is None:
        raise RuntimeError("the worker was not started")
    return _maker.batch(index, progress)


class BatchStream:
    """Batches in order of their index, made ahead by a pool of processes; use as a context manager."""

    def __init__(self, tokenizer_file: Path, *, seed: int, workers: int) -> None:
        self._pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(tokenizer_file, seed)
        )

    def batches(self, progress_at: Callable[[int], float], count: int) -> Iterator[Batch]:
        """Batches 0 … count - 1; `progress_at(index)` is asked when a batch is ordered."""
        ordered: deque[Future[Batch]] = deque()
        for index in range(count):
            ordered.append(self._pool.submit(_make, index, progress_at(index)))
            if len(ordered) > AHEAD:
                yield ordered.popleft().result()
        while ordered:
            yield ordered.popleft().result()

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
