"""Training batches, made in worker processes; each depends only on its phase, its index and the recipe's seed."""

import os
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.errors import SampleDoesNotFitError
from evalkit.records import Asked, SampleKey
from evalkit.running.protocols import Suite, Tokenizer
from model_adapters.reference import curriculum
from model_adapters.reference.architecture import PAD_ID
from model_adapters.reference.corpora.texts import generated_corpora
from model_adapters.reference.curriculum import FIRST_TRAINING_SEED, PROSE_SEEDS, Phase
from model_adapters.reference.rows import Answer, Row, join, ruler_part, track_part
from suites import ruler, state_tracking
from suites.ruler import RulerSettings
from suites.state_tracking import StateTrackingSettings
from suites.state_tracking.tasks import TASKS as TRACK_TASKS
from suites.state_tracking.tasks import row_name

SCORED_POSITIONS = 12_288
"""Positions per batch whose next token is learned: all answers, and a random part of the text."""
TEXT_WEIGHT = 0.1
"""Weight of all text together, relative to the answers."""
STATE_SHARE = 0.3
"""Weight of the name of a state, relative to an answer's token."""
COUNTING_WEIGHT = 4.0
"""Weight of text that trains counting, relative to other text."""
AHEAD = 48

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one step and the positions that are learned.

    B rows of T tokens; P scored positions. `positions_P` are flat indices b·T + t whose next token is `targets_P`.
    """

    token_ids_BT: IntArray
    positions_P: IntArray
    targets_P: IntArray
    weights_P: FloatArray
    questions_P: IntArray
    """Which of `tasks` a position's answer belongs to; -1 for text."""
    tasks: tuple[str, ...]


def assemble(rows: list[Row], length: int, rng: np.random.Generator) -> Batch:
    """Rows padded on the right to `length`, with all answers and as much text as fits the scored positions."""
    token_ids_BT = np.full((len(rows), length), PAD_ID, dtype=np.int64)
    text_BT = np.zeros((len(rows), length), dtype=np.float32)
    asked: list[tuple[int, int, float, int]] = []
    tasks: list[str] = []
    for index, row in enumerate(rows):
        token_ids_BT[index, : len(row.token_ids)] = row.token_ids
        text_BT[index, : len(row.token_ids) - 1] = 1.0
        for start, end in row.counted:
            text_BT[index, start : end - 1] = COUNTING_WEIGHT
        for answer in row.answers:
            text_BT[index, answer.start - 1 : answer.end - 1] = 0.0
            asked += _asked(row, answer, index * length, len(tasks))
            tasks.append(answer.task)
        for state in row.states:
            text_BT[index, state.place] = 0.0
            asked.append((index * length + state.place, state.token, STATE_SHARE, len(tasks)))
            tasks.append(f"{state.task}~")
    del asked[SCORED_POSITIONS:]
    text_positions = rng.permutation(np.flatnonzero(text_BT))[: SCORED_POSITIONS - len(asked)]
    # If padding leaves too little text for its share, positions are repeated with weight zero.
    missing = SCORED_POSITIONS - len(asked) - len(text_positions)
    places, targets, shares, questions = zip(*asked, strict=True)
    positions_P = np.concatenate([places, text_positions, np.zeros(missing)]).astype(np.int64)
    flat = token_ids_BT.reshape(-1)
    targets_P = flat[np.minimum(positions_P + 1, flat.size - 1)]
    targets_P[: len(asked)] = targets
    text_weights = text_BT.reshape(-1)[text_positions]
    weights_P = np.zeros(SCORED_POSITIONS, dtype=np.float32)
    weights_P[: len(asked)] = np.array(shares) / sum(shares)
    weights_P[len(asked) : SCORED_POSITIONS - missing] = TEXT_WEIGHT * text_weights / max(len(text_positions), 1)
    questions_P = np.full(SCORED_POSITIONS, -1, dtype=np.int64)
    questions_P[: len(asked)] = questions
    return Batch(token_ids_BT, positions_P, targets_P, weights_P, questions_P, tuple(tasks))


def _asked(row: Row, answer: Answer, offset: int, question: int) -> Iterator[tuple[int, int, float, int]]:
    """(position, target, share of its weight, question) of an answer's tokens, of those that would do as well too."""
    others: dict[int, list[int]] = defaultdict(list)
    for place, token in answer.also:
        others[place].append(token)
    for place in range(answer.start, answer.end):
        targets = [row.token_ids[place], *others[place]]
        for target in targets:
            yield offset + place - 1, target, 1 / len(targets), question


