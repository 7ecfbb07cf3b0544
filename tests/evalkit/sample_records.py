"""Lines of samples.jsonl by hand: every test that needs one makes it here."""

from typing import Any

from evalkit.records import SampleRecord


def sample_record(task: str, ctx: int, index: int, score: float | None, **fields: Any) -> SampleRecord:
    """An answered sample, with some fields changed; a score of None means a failed request."""
    seed = fields.get("seed", 42)
    values: dict[str, Any] = {
        "id": f"{task}/{ctx}/{index}/{seed}",
        "seed": seed,
        "prompt_tokens": ctx,
        "completion_tokens": 5,
        "prompt_sha256": "",
        "depths": (),
        "gold_positions": (),
        "targets": (),
        "prediction": "",
        "finish_reason": "error" if score is None else "stop",
        "metric": "bits_per_byte" if "measures" in fields else "all",
        "failure": None,
        "error": "out of memory" if score is None else None,
        "unscored": None,
        "prefill_seconds": 0.0,
        "decode_seconds": 0.0,
    }
    return SampleRecord(task=task, ctx=ctx, index=index, score=score, **{**values, **fields})
