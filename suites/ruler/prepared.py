"""Prepared samples: files in RULER's layout are written, those in RULER's and Ai2's layouts are read."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from evalkit import files
from evalkit.errors import UsageError
from evalkit.records import (
    Asked,
    CorpusUse,
    Sample,
    SampleKey,
    SampleRecord,
    SuitePlan,
    SuiteSummary,
    UnscoredCell,
)
from evalkit.running.chat import Chat
from evalkit.running.model_options import RAW, ChatOptions
from evalkit.running.protocols import Tokenizer
from suites.ruler import needles, tasks
from suites.ruler.answer_prefix import full_prompt
from suites.ruler.json_lines import JsonLine, parse_json_line, read_json_lines
from suites.ruler.settings import RulerSettings
from suites.ruler.suite import RulerJudge

VALIDATION = "validation.jsonl"
OPENINGS = ("answer_prefix", "gen_prefix")
"""Names of the answer prefix: RULER's, and lm-eval's for the same text without the space before it."""


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """One file of samples, of which only the offsets of lines are kept in memory."""

    path: Path
    sha256: str
    lines: tuple[tuple[int, int], ...]
    """(number, offset in bytes) of each sample's line."""
    longest: int
    """Index of the sample with the longest text."""

    def read(self, index: int) -> JsonLine:
        """Sample `index` from the file."""
        number, offset = self.lines[index]
        with self.path.open("rb") as file:
            file.seek(offset)
            return parse_json_line(self.path, number, offset, file.readline())


class PreparedSuite(RulerJudge):
    """Samples from a folder, sent as they are written.

    Their lengths are those of the tokenizer they were prepared for; lengths in this tokenizer are reported.
    """

    def __init__(self, settings: RulerSettings, tokenizer: Tokenizer, folder: Path, chat: ChatOptions = RAW) -> None:
        """Read the requested files. Raises UsageError, with file and line for a malformed line."""
        super().__init__(settings.dialect, Chat(tokenizer, chat))
        self._settings = settings
        self._folder = folder
        self._files: dict[tuple[str, int], PreparedFile] = {}
        for ctx in settings.ctxs:
            for task in settings.tasks:
                path = self._locate(task, ctx)
                if path is not None:
                    self._files[task, ctx] = _index(path, ctx, settings.samples)

    def plan(self) -> SuitePlan:
        """All samples of the files, or the first `samples` of each; tasks without a file are listed as left out."""
        if not self._files:
            asked = f"{self._settings.tasks[0]} at {self._settings.ctxs[0]:,}"
            raise UsageError(
                f"--data {self._folder} has none of the requested samples (such as {asked}); name a folder with "
                f"<task>/{VALIDATION}, <ctx>/<task>/{VALIDATION} or <task>/validation_<ctx>.jsonl"
            )
        cells = [(task, ctx) for ctx in self._settings.ctxs for task in self._settings.tasks]
        return SuitePlan(
            keys=tuple(
                SampleKey(task, ctx, index, self._settings.seed)
                for task, ctx in cells
                if (task, ctx) in self._files
                for index in range(len(self._files[task, ctx].lines))
            ),
            unscored=tuple(
                UnscoredCell(task, ctx, f"no file in {self._folder}")
                for task, ctx in cells
                if (task, ctx) not in self._files
            ),
            corpora=tuple(self._uses()),
            warnings=tuple(self._long_files()),
        )

    def ask(self, key: SampleKey) -> Asked:
        """The sample of line `key.index`, its prompt put together by the dialect's rule."""
        row = self._files[key.task, key.ctx].read(key.index)
        targets = row.references()
        whole, opening = full_prompt(self._dialect, key.task, row.text("input"), _opening(row), targets)
        prompt = self._chat.render(whole.removesuffix(opening), opening)
        hidden = needles.found(whole) if key.task in tasks.NEEDLE_TASKS else []
        depths = {needle.value: needle.depth for needle in reversed(hidden)}
        budget = self._budget(key, opening)
        sample = Sample(
            key=key,
            prompt=prompt.text,
            answer_prefix=prompt.opening,
            targets=targets,
            generation_tokens=budget,
            prompt_tokens=len(prompt.token_ids),
            metric=tasks.metric(self._dialect, key.task),
            depths=tuple(depths[target] for target in targets if target in depths),
            distractors=tuple(value for value in dict.fromkeys(n.value for n in hidden) if value not in targets),
            evidence=tasks.evidence(key.task, prompt.text, targets),
        )
        return Asked(sample, (self._chat.request(key.id, prompt, budget),))

    def summarize(self, records: Sequence[SampleRecord]) -> SuiteSummary:
        """The table, with a warning for each length that prompts exceed."""
        return replace(super().summarize(records), warnings=tuple(_too_long(records)))

    def _long_files(self) -> Iterator[str]:
        """Warnings about files whose longest text exceeds the requested length or its own label."""
        for (task, ctx), file in self._files.items():
            sample = self.ask(SampleKey(task, ctx, file.longest, self._settings.seed)).sample
            taken = sample.prompt_tokens + sample.generation_tokens
            label = file.read(file.longest).fields.get("length", ctx)
            if taken > ctx or taken - len(self._chat.tokenizer.add_special_tokens([])) > label:
                limit = f"--ctx {ctx:,}" if taken > ctx else f"its own label, `length` {label:,}"
                yield (
                    f"{task} at {ctx:,}: the longest prompt takes {taken:,} tokens of this tokenizer with its "
                    f"generation budget, which is above {limit}"
                )

    def _locate(self, task: str, ctx: int) -> Path | None:
        named = (
            self._folder / str(ctx) / task / VALIDATION,
            self._folder / str(ctx) / "data" / task / VALIDATION,
            self._folder / task / f"validation_{ctx}.jsonl",
            self._folder / "data" / "ruler" / task / f"validation_{ctx}.jsonl",
        )
        unnamed = self._folder / task / VALIDATION
        path = next((path for path in named if path.is_file()), unnamed if unnamed.is_file() else None)
        if path == unnamed and len(self._settings.ctxs) > 1:
            raise UsageError(f"{path} does not state its length; give a single --ctx")
        return path

    def _uses(self) -> Iterator[CorpusUse]:
        """Named by task and length, not by path, so that two runs compare the data of each task."""
        for (task, ctx), file in self._files.items():
            path = file.path.relative_to(self._folder).as_posix()
            yield CorpusUse("samples", f"{task}@{ctx}", file.sha256, path)