class BatchMaker:
    """Makes batches of a phase by index; one lives in each worker process."""

    def __init__(self, tokenizer_file: Path, seed: int, phase: Phase) -> None:
        from model_adapters.tokenizer import HfTokenizer

        self._tokenizer = HfTokenizer.from_file(tokenizer_file)
        self._seed = seed
        self._phase = phase
        self._suites: dict[int, Suite[Asked]] = {}
        self._track = track_suite(self._tokenizer)

    def batch(self, index: int, progress: float) -> Batch:
        """Batch number `index` of the whole training, made for `progress` in [0, 1] of the phase."""
        rng = random.Random(f"{self._seed}/{index}")
        length = self._phase.row_tokens(progress, rng)
        rows = [self._row(rng, length, progress) for _ in range(curriculum.BATCH_TOKENS // length)]
        return assemble(rows, length, np.random.default_rng([self._seed, index]))

    def _row(self, rng: random.Random, length: int, progress: float) -> Row:
        sample_tokens = curriculum.sample_tokens(length, rng)
        return join([self._part(rng, sample_tokens, progress) for _ in range(length // sample_tokens)])

    def _part(self, rng: random.Random, length: int, progress: float) -> Row:
        suite = self._suite(rng.choice(PROSE_SEEDS))
        while True:
            task = self._phase.task(progress, rng)
            if task == curriculum.TRACK:
                return track_part(self._track, self._tokenizer, length, lambda: self._track_key(progress, rng))
            try:
                asked = suite.ask(SampleKey(task, length, 0, self._phase.seed(rng)))
            except SampleDoesNotFitError:
                continue
            part = ruler_part(asked, self._tokenizer, rng)
            if part is not None:
                return part

    def _track_key(self, progress: float, rng: random.Random) -> SampleKey:
        task = row_name(rng.choice(list(TRACK_TASKS)), self._phase.updates(progress, rng))
        return SampleKey(task, 0, 0, self._phase.seed(rng))

    def _suite(self, prose_seed: int) -> Suite[Asked]:
        if prose_seed not in self._suites:
            self._suites[prose_seed] = training_suite(self._tokenizer, prose_seed)
        return self._suites[prose_seed]


def training_suite(tokenizer: Tokenizer, prose_seed: int) -> Suite[Asked]:
    """RULER over the generated corpora of `prose_seed`, ready to make samples of any key."""
    settings = RulerSettings.of(ctx=curriculum.LENGTHS, samples=1, seed=FIRST_TRAINING_SEED)
    return ruler.build(settings, tokenizer, generated_corpora(prose_seed))


def track_suite(tokenizer: Tokenizer) -> Suite[Any]:
    """State tracking without distractor text, ready to make samples of any key."""
    return state_tracking.build(StateTrackingSettings.of(seed=FIRST_TRAINING_SEED), tokenizer)


_maker: BatchMaker | None = None


def _start_worker(tokenizer_file: Path, seed: int, phase: Phase) -> None:
    global _maker
    # One process per core, so the tokenizer's own threads would only compete.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _maker = BatchMaker(tokenizer_file, seed, phase)


def _make(index: int, progress: float) -> Batch:
    if _maker is None:
        raise RuntimeError("the worker was not started")
    return _maker.batch(index, progress)


class BatchStream:
    """Batches in order of their index, made ahead by a pool of processes; use as a context manager."""

    def __init__(self, tokenizer_file: Path, *, seed: int, workers: int, phase: Phase) -> None:
        initargs = (tokenizer_file, seed, phase)
        self._pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=initargs
        )

    def batches(self, progress_at: Callable[[int], float], count: int, *, first: int) -> Iterator[Batch]:
        """Batches `first` … first + count - 1; `progress_at(steps)` of the phase is asked when a batch is ordered."""
        ordered: deque[Future[Batch]] = deque()
        for steps in range(count):
            ordered.append(self._pool.submit(_make, first + steps, progress_at(steps)))
            if len(ordered) > AHEAD:
                yield ordered.popleft().result()
        while ordered:
            yield ordered.popleft().result()

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
