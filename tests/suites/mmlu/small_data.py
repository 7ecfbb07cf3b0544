"""Small MMLU folders, in both layouts."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

HEADER = ("question", "choice0", "choice1", "choice2", "choice3", "answer")

Row = tuple[str, ...]


def rows(topic: str, count: int, *, letters: bool = False) -> list[Row]:
    """Meaningless questions with rotating answers; every third has quotes, commas or a line break."""
    made = []
    for n in range(count):
        odd = ('a "quoted", listed thing', "one line\nand another", "plain")[n % 3]
        choices = tuple(f"{topic} choice {n}.{index}, {odd}" for index in range(4))
        made.append((f" What about {topic}, number {n}: {odd}? ", *choices, "ABCD"[n % 4] if letters else str(n % 4)))
    return made


def as_csv(lines: Sequence[Row], *, header: Row | None = HEADER) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([*([header] if header else []), *lines])
    return text.getvalue()


def write_mmlu(folder: Path, subjects: Sequence[str], *, test: int = 6, dev: int = 5, letters: bool = False) -> Path:
    """Write `test/<subject>_test.csv` and `dev/<subject>_dev.csv`, headerless with letters, or with a header."""
    for split, count in (("test", test), ("dev", dev)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for subject in subjects:
            made = rows(f"{subject} {split}", count, letters=letters)
            text = as_csv(made, header=None if letters else HEADER)
            (folder / split / f"{subject}_{split}.csv").write_text(text, encoding="utf-8")
    return folder
