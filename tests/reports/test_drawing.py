"""Charts as SVG and PNG: well-formed, accessible, the same bytes each time, and of hostile text only text."""

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from reports.axes import TICKS, Scale, short_number, tick_label
from reports.chart_files import write_charts
from reports.charts import Bars, Chart, HeatMap, Lines, Series
from reports.drawing import BLUE, PALETTE, VERMILION, draw
from tests.reports.hostile_text import HOSTILE_TEXTS


def heat_map(text: str = "map", *, is_difference: bool = True) -> HeatMap:
    values = ((1.0, None), (-4.0, 0.0))
    links = (("task=a", "task=b"), ("task=c", "task=d"))
    rows = (text, f"{text} 2")
    return HeatMap("map", text, text, text, ("4,096", text), rows, values, ((1, 0), (2, 3)), is_difference, links)


def lines(text: str = "lines", number: int = 2, *, log_x: bool = True) -> Lines:
    series = tuple(Series(f"{text} {n}", (4096, 65536), (90, 60 - n), (80, 50), (95, 70)) for n in range(number))
    return Lines("lines", text, text, text, series, log_x=log_x, y_range=(0, 100))


def bars(text: str = "bars") -> Bars:
    return Bars("bars", text, text, (text, "other"), ((text, (3.0, 0.0)), (f"{text} 2", (1.0, 2.0))))


def charts(text: str = "text") -> list[Chart]:
    return [heat_map(text), lines(text), bars(text)]


def tooltips(chart: Chart) -> list[str]:
    return [title.text or "" for title in draw(chart, "chart").iter("title")][1:]


def parsed(chart: Chart) -> Element:
    """The chart as parsed by an XML parser, without the namespace."""
    svg = fromstring(tostring(draw(chart, "chart"), "unicode"))
    for element in svg.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return svg


def test_an_outline_in_a_png_has_all_of_its_sides(tmp_path: Path) -> None:
    """Of a significant cell the left side is drawn like the others."""
    from matplotlib.image import imread

    chart = HeatMap("map", "", "", "", ("a", "b"), ("c", "d"), ((0.0, 0.0),) * 2, ((1, 1),) * 2, False)
    drawn = []
    for marks in (((True, False), (False, False)), ((False, False), (True, False))):
        write_charts([replace(chart, marks=marks)], tmp_path)
        drawn.append(imread(tmp_path / "map.png")[..., :3])
    rows, columns = (drawn[0] != drawn[1]).any(axis=2).nonzero()
    changed = columns[rows == rows.min() + 20]
    assert (changed.min(), changed.max()) == (columns.min(), columns.max())


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_text_stays_text(text: str) -> None:
    for chart, harmless in zip(charts(text + "\uffff"), charts(), strict=True):
        assert {element.tag for element in parsed(chart).iter()} == {element.tag for element in parsed(harmless).iter()}


def test_a_chart_is_an_image_with_title_and_description() -> None:
    for chart in charts():
        svg = parsed(chart)
        named = {element.get("id"): element.text for element in svg.iter() if element.get("id")}
        assert named[svg.get("aria-labelledby")] == "text"
        assert named[svg.get("aria-describedby")] == "; ".join(tooltips(chart))
        assert svg.get("role") == ("group" if isinstance(chart, HeatMap) else "img"), "only heat maps have links"


def test_marks_have_their_values_as_tooltips() -> None:
    assert tooltips(heat_map())[:2] == ["map, 4,096: 1.0 (1 sample)", "map 2, 4,096: -4.0 (2 samples)"]
    assert tooltips(lines())[0] == "lines 0, 4,096: 90 [80, 95]"
    assert tooltips(bars())[:2] == ["bars, bars: 3", "bars 2, bars: 1"]


def test_a_heat_map_leaves_blanks_and_colours_by_sign_and_size() -> None:
    svg = draw(heat_map(), "chart")
    cells = [(link.get("href"), link[0].get("fill"), link[0].get("opacity")) for link in svg.iter("a")]
    assert cells == [("#task=a", BLUE, "0.2"), ("#task=c", VERMILION, "0.65"), ("#task=d", BLUE, "0.05")]
    assert [text.text for text in svg.iter("text") if text.text in ("+1", "–", "-4", "+0")] == ["+1", "–", "-4", "+0"]
    scores = draw(heat_map(is_difference=False), "chart")
    assert next(scores.iter("path")).get("opacity") == "0.06", "1 of 100"


def test_values_are_placed_by_their_scale() -> None:
    first, second = (
        (float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in draw(lines(number=1), "c").iter("circle")
    )
    assert first[0] < second[0]
    assert first[1] < second[1], "a larger value is higher up"
    scale = Scale(1.0, 100.0, 0.0, 200.0, log=True)
    assert scale(10.0) == pytest.approx(100.0)
    assert Scale.over([5.0], 0.0, 10.0)(5.0) == 5.0
    assert Scale.over([5.0], 0.0, 10.0, log=True)(5.0) == pytest.approx(5.0)


def test_series_differ_in_more_than_colour() -> None:
    svg = draw(lines(number=2 * len(PALETTE)), "chart")
    marks = [mark for mark in svg.iter() if mark.find("title") is not None and mark is not svg]
    looks = {(mark.tag, len(mark.get("d", "").split()), mark.get("fill")) for mark in marks}
    assert len(looks) == 2 * len(PALETTE)
    assert any(path.get("stroke-dasharray") for path in svg.iter("path"))


@pytest.mark.parametrize(("number", "bands", "whiskers"), [(2, 2, 0), (4, 0, 8)])
def test_few_series_have_bands_and_many_have_whiskers(number: int, bands: int, whiskers: int) -> None:
    looks = [(path.get("fill"), path.get("opacity")) for path in draw(lines(number=number), "chart").iter("path")]
    assert sum(fill in PALETTE and opacity == "0.15" for fill, opacity in looks) == bands
    assert sum(fill == "none" and opacity == "0.6" for fill, opacity in looks) == whiskers


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e9))
def test_ticks_are_few_and_on_the_scale(low: float, width: float) -> None:
    scale = Scale.over((low, low + width), 0.0, 100.0)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= TICKS + 1
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)


def test_ticks_and_numbers_as_people_write_them() -> None:
    assert Scale(0, 100, 0, 1).ticks() == [0, 20, 40, 60, 80, 100]
    assert [tick_label(tick) for tick in Scale(0.1, 0.72, 0, 1).ticks()] == ["0.2", "0.4", "0.6"]
    assert Scale(4e6, 3e8, 0, 1, log=True).ticks() == [5e6, 1e7, 2e7, 5e7, 1e8, 2e8]
    assert [tick_label(value) for value in (65536, 2.5, 1.2e6)] == ["65,536", "2.5", "1.2M"]
    assert [short_number(value) for value in (12.0, 145e6, 1e15)] == ["12", "145M", "1,000T"]


def test_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    hostile = "<script>$\\frac{1}{0}$ \x1b[31m \u202e _ 漢"
    first = write_charts(charts(hostile), tmp_path / "one", "ruler_")
    second = write_charts(charts(hostile), tmp_path / "two", "ruler_")
    assert [file.name for file in first[:2]] == ["ruler_map.png", "ruler_map.svg"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    for png, text in zip(first[::2], first[1::2], strict=True):
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "<script>" not in text.read_text()
        assert "<a " not in text.read_text()
        assert len(text.read_bytes()) < 6_000


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"charts cannot be written to .*file"):
        write_charts([bars()], tmp_path / "file")
