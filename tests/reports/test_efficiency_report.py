"""Token efficiency as people read it, and as a picture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.analysis.efficiency import Efficiency, measure_efficiency
from evalkit.errors import UsageError
from reports.efficiency_report import efficiency_report, tokens_text, write_efficiency_pictures
from reports.markdown import render
from tests.evalkit.analysis.test_efficiency import curve
from tests.reports.hostile_text import HOSTILE_TEXTS
from tests.reports.test_markdown import PARSER, blocks


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


def test_the_published_figures_stand_beside_it(measured: Efficiency) -> None:
    text = render(efficiency_report(measured))
    for figure in ("49 %", "35 %", "83.7 and 94.9"):
        assert figure in text


def test_pictures_are_the_same_bytes_each_time(measured: Efficiency, tmp_path: Path) -> None:
    first = write_efficiency_pictures(measured, tmp_path / "one")
    second = write_efficiency_pictures(measured, tmp_path / "two")
    assert [file.name for file in first] == ["efficiency.png", "efficiency.svg"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    svg = first[1].read_text()
    assert "training tokens" in svg
    assert "hybrid, shared fit" in svg
    assert "fewer" in svg
    assert first[0].read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_what_was_extrapolated_says_so(extrapolated: Efficiency, tmp_path: Path) -> None:
    assert "(extrapolated)" in write_efficiency_pictures(extrapolated, tmp_path)[1].read_text()


def test_a_folder_that_cannot_be_written_is_named(measured: Efficiency, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"pictures cannot be written to .*file"):
        write_efficiency_pictures(measured, tmp_path / "file")


@pytest.mark.parametrize("text", [text for text in HOSTILE_TEXTS if text.strip()])
def test_hostile_names_stay_text(measured: Efficiency, text: str, tmp_path: Path) -> None:
    def spoiled(text: str) -> Efficiency:
        points = tuple(replace(point, run_id=text) for point in measured.hybrid)
        return replace(measured, metric=text, hybrid=points, notes=(text,))

    tokens = PARSER.parse(render(efficiency_report(spoiled(text))))
    assert blocks(tokens) == blocks(PARSER.parse(render(efficiency_report(spoiled("harmless")))))


def test_a_picture_of_hostile_names_is_drawn(measured: Efficiency, tmp_path: Path) -> None:
    hostile = "$\\frac{1}{0}$ \x1b[31m <script> \udcff _"
    svg = write_efficiency_pictures(replace(measured, metric=hostile), tmp_path)[1].read_text()
    assert "<script>" not in svg


def test_tokens_as_people_write_them() -> None:
    shown = [tokens_text(value) for value in (None, 12.0, 1.5e6, 145e6, 5.93e12, 1e15)]
    assert shown == ["-", "12", "1.5M", "145M", "5.93T", "1,000T"]
