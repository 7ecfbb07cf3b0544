"""Run records with everything that a report can show, and one with hostile text in every text field."""

from dataclasses import replace
from typing import Any

from evalkit.records import (
    SCHEMA,
    CorpusUse,
    Counts,
    Environment,
    Figure,
    MemoryUse,
    ModelIdentity,
    PositionScheme,
    ResultRow,
    RunRecord,
    SummaryRow,
    ThinkingUse,
    Timing,
    UnscoredCell,
)

FULL = RunRecord(
    schema=SCHEMA,
    run_id="ruler-checkpoint-1a2b3c4d",
    suite="ruler",
    suite_version="1",
    dialect="nvidia",
    seed=42,
    model=ModelIdentity(
        path="./checkpoint",
        family="olmo_hybrid",
        fingerprint="sha256:" + "0123456789abcdef" * 4,
        tokenizer="sha256:" + "fedcba9876543210" * 4,
        dtype="bfloat16",
        positions=PositionScheme("none", "none (DRoPE)"),
        trained_length=65536,
        parameters=6_700_000_000,
    ),
    config={"ctxs": [4096, 65536], "samples": 100},
    config_passed={"ctx": "4096,65536", "model": "./checkpoint"},
    corpora=(
        CorpusUse("essays", "gutenberg", "ab" * 32, "emma.txt.gz"),
        CorpusUse("squad", "squad-v2-dev", "cd" * 32, "dev-v2.0.json"),
    ),
    environment=Environment(),
    results=(
        ResultRow("niah_single_2", 4096, "all", 100.0, 100, (100.0, 100.0)),
        ResultRow("vt", 4096, "all", 87.4, 100, (82.2, 92.0)),
        ResultRow("cwe", 4096, "all", 3.5, 100, (1.25, 6.0)),
        ResultRow("niah_single_2", 65536, "all", 99.0, 100, (97.0, 100.0)),
        ResultRow("vt", 65536, "all", 61.25, 98, (54.0, 68.5), errors=2),
    ),
    summary=(
        SummaryRow(4096, 63.633, (61.5, 65.75), 3, complete=True),
        SummaryRow(65536, 80.125, (76.5, 83.625), 2, complete=False),
    ),
    figures=(
        Figure("effective_length", 4096, "tokens"),
        Figure("wavg_increasing", 71.5, "points"),
        Figure("wavg_decreasing", None, "points"),
    ),
    failures={"budget_cut": 3, "wrong_needle": 41},
    unscored=(UnscoredCell("cwe", 65536, "its smallest prompt has 70,000 tokens of 65,416"),),
    counts=Counts(n=500, errors=2, unscored=0),
    timing=Timing(
        wall_seconds=4210.5,
        first_prompt_seconds=14.25,
        prefill_seconds=3000.0,
        decode_seconds=1000.0,
        prefill_tokens_per_second=8123.4,
        decode_tokens_per_second=31.9,
    ),
    memory=MemoryUse(peak_bytes=24 * 2**30, weights_bytes=14 * 2**30, method="CUDA allocator"),
    warnings=("context 65,536 is above the trained length of 32,768",),
)

EMBEDDED = replace(
    FULL,
    run_id="ruler-reference-hybrid-9f8e7d6c",
    model=replace(FULL.model, path="reference:hybrid", dtype="float32", parameters=3_912_345, trained=False),
    corpora=(CorpusUse("essays", "embedded prose", "ef" * 32, "embedded"),),
    results=tuple(
        ResultRow(task, 65536, "all", 0.0, 1, None) for task in ("niah_single_1", "niah_multikey_3", "vt", "qa_1")
    ),
    summary=(SummaryRow(65536, 0.0, None, 4, complete=True),),
    figures=(Figure("effective_length", 0, "tokens"), Figure("wavg_increasing", None, "points")),
    failures={},
    unscored=(),
    counts=Counts(n=4, errors=0, unscored=0),
    timing=Timing(wall_seconds=300.0, prefill_seconds=250.0, decode_seconds=1.5),
    memory=MemoryUse(),
    warnings=(),
)

THINKING = replace(
    EMBEDDED,
    run_id="ruler-thinker-5a6b7c8d",
    dialect="nvidia+chat-user+think-4096",
    model=replace(
        FULL.model, thinking=ThinkingUse(4096, {"enable_thinking": True}, "<think>", "</think>", "\n</think>")
    ),
    figures=(
        Figure("thought_tokens", 1234.5, "new tokens", n=4, ctx=65536),
        Figure("thoughts_forced", 25.0, "%", n=4, ctx=65536),
        Figure("thoughts_unclosed", 0.0, "%", n=4, ctx=65536),
        Figure("thoughts_absent", 50.0, "%", n=4, ctx=65536),
    ),
    failures={"cut_while_thinking": 1, "wrong_needle": 3},
)


def hostile(text: str) -> RunRecord:
    """`FULL` with `text` in every field shown as text."""
    identity: dict[str, Any] = dict.fromkeys(("path", "family", "fingerprint", "tokenizer", "dtype"), text)
    return replace(
        FULL,
        **dict.fromkeys(("run_id", "suite", "suite_version", "dialect"), text),
        model=replace(
            FULL.model,
            **identity,
            positions=PositionScheme("other", text),
            trained=False,
            thinking=ThinkingUse(1, {text: text}, text, text, text),
        ),
        corpora=(CorpusUse(text, text, text, text),),
        results=(ResultRow(text, 4096, text, 50.0, 2, None), ResultRow("vt", 4096, "all", 1.0, 3, None, chance=25.0)),
        figures=(Figure(text, 1.0, text, part=text),),
        failures={text: 1},
        unscored=(UnscoredCell(text, 8192, text),),
        memory=MemoryUse(peak_bytes=1, method=text),
        warnings=(text,),
    )
