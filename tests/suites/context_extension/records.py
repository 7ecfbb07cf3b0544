"""Sample records by hand."""

from collections.abc import Mapping

from evalkit.records import SampleRecord


def scored(
    task: str,
    ctx: int,
    index: int,
    score: float | None,
    *,
    depths: tuple[float, ...] = (),
    measures: Mapping[str, float] | None = None,
) -> SampleRecord:
    """An answered sample; a score of None is a request that failed."""
    return SampleRecord(
        id=f"{task}/{ctx}/{index}/42",
        task=task,
        ctx=ctx,
        index=index,
        seed=42,
        prompt_tokens=ctx,
        completion_tokens=0,
        prompt_sha256="",
        depths=depths,
        gold_positions=(),
        targets=(),
        prediction="",
        finish_reason="stop" if score is not None else "error",
        metric="bits_per_byte" if measures is not None else "all",
        score=score,
        failure=None,
        error=None if score is not None else "out of memory",
        unscored=None,
        prefill_seconds=0.0,
        decode_seconds=0.0,
        measures=dict(measures or {}),
    )
