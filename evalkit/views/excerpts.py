"""What to show of a long prompt: its two ends, and where the answer stands in it."""

from dataclasses import dataclass

HEAD_CHARACTERS = 300
TAIL_CHARACTERS = 700
AROUND_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a prompt with its place."""

    label: str
    text: str
    start: int
    """Character of the prompt at which it begins."""


def excerpts(prompt: str, targets: tuple[str, ...]) -> list[Excerpt]:
    """The head, the first place of each target between the ends, and the tail, in the order of the prompt.

    A prompt that is no longer than its ends is one piece.
    """
    tail_start = len(prompt) - TAIL_CHARACTERS
    if tail_start <= HEAD_CHARACTERS:
        return [Excerpt("prompt", prompt, 0)]
    places = [_in_place(prompt, target, tail_start) for target in targets]
    found = {place.start: place for place in places if place is not None}
    return [
        Excerpt("start of the prompt", prompt[:HEAD_CHARACTERS], 0),
        *(found[start] for start in sorted(found)),
        Excerpt("end of the prompt", prompt[tail_start:], tail_start),
    ]


def _in_place(prompt: str, target: str, end: int) -> Excerpt | None:
    at = prompt.lower().find(target.lower(), HEAD_CHARACTERS, end) if target else -1
    if at < 0:
        return None
    start = max(HEAD_CHARACTERS, at - AROUND_CHARACTERS)
    text = prompt[start : min(end, at + len(target) + AROUND_CHARACTERS)]
    return Excerpt(f"{target} in place, {at / len(prompt):.0%} into the prompt", text, start)
