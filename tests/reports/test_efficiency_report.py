"""Reports of token efficiency, and the chart."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from evalkit.analysis.efficiency import Efficiency, measure_efficiency
from reports.efficiency_report import efficiency_chart, efficiency_report, headline, tokens_text
from reports.markdown import render
from tests.evalkit.learning_curves import curve
from tests.reports.hostile_text import VISIBLE_TEXTS
from tests.reports.parsed import check_markdown


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Efficiency:
    folder = tmp_path_factory.mktemp("runs")
    return measure_efficiency(curve(folder, "hybrid", 2.0, 4), curve(folder, "base", 1.0, 4), "ruler@4096")


@pytest.fixture(scope="module")
def extrapolated(tmp_path_factory: pytest.TempPathFactory) -> Efficiency:
    folder = tmp_path_factory.mktemp("runs")
    slow, fast = curve(folder, "hybrid", 0.5, 4), curve(folder, "base", 1.0, 4)
    return measure_efficiency(slow, fast, "ruler@4096", extrapolate=True)


def test_markdown(measured: Efficiency, check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/efficiency.md", render(efficiency_report(measured)))


def test_extrapolated_figures_are_marked(extrapolated: Efficiency, check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/efficiency_extrapolated.md", render(efficiency_report(extrapolated)))


def test_the_published_figures_are_shown_with_it(measured: Efficiency) -> None:
    text = render(efficiency_report(measured))
    for figure in ("49 %", "35 %", "83.7 and 94.9"):
        assert figure in text


def test_the_chart_has_points_curves_and_fits(measured: Efficiency) -> None:
    chart = efficiency_chart(measured)
    assert [(series.name, series.style, series.colour) for series in chart.series[:4]] == [
        ("hybrid", "points", 0),
        ("", "solid", 0),
        ("baseline", "points", 1),
        ("", "solid", 1),
    ]
    assert {series.name for series in chart.series} >= {"hybrid, shared fit", "baseline, own fit"}
    assert chart.title.endswith("with 50.0% fewer tokens [0.0%, 75.0%]")


def test_a_chart_of_what_was_extrapolated_says_so(extrapolated: Efficiency) -> None:
    assert "(EXTRAPOLATED)" in efficiency_chart(extrapolated).title


@pytest.mark.parametrize(
    ("saving", "ci95", "shown"),
    [
        (0.25, (None, 0.5), "25.0% fewer tokens [beyond the data, 50.0%]"),
        (-0.5, (-1.0, 0.25), "50.0% more tokens [-25.0%, 100.0%]"),
        (-0.5, (None, 0.0), "50.0% more tokens [0.0%, beyond the data]"),
    ],
)
def test_the_interval_beside_more_tokens_is_of_more_tokens(
    measured: Efficiency, saving: float, ci95: tuple[float | None, float | None], shown: str
) -> None:
    final = replace(measured.savings[-1], saving=saving, ci95=ci95)
    assert headline(replace(measured, savings=(*measured.savings[:-1], final))).endswith(f"with {shown}")


@pytest.mark.parametrize("text", VISIBLE_TEXTS)
def test_hostile_names_stay_text(measured: Efficiency, text: str) -> None:
    def spoiled(text: str) -> str:
        points = tuple(replace(point, run_id=text) for point in measured.hybrid)
        return render(efficiency_report(replace(measured, metric=text, hybrid=points, notes=(text,))))

    check_markdown(spoiled, text)


def test_tokens_as_people_write_them() -> None:
    shown = [tokens_text(value) for value in (None, 12.0, 1.5e6, 145e6, 5.93e12, 1e15)]
    assert shown == ["-", "12", "1.5M", "145M", "5.93T", "1,000T"]
