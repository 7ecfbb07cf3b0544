"""Prompts of lm-eval's tasks `mmlu` and `mmlu_continuation` (version 1.0 of both)."""

from collections.abc import Sequence
from functools import lru_cache

from suites.mmlu.questions import Question
from suites.mmlu.settings import Variant

LETTERS = ("A", "B", "C", "D")
ANSWER = "Answer:"
_DESCRIPTIONS: dict[Variant, str] = {
    "mc": "The following are multiple choice questions (with answers) about {topic}.\n\n",
    "cloze": "The following are questions (with answers) about {topic}.\n\n",
}


@lru_cache(maxsize=1)
def header(subject: str, examples: tuple[Question, ...], variant: Variant) -> str:
    """The start of all prompts of a subject: a line that names the topic, and worked examples."""
    return _DESCRIPTIONS[variant].format(topic=subject.replace("_", " ")) + _worked(examples, variant)


def ask(question: Question, variant: Variant) -> str:
    """A question up to `Answer:`."""
    return f"{_asked(question, variant)}{ANSWER}"


def conversation(
    subject: str,
    examples: Sequence[Question],
    question: Question,
    variant: Variant,
    *,
    prefill: bool,
    multiturn: bool,
) -> list[dict[str, str]]:
    """The messages of a question; with `prefill` the last is the assistant's, which begins with `Answer:`.

    As lm-eval makes them, the description is the system's, and worked examples are turns or, without `multiturn`, part
    of the user's one turn. With `prefill`, they are those of a task with `gen_prefix: "Answer:"`.
    """
    asks = _asked if prefill else ask
    messages = [_message("system", header(subject, (), variant))]
    if multiturn:
        for example in examples:
            answer = choices(example, variant)[example.answer]
            worked = f"{ANSWER}{answer}" if prefill else answer.removeprefix(" ")
            messages += [_message("user", asks(example, variant)), _message("assistant", worked)]
        messages.append(_message("user", asks(question, variant)))
    else:
        messages.append(_message("user", _worked(examples, variant) + asks(question, variant)))
    return [*messages, _message("assistant", ANSWER)] if prefill else messages


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def labels(question: Question, variant: Variant) -> tuple[str, ...]:
    """The possible answers: letters, or the texts of the choices."""
    return LETTERS if variant == "mc" else question.choices


def choices(question: Question, variant: Variant) -> tuple[str, ...]:
    """The continuations to score."""
    return tuple(f" {label}" for label in labels(question, variant))


def right_choice(prompt: str, question: Question, variant: Variant) -> tuple[tuple[int, int], ...]:
    """(start, end) of the right choice in the prompt of a question; empty if the choices are not listed."""
    asked = _asked(question, variant).strip()
    start = prompt.rfind(asked)
    if variant == "cloze" or start < 0:
        return ()
    lines = _listed(question)
    first = start + len(asked) - len("\n".join(lines[question.answer :]).rstrip())
    return ((first, first + len(lines[question.answer])),)


def _asked(question: Question, variant: Variant) -> str:
    """A question up to its answer, on a line of its own."""
    text = question.question.strip()
    if variant == "cloze":
        return f"Question: {text}\n"
    return "\n".join((text, *_listed(question), ""))


def _listed(question: Question) -> list[str]:
    return [f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=True)]


def _worked(examples: Sequence[Question], variant: Variant) -> str:
    return "".join(f"{ask(example, variant)}{choices(example, variant)[example.answer]}\n\n" for example in examples)
