"""From windows to the loss of a text, whole and split into copied tokens and the rest."""

import math
from collections.abc import Mapping, Sequence

from evalkit.records import Figure, ResultRow, SampleRecord, SuiteSummary
from evalkit.statistics.intervals import bootstrap_ratio_ci
from suites.text_loss.settings import TextLossSettings

TASK = "text"
BITS_PER_BYTE = "bits_per_byte"


def bits_per_byte(measures: Mapping[str, float]) -> float:
    """From the sums of one window, which has scored at least one byte."""
    return measures["nats"] / math.log(2) / measures["bytes"]


def summarize(settings: TextLossSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """Bits per byte as the row; nats per token of all tokens, of copies and of the rest as figures.

    Intervals resample windows; those of one text are not independent, so the intervals are a little too narrow.
    """
    scored = [_with_rest(record.measures) for record in records if record.score is not None]
    total = {name: math.fsum(measures[name] for measures in scored) for name in ("tokens", "bytes", "copy_tokens")}
    bits = _ratio(settings, "bits_per_byte", "bits per byte", scored, ("nats", "bytes"), scale=1 / math.log(2))
    row = ResultRow(
        task=TASK,
        ctx=settings.ctxs[0],
        metric=BITS_PER_BYTE,
        value=bits.value,
        n=len(scored),
        ci95=bits.ci95,
        errors=sum(record.error is not None for record in records),
        unscored=sum(record.unscored is not None for record in records),
    )
    return SuiteSummary(
        results=(row,),
        summary=(),
        effective_length=None,
        derived={
            "scored_tokens": total["tokens"],
            "scored_bytes": total["bytes"],
            "copy_share": total["copy_tokens"] / total["tokens"] if total["tokens"] else None,
        },
        figures=tuple(
            _ratio(settings, name, "nats per token", scored, (f"{prefix}nats", f"{prefix}tokens"))
            for name, prefix in (
                ("nats_per_token", ""),
                ("nats_per_token/copy", "copy_"),
                ("nats_per_token/rest", "rest_"),
            )
        ),
    )


def _with_rest(measures: Mapping[str, float]) -> dict[str, float]:
    rest = {f"rest_{name}": measures[name] - measures[f"copy_{name}"] for name in ("nats", "tokens")}
    return {**measures, **rest}


def _ratio(
    settings: TextLossSettings,
    name: str,
    unit: str,
    scored: Sequence[Mapping[str, float]],
    sums: tuple[str, str],
    *,
    scale: float = 1.0,
) -> Figure:
    numerators = [scale * measures[sums[0]] for measures in scored]
    denominators = [measures[sums[1]] for measures in scored]
    total = math.fsum(denominators)
    return Figure(
        name=name,
        value=math.fsum(numerators) / total if total else None,
        unit=unit,
        ci95=bootstrap_ratio_ci(numerators, denominators, seed=settings.seed),
        n=len(scored),
    )