def _index(path: Path, ctx: int, samples: int | None) -> PreparedFile:
    """Check the lines that will be used, and note their offsets."""
    lines: list[tuple[int, int]] = []
    sizes: list[int] = []
    for row in read_json_lines(path):
        if samples is not None and len(lines) == samples:
            break
        _check(row, ctx)
        lines.append((row.number, row.offset))
        sizes.append(len(row.text("input")))
    if not lines:
        raise UsageError(f"{path} holds no samples")
    if samples is not None and len(lines) < samples:
        raise UsageError(
            f"--samples {samples}: {path} holds {len(lines)}; use at most as many, or leave --samples out to run all"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return PreparedFile(path, digest, tuple(lines), sizes.index(max(sizes)))


def _check(row: JsonLine, ctx: int) -> None:
    row.references()
    if not row.prompt_text("input"):
        raise row.error("`input` is empty")
    _opening(row)
    length = row.fields.get("length", 0)
    if not isinstance(length, int) or isinstance(length, bool):
        raise row.error(f"`length` is {length!r}; it must be a number of tokens")
    if length > ctx:
        raise row.error(f"`length` {length:,} is above --ctx {ctx:,}; use the length that the file was made for")


def _opening(row: JsonLine) -> str | None:
    """The answer prefix, None if the line has none; UsageError if it has an unknown name."""
    for name, value in row.fields.items():
        if name.endswith("prefix") and name not in OPENINGS and value:
            raise row.error(f"unknown field `{name}`; call the answer prefix `{OPENINGS[0]}`, or remove it")
    given = [row.prompt_text(name) for name in OPENINGS if row.fields.get(name) is not None]
    if not given:
        return None
    if len({text.strip() for text in given}) > 1:
        raise row.error(f"`{'` and `'.join(OPENINGS)}` differ; keep one of them")
    # lm-eval strips the text and puts one space before it.
    joined = row.fields.get(OPENINGS[0]) is not None or given[0][:1].isspace() or row.text("input")[-1:].isspace()
    return given[0] if joined else f" {given[0]}"


def _too_long(records: Sequence[SampleRecord]) -> Iterator[str]:
    """Number of prompts that exceed each length, and their lengths."""
    for ctx in sorted({record.ctx for record in records}):
        asked = [record for record in records if record.ctx == ctx and record.unscored is None]
        taken = [record.prompt_tokens + (record.generation_tokens or 0) for record in asked]
        above = [tokens for tokens in taken if tokens > ctx]
        if above:
            yield (
                f"{len(above):,} of {len(asked):,} prompts at {ctx:,} are longer: up to {max(above):,} "
                "tokens of this tokenizer with their generation budget"
            )


class PreparedWriter:
    """Writes samples as <ctx>/<task>/validation.jsonl, the layout that other RULER tools read; a context manager."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._files: dict[Path, int] = {}

    def write(self, sample: Sample) -> None:
        """Append one sample. Raises UsageError if it cannot be written; earlier lines stay intact."""
        path = self._out / str(sample.key.ctx) / sample.key.task / VALIDATION
        line = json.dumps(_row(sample), ensure_ascii=False).encode() + b"\n"
        file = self._open(path)
        try:
            files.append_whole(file, line)
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}; its lines so far are whole, free some space and start again "
                "with another --out"
            ) from None

    def __enter__(self) -> "PreparedWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files.values():
            os.close(file)

    def _open(self, path: Path) -> int:
        if path not in self._files:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:
                raise UsageError(f"{path} exists already; use another --out") from None
            except OSError as error:
                raise UsageError(f"cannot write {path}: {error.strerror}; use another --out") from None
        return self._files[path]


def _row(sample: Sample) -> dict[str, int | str | Sequence[str]]:
    """RULER's fields; `length` counts the generation budget too."""
    return {
        "index": sample.key.index,
        "input": sample.prompt.removesuffix(sample.answer_prefix),
        "answer_prefix": sample.answer_prefix,
        "outputs": list(sample.targets),
        "length": sample.prompt_tokens + sample.generation_tokens,
    }
