"""Greedy answers of a server, compared with those of the reference engine and with each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.analysis.agreement.probes import Probe, TokenIds
from evalkit.analysis.agreement.records import AnswerGroup, Difference, Way
from evalkit.analysis.agreement.rounding import Rounding
from evalkit.errors import UsageError
from evalkit.records import Completion, Request
from evalkit.running.protocols import Adapter, Tokenizer

MOST_EXAMINED = 12
"""Differences that rounding does not explain, in one way of asking, after which further ones are not looked into."""
END = "(end of the answer)"


@dataclass(frozen=True, slots=True)
class Sides:
    """The two engines."""

    reference: Adapter
    alone: Adapter
    """The server, asked for one answer at a time."""
    at_once: Adapter
    """The server under load."""
    end_ids: TokenIds
    """Tokens that end an answer."""


def ask(adapter: Adapter, probes: Sequence[Probe]) -> list[Completion]:
    """The adapter's answers, in the order of the probes."""
    requests = (Request(str(place), probe.token_ids, probe.new_tokens) for place, probe in enumerate(probes))
    return ordered(adapter, requests, len(probes))


def ordered(adapter: Adapter, requests: Iterator[Request], count: int) -> list[Completion]:
    """The adapter's completions of requests whose ids are 0 to `count` - 1, in that order."""
    by_id = {completion.request_id: completion for completion in adapter.generate(requests)}
    return [by_id[str(place)] for place in range(count)]


def checked(model: str, completions: list[Completion]) -> list[Completion]:
    """The reference's completions; raises UsageError if one failed, because then nothing can be compared."""
    failed = next((completion for completion in completions if completion.error is not None), None)
    if failed is not None:
        raise UsageError(f"{model}: {failed.error}; nothing can be compared")
    return completions


@dataclass(slots=True)
class AnswerComparison:
    """Compares answers, and asks the reference how close a decision was where they differ."""

    sides: Sides
    tokenizer: Tokenizer
    rounding: Rounding
    differences: list[Difference] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _examined: dict[tuple[TokenIds, int, int], float | None] = field(default_factory=dict)
    """Margins by prompt with the answer so far and the two tokens."""

    def tokens(self, completion: Completion, like: TokenIds) -> TokenIds:
        """The answer's tokens, with the one that ends it; from its text, read as `like` as far as both agree,
        if the server gives no ids."""
        known = completion.token_ids
        ids = self._read(completion.text, like) if known is None else known
        ends = self.sides.end_ids
        if completion.finish_reason == "stop" and ends and (not ids or ids[-1] not in ends):
            # Servers leave the token out or not; the one that ended the other answer, if that ended here too.
            ids = (*ids, like[len(ids)] if len(like) > len(ids) and like[len(ids)] in ends else ends[0])
        elif known is None and like and like[:-1] == ids and like[-1] in ends:
            # The budget ended with that token, which no text shows.
            ids = like
        return ids

    def compare(
        self, way: Way, probes: Sequence[Probe], expected: Sequence[TokenIds], found: Sequence[Completion]
    ) -> list[AnswerGroup]:
        """One group of answers for each group of probes."""
        counts: dict[str, list[int]] = {}
        for probe, known, completion in zip(probes, expected, found, strict=True):
            count = counts.setdefault(probe.group, [0, 0, 0, 0])
            if completion.error is not None:
                count[3] += 1
                self.failures.append(completion.error)
                continue
            difference = self._difference(way, probe, known, self.tokens(completion, known))
            if difference is not None:
                self.differences.append(difference)
            count[0 if difference is None else 1 if difference.by_rounding else 2] += 1
        return [AnswerGroup(way, group, sum(count), *count) for group, count in counts.items()]

    def _read(self, text: str, like: TokenIds) -> TokenIds:
        ends = self.sides.end_ids
        words = like[:-1] if like and like[-1] in ends else like
        shared, rest = 0, text
        for count in range(1, len(words) + 1):
            spelled = self.tokenizer.decode(words[:count])
            if text.startswith(spelled):
                shared, rest = count, text[len(spelled) :]
        return (*words[:shared], *self.tokenizer.encode(rest))

    def _difference(self, way: Way, probe: Probe, expected: TokenIds, found: TokenIds) -> Difference | None:
        if expected == found:
            return None
        pairs = zip(expected, found, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
        one, other = (ids[place] if place < len(ids) else None for ids in (expected, found))
        unexplained = sum(each.way == way and not each.by_rounding for each in self.differences)
        margin = None
        if one is not None and other is not None and unexplained < MOST_EXAMINED:
            margin = self._margin((*probe.token_ids, *expected[:place]), one, other)
        return Difference(
            probe=probe.name,
            prompt_tokens=len(probe.token_ids),
            way=way,
            token=place,
            expected=END if one is None else self.tokenizer.spell([one]),
            found=END if other is None else self.tokenizer.spell([other]),
            margin=margin,
            by_rounding=margin is not None and margin <= self.rounding.margin_bound,
        )

    def _margin(self, prompt: TokenIds, one: int, other: int) -> float | None:
        """Nats from the reference's most probable token after `prompt` to the less probable of two tokens."""
        key = (prompt, min(one, other), max(one, other))
        if key not in self._examined:
            self._examined[key] = _measured_margin(self.sides.reference, prompt, one, other)
        return self._examined[key]


def _measured_margin(reference: Adapter, prompt: TokenIds, one: int, other: int) -> float | None:
    (best,) = reference.generate(iter([Request("best", prompt, 1)]))
    if not best.token_ids:
        return None
    continuations = ((best.token_ids[0],), (one,), (other,))
    (scored,) = reference.generate(iter([Request("margin", prompt, 0, continuations=continuations)]))
    if scored.continuations is None:
        return None
    values = [continuation.log_probability for continuation in scored.continuations]
    return values[0] - min(values)


def distinct(values: Sequence[str]) -> tuple[str, ...]:
    """The values in their order, each once, with how often it came."""
    counted: Mapping[str, int] = {value: values.count(value) for value in values}
    return tuple(value if count == 1 else f"{value} ({count} times)" for value, count in counted.items())
