"""Samples that take several requests: completions are gathered until the last is there, and joined into one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from evalkit.records import Completion, Request, Sample


@dataclass(slots=True)
class _Open:
    """A sample in flight."""

    sample: Sample
    order: tuple[str, ...]
    """Ids of its requests."""
    answers: dict[str, Completion] = field(default_factory=dict)


class Gathering:
    """The samples in flight; completions come in any order."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def ask(self, sample: Sample, requests: Sequence[Request]) -> None:
        """Expect a completion for each of the sample's requests, at least one."""
        opened = _Open(sample, tuple(request.id for request in requests))
        for name in opened.order:
            if name in self._open:
                raise ValueError(f"two requests are called {name}")
            self._open[name] = opened

    def answer(self, completion: Completion) -> tuple[Sample, Completion] | None:
        """The sample with its joined completion once the last request is answered, None before."""
        opened = self._open.pop(completion.request_id)
        opened.answers[completion.request_id] = completion
        if len(opened.answers) < len(opened.order):
            return None
        return opened.sample, join_completions(opened.sample.id, [opened.answers[name] for name in opened.order])


def join_completions(name: str, parts: Sequence[Completion]) -> Completion:
    """One completion of all parts in their order: tokens and seconds added up, the first error that of the whole."""
    if len(parts) == 1:
        return replace(parts[0], request_id=name)
    failed = next((part for part in parts if part.error is not None), None)
    scored = [part.log_probabilities for part in parts if part.log_probabilities is not None]
    continued = [part.continuations for part in parts if part.continuations is not None]
    greedy = [part.is_greedy for part in parts if part.is_greedy is not None]
    return Completion(
        request_id=name,
        text="" if failed else "".join(part.text for part in parts),
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        finish_reason=failed.finish_reason if failed else parts[-1].finish_reason,
        prefill_seconds=math.fsum(part.prefill_seconds for part in parts),
        decode_seconds=math.fsum(part.decode_seconds for part in parts),
        error=failed.error if failed else None,
        log_probabilities=sum(scored, ()) if scored and not failed else None,
        is_greedy=all(greedy) if greedy and not failed else None,
        continuations=sum(continued, ()) if continued and not failed else None,
    )
