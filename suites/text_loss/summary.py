"""The loss of a text, in total and split into copied tokens and the rest, computed from its windows."""

import math
from collections.abc import Mapping, Sequence

from evalkit.records import Figure, SampleRecord, SuiteSummary
from evalkit.statistics.rows import loss_figure, result_row, row_warnings
from suites.text_loss.settings import TextLossSettings

TASK = "text"
BITS_PER_BYTE = "bits_per_byte"


def bits_per_byte(measures: Mapping[str, float]) -> float:
    """Bits per byte from the sums of one window with at least one scored byte."""
    return measures["nats"] / math.log(2) / measures["bytes"]


def summarize(settings: TextLossSettings, records: Sequence[SampleRecord]) -> SuiteSummary:
    """Bits per byte as the row; nats per token of all tokens, of copies and of the rest as figures.

    Intervals are over windows, which are not independent within one text, so they are slightly too narrow.
    """
    scored = [_with_rest(record.measures) for record in records if record.score is not None]
    total = {name: math.fsum(measures[name] for measures in scored) for name in ("tokens", "bytes", "copy_tokens")}
    rows = (result_row(TASK, settings.ctxs[0], records, metric=BITS_PER_BYTE),)
    copied = total["copy_tokens"] / total["tokens"] if total["tokens"] else None
    return SuiteSummary(
        results=rows,
        figures=(
            *(
                loss_figure(
                    "nats_per_token",
                    "nats per token",
                    [measures[f"{prefix}nats"] for measures in scored],
                    [measures[f"{prefix}tokens"] for measures in scored],
                    part=part,
                )
                for part, prefix in (("", ""), ("copy", "copy_"), ("rest", "rest_"))
            ),
            Figure("scored_tokens", total["tokens"], "tokens", n=len(scored)),
            Figure("scored_bytes", total["bytes"], "bytes", n=len(scored)),
            Figure("copy_share", copied, "share", n=len(scored)),
        ),
        warnings=row_warnings(rows),
    )


def _with_rest(measures: Mapping[str, float]) -> dict[str, float]:
    rest = {f"rest_{name}": measures[name] - measures[f"copy_{name}"] for name in ("nats", "tokens")}
    return {**measures, **rest}
