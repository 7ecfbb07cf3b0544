"""Targets of a policy's selectors: rows, means, figures, times and memory of two sets of runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from evalkit.analysis.finished_run import StoredRun
from evalkit.analysis.policy import Check
from evalkit.analysis.selectors import COSTS, Selector, spelled
from evalkit.did_you_mean import did_you_mean
from evalkit.errors import UsageError
from evalkit.records import EFFECTIVE_LENGTH, Figure, RunRecord
from evalkit.records.metrics import metric_of

Role = Literal["row", "mean", "figure", "cost"]
_OTHER_NAMES = {f"{EFFECTIVE_LENGTH}/fixed": EFFECTIVE_LENGTH}
"""Former names of figures that selectors may still use, with their present names."""


@dataclass(frozen=True, slots=True)
class Target:
    """One value that a check judges."""

    role: Role
    suite: str
    name: str
    """A task, the path of a figure, or a cost; empty for the mean."""
    ctx: int | None
    """None for the whole run."""

    @property
    def label(self) -> str:
        """As a selector would have it."""
        return spelled(self.suite, self.name, self.ctx)

    def figure(self, record: RunRecord) -> Figure | None:
        """The figure of `record` that is meant; None if it has none."""
        return next((figure for figure in record.figures if (figure.path, figure.at) == (self.name, self.ctx)), None)


def select(check: Check, base: Mapping[str, StoredRun], new: Mapping[str, StoredRun]) -> list[Target]:
    """The targets of a check in the order of the tables; `base` and `new` are runs by suite.

    Raises UsageError with a suggestion if the selector selects nothing that either side has, or things that are
    measured in several units.
    """
    targets = list(_targets(base, new))
    if check.kind == "min":
        # A cell that could not be run has no row, and a floor on it fails.
        targets += [Target("row", suite, cell.task, cell.ctx) for suite in new for cell in new[suite].record.unscored]
    chosen = choose(check.selector, list(dict.fromkeys(targets)))
    _refuse_mixed_units(check, chosen, [side[suite].record for side in (base, new) for suite in side])
    return chosen


def choose(selector: Selector, targets: Sequence[Target]) -> list[Target]:
    """Those of `targets` that the selector selects; UsageError with a suggestion if there is none."""
    # Without a filter, `pass@1` reads like a length.
    if exact := [target for target in targets if target.role == "figure" and target.label == selector.text]:
        return exact
    if selector.name in COSTS:
        chosen = [target for target in targets if target.name == selector.name and target.role == "cost"]
    else:
        chosen = [target for target in targets if target.suite == selector.name and _named(target, selector, targets)]
    chosen = _at(chosen, selector)
    if not chosen:
        raise UsageError(f"rule {selector.text!r} selects nothing{_hint(selector, targets)}")
    return chosen


def _refuse_mixed_units(check: Check, chosen: Sequence[Target], records: Sequence[RunRecord]) -> None:
    """One number cannot be a limit in points and in bits per byte."""
    first: dict[str, Target] = {}
    rows = {target for target in chosen if target.role == "row"}
    for record in records:
        for row in record.results:
            target = Target("row", record.suite, *row.cell)
            if target in rows and row.value is not None:
                first.setdefault(metric_of(row.metric).unit, target)
    if len(first) > 1:
        shown = " and ".join(f"{target.label} in {unit}" for unit, target in first.items())
        raise UsageError(
            f"rule {check.selector.text!r} selects {shown}, and {check.kind}: {check.limit:g} cannot be a limit in "
            "both; write one rule for each"
        )


def _named(target: Target, selector: Selector, targets: Sequence[Target]) -> bool:
    if selector.task is not None:
        # A glob matches tasks: ruler/* does not mean prefill_seconds.
        by_glob = target.role == "row" and fnmatchcase(target.name, selector.task)
        return by_glob or target.name == _OTHER_NAMES.get(selector.task, selector.task)
    if any(other.role == "mean" and other.suite == target.suite for other in targets):
        return target.role == "mean"
    # For a suite without a mean, such as the loss of one text, its rows are selected.
    return target.role == "row"


def _at(targets: Sequence[Target], selector: Selector) -> list[Target]:
    """Those at the selector's length; without one, figures and costs of the whole run and all rows and means."""
    if selector.ctx is None:
        return [target for target in targets if target.role in ("row", "mean") or target.ctx is None]
    return [target for target in targets if target.ctx == selector.ctx]


def _targets(base: Mapping[str, StoredRun], new: Mapping[str, StoredRun]) -> Iterator[Target]:
    for suite in dict.fromkeys((*base, *new)):
        records = [side[suite].record for side in (base, new) if suite in side]
        for record in records:
            yield from _rows(suite, record)
        for record in records:
            yield from (Target("figure", suite, figure.path, figure.at) for figure in record.figures)
        ctxs = sorted({row.ctx for record in records for row in record.results})
        for name in COSTS:
            yield Target("cost", suite, name, None)
            yield from (Target("cost", suite, name, ctx) for ctx in ctxs if name != "peak_memory")


def _rows(suite: str, record: RunRecord) -> Iterator[Target]:
    yield from (Target("row", suite, *row.cell) for row in record.results)
    yield from (Target("mean", suite, "", row.ctx) for row in record.summary)


def _hint(selector: Selector, targets: Sequence[Target]) -> str:
    suites = list(dict.fromkeys(target.suite for target in targets))
    if selector.name not in (*suites, *COSTS):
        return did_you_mean(selector.name, (*suites, *COSTS))
    of_suite = [target for target in targets if selector.name in (target.suite, target.name)]
    here = [target for target in of_suite if selector.task is None or fnmatchcase(target.name, selector.task)]
    if here:
        lengths = sorted({target.ctx for target in here if target.ctx})
        return f": there is no length {selector.ctx}; known: {', '.join(map(str, lengths))}"
    return did_you_mean(selector.task or "", {target.name for target in of_suite if target.name})
