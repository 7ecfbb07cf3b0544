"""The report of a preflight, check by check."""

from collections.abc import Sequence

from evalkit.records import ModelIdentity, PreflightCheck
from reports.report import Report, Table

OUTCOMES = {"pass": "pass", "note": "note", "stop": "STOP"}


def preflight_report(model: ModelIdentity, ctx: int, checks: Sequence[PreflightCheck]) -> Report:
    """A table of all checks, with a failed one as the notice above it."""
    stopped = [check for check in checks if check.outcome == "stop"]
    notices = tuple(f"STOP: {check.name}: {check.statement}" for check in stopped)
    rows = tuple(
        (
            check.name,
            OUTCOMES[check.outcome],
            check.statement,
            "" if check.logit_gap is None else f"{check.logit_gap:.1e}",
        )
        for check in checks
    )
    verdict = "do not run this" if stopped else "ready to run"
    return Report(
        headline=f"preflight · {model.path} · {ctx:,} tokens in {model.dtype}: {verdict}",
        notices=notices,
        tables=(Table("Checks", ("check", "outcome", "found", "largest logit gap"), rows),),
        facts=(),
    )


def preflight_fact(checks: Sequence[PreflightCheck]) -> tuple[str, str]:
    """One line for the report of a run."""
    if not checks:
        return "preflight", "not run"
    passed = f"{sum(check.outcome != 'stop' for check in checks)} of {len(checks)} checks passed"
    made_at = min((check.made_at for check in checks if check.made_at is not None), default=None)
    earlier = "" if made_at is None else f", on {made_at[:10]} with the same weights, code, libraries and kind of GPU"
    return "preflight", passed + earlier
