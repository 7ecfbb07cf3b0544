"""One family in the engine, compared with transformers' own forward pass and `generate`.

row = compare_family("mamba2")              # Row(outcome="equal", ...)
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from transformers import PreTrainedModel

from evalkit.errors import UsageError
from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.fast_modules.gated_delta_net import gated_delta_layers
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.layout import MemoryLayout
from model_adapters.engine.scheduling.sequence import Generation
from model_adapters.messages import reason
from model_adapters.support import measure_support
from tests.model_adapters.engine.prompts import random_prompt
from tests.model_adapters.families.recipes import build, build_skeleton

SEGMENT_TOKENS, SLOTS = 37, 2
"""Segments divide no prompt here and end on both sides of every window; two of three prompts decode together."""
TEXT_TOKENS, PREFIX_TOKENS = 150, 75
BRANCH_TOKENS = (7, 33)
PROMPT_TOKENS, NEW_TOKENS = (5, 61, 108), 6
PACKED_TOKENS = (9, 24)
TOLERANCE = 5e-4
"""Nats; the logits of these models are about one, so that fp32 leaves a hundredth of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """The table's entry for a family."""

    family: str
    mixer: str = ""
    """What its layers store."""
    outcome: str = "equal"
    """equal, refused, wrong, failed (an exception), or not built."""
    reason: str = ""
    kernel: str = ""
    token_bytes: int | None = None
    state_bytes: int | None = None


