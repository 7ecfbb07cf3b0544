"""Prompts of lm-eval's tasks `mmlu` and `mmlu_continuation` (version 1.0 of both)."""

from collections.abc import Sequence

from suites.mmlu.questions import Question
from suites.mmlu.settings import Variant

LETTERS = ("A", "B", "C", "D")
ANSWER = "Answer:"
_DESCRIPTIONS: dict[Variant, str] = {
    "mc": "The following are multiple choice questions (with answers) about {topic}.\n\n",
    "cloze": "The following are questions (with answers) about {topic}.\n\n",
}


def header(subject: str, examples: Sequence[Question], variant: Variant) -> str:
    """The start of all prompts of a subject: a line that names the topic, and worked examples."""
    worked = (f"{ask(example, variant)}{choices(example, variant)[example.answer]}\n\n" for example in examples)
    return _DESCRIPTIONS[variant].format(topic=subject.replace("_", " ")) + "".join(worked)


def ask(question: Question, variant: Variant) -> str:
    """A question up to `Answer:`."""
    text = question.question.strip()
    if variant == "cloze":
        return f"Question: {text}\n{ANSWER}"
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=True))
    return f"{text}\n{listed}\n{ANSWER}"


def labels(question: Question, variant: Variant) -> tuple[str, ...]:
    """The possible answers: letters, or the texts of the choices."""
    return LETTERS if variant == "mc" else question.choices


def choices(question: Question, variant: Variant) -> tuple[str, ...]:
    """The continuations to score."""
    return tuple(f" {label}" for label in labels(question, variant))


def right_choice(prompt: str, question: Question, variant: Variant) -> tuple[tuple[int, int], ...]:
    """(start, end) of the right choice in the prompt of a question; empty if the choices are not listed."""
    if variant == "cloze":
        return ()
    line = f"\n{LETTERS[question.answer]}. {question.choices[question.answer]}\n"
    start = prompt.rindex(line) + 1
    return ((start, start + len(line) - 2),)