def compare_family(family: str) -> Row:
    """Build a small model of a family, run it in the engine in every way, and describe the outcome."""
    row = Row(family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' and torch's own
        try:
            model = build(family)
            truth = Truth(model)
        except Exception as error:  # noqa: BLE001 - whatever a family's code raises is the finding
            return replace(row, outcome="not built", reason=reason(error))
        try:
            foreseen = measure_support(build_skeleton(family), torch.float32)
        except UsageError as error:
            return replace(row, outcome="refused", reason=str(error))
        try:
            engine = Engine(truth.engine_model, segment_tokens=SEGMENT_TOKENS, slots=SLOTS)
            row = _described(row, engine)
            different = engine.runner.layout != foreseen
            fault = "memory differs from what was measured without weights" if different else truth.compare(engine)
        except Exception as error:  # noqa: BLE001
            return replace(row, outcome="failed", reason=reason(error))
    return replace(row, outcome="wrong" if fault else "equal", reason=fault)


class Truth:
    """The results of transformers' own code for some texts; the engine runs a copy of the model."""

    def __init__(self, model: PreTrainedModel) -> None:
        model.set_attn_implementation("eager")
        self._model = model
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self._generated = {tokens: self._answer(random_prompt(tokens)) for tokens in PROMPT_TOKENS}
        # A token from the middle of one prompt's answer ends that answer, and any other answer that contains it.
        self._stop = self._generated[PROMPT_TOKENS[1]][NEW_TOKENS // 2]
        self.engine_model = copy.deepcopy(model)
        self.engine_model.generation_config.eos_token_id = self._stop

    def compare(self, engine: Engine) -> str:
        """The first difference between the engine and transformers; an empty string if there is none."""
        prefix, continuations = random_prompt(PREFIX_TOKENS), ((5,), random_prompt(9))
        text = Request("text", random_prompt(TEXT_TOKENS), 0, scored_from=1)
        branches = [
            Request(f"branch {tokens}", prefix + random_prompt(tokens), 0, continuations=continuations, **shared)
            for tokens in BRANCH_TOKENS
            for shared in ({"prefix_id": "p", "prefix_tokens": PREFIX_TOKENS},)
        ]
        alone = [Request(f"alone {one.id}", one.token_ids, 0, continuations=continuations) for one in branches]
        prompts = [Request(f"decode {tokens}", random_prompt(tokens), NEW_TOKENS) for tokens in PROMPT_TOKENS]
        requests = [text, *branches, *alone, *prompts]
        found = {generation.request_id: generation for generation in engine.generate(requests)}
        for generation in found.values():
            if generation.error is not None:
                raise RuntimeError(generation.error)
        faults = [self._scores(text, found["text"])]
        faults += [self._continuations(request, found[request.id]) for request in (*branches, *alone)]
        faults += [self._decoded(request, found[request.id]) for request in prompts]
        faults.append(self._packed(engine.runner))
        return next((fault for fault in faults if fault), "")

    def _scores(self, request: Request, generation: Generation) -> str:
        assert generation.scores is not None
        expected = self._token_logs(request.token_ids, 1)
        gap = max(abs(a - b) for a, b in zip(generation.scores.log_probabilities, expected, strict=True))
        return "" if gap <= TOLERANCE else "log-probabilities in segments differ"

    def _continuations(self, request: Request, generation: Generation) -> str:
        assert generation.continuations is not None
        for score, continuation in zip(generation.continuations, request.continuations, strict=True):
            expected = sum(self._token_logs(request.token_ids + continuation, len(request.token_ids)))
            if score.log_probability != pytest.approx(expected, abs=2 * TOLERANCE):
                return f"continuations differ ({request.id})"
        return ""

    def _decoded(self, request: Request, generation: Generation) -> str:
        expected = self._generated[len(request.token_ids)]
        if self._stop in expected:
            expected = expected[: expected.index(self._stop) + 1]
        if generation.token_ids == list(expected):
            return ""
        behind = self._behind(request.token_ids, tuple(generation.token_ids))
        tied = behind < TOLERANCE and len(generation.token_ids) == len(expected)
        return "" if tied else f"generated tokens differ ({request.id})"

    def _packed(self, runner: ModelRunner) -> str:
        """Texts of different lengths in one pass: prompts, what branches off from them, and their next tokens."""
        prompts = [random_prompt(tokens) for tokens in PACKED_TOKENS]
        cache = runner.new_cache(slots=len(prompts), max_tokens=sum(PACKED_TOKENS))
        passes = {"prompts read together": (prompts, runner.prefill_together(cache, 0, prompts))}
        output = runner.branch(cache, range(len(prompts)), prompts[::-1])
        ends = [PACKED_TOKENS[-1] - 1, sum(PACKED_TOKENS) - 1]
        branches = [prompt + branch for prompt, branch in zip(prompts, prompts[::-1], strict=True)]
        passes["branches read together"] = branches, runner.logits_of(output, output.last_hidden_state[:, ends])
        longer = [(*prompt, prompt[0]) for prompt in prompts]
        step = runner.decode(cache, torch.tensor([prompt[-1:] for prompt in longer]), max(PACKED_TOKENS) + 1)
        passes["tokens decoded together"] = longer, step
        for name, (texts, logits_BV) in passes.items():
            expected_BV = torch.stack([self._logs(text)[-1] for text in texts])
            if (logits_BV.double().log_softmax(-1) - expected_BV).abs().max() > TOLERANCE:
                return f"{name} differ"
        return ""

    def _token_logs(self, token_ids: Sequence[int], first: int) -> list[float]:
        log_TV = self._logs(token_ids)
        return [log_TV[place - 1, token_ids[place]].item() for place in range(first, len(token_ids))]

    @torch.no_grad()
    def _logs(self, token_ids: Sequence[int]) -> torch.Tensor:
        """[T, V] by one pass without a cache; several requests have the same text."""
        text = tuple(token_ids)
        if text not in self._known:
            logits_TV: torch.Tensor = self._model(input_ids=torch.tensor([text]), use_cache=False).logits[0]
            self._known[text] = logits_TV.double().log_softmax(-1)
        return self._known[text]

    def _answer(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        """The answer of `generate`, or of repeated forward passes if `generate` fails or contradicts them."""
        try:
            answer = self._generate(token_ids)
        except Exception:  # noqa: BLE001 - some families' own generation is at fault
            answer = ()
        if len(answer) == NEW_TOKENS and self._behind(token_ids, answer) < TOLERANCE:
            return answer
        answer = ()
        while len(answer) < NEW_TOKENS:
            answer += (int(self._logs(token_ids + answer)[-1].argmax()),)
        return answer

    @torch.no_grad()
    def _generate(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        id_1T = torch.tensor([token_ids])
        output = self._model.generate(
            id_1T, attention_mask=torch.ones_like(id_1T), max_new_tokens=NEW_TOKENS, do_sample=False
        )
        return tuple(output[0, len(token_ids) :].tolist())

    def _behind(self, token_ids: tuple[int, ...], answer: tuple[int, ...]) -> float:
        """The largest difference between the best logit and that of an answer's token, in the forward pass."""
        log_TV = self._logs(token_ids + answer)[len(token_ids) - 1 : -1]
        chosen = log_TV.gather(1, torch.tensor(answer)[:, None])[:, 0]
        return (log_TV.max(-1).values - chosen).max().item()


def _described(row: Row, engine: Engine) -> Row:
    layout = engine.runner.layout
    plain = all(call.plain for call in layout.calls)
    kernels = ["fused attention" if plain else "chunked reference"] if layout.calls else []
    if any(layer.state_bytes for layer in layout.layers):
        triton = gated_delta_layers(engine.runner.model)
        kernels.append("gated delta" if triton else "transformers' recurrence")
    cost = layout.cost
    return replace(
        row,
        mixer=_mixer(layout),
        kernel=", ".join(kernels),
        token_bytes=cost.kv_bytes_per_token + cost.window_bytes_per_token,
        state_bytes=cost.state_bytes,
    )


def _mixer(layout: MemoryLayout) -> str:
    """One layer of each kind, in order of first occurrence."""
    kinds = []
    for layer in layout.layers:
        seen = "chunked" if layer.chunked else "window" if layer.window else "full"
        attention = seen if layer.kv_bytes else ""
        kinds.append(" and ".join(part for part in (attention, "state" if layer.state_bytes else "") if part) or "none")
    return ", ".join(dict.fromkeys(kinds))
