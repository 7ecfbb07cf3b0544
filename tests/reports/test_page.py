"""The page as a document: self-contained, with nothing in it that came from outside but text."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.charts import HeatMap, Lines, Series
from reports.page import Page, embedded_json, render_page
from reports.plotly_charts import plotly_figure
from tests.reports.hostile_text import HOSTILE_TEXTS
from tests.reports.page_factory import comparison_page, run_page, spoiled
from tests.reports.test_leaderboard_report import Tags

SCRIPTS = re.compile(r"<script>(.*?)</script>", re.DOTALL)
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return comparison_page(tmp_path_factory.mktemp("runs"))


def data_of(document: str) -> Any:
    found = DATA.search(document)
    assert found is not None
    return json.loads(found[1])


def test_a_page_is_one_file_that_loads_nothing(page: Page, tmp_path: Path) -> None:
    for document in (render_page(page), render_page(run_page(tmp_path))):
        outside_scripts = SCRIPTS.sub("", document)
        assert not re.search(r"\s(src|href|action)=", outside_scripts)
        assert "http" not in re.sub(r'http-equiv="', "", outside_scripts)
        assert document.count("<script>") == 2


def test_only_the_packages_scripts_may_run(page: Page) -> None:
    document = render_page(spoiled(page, "<script>alert(1)</script>"))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', document)
    assert policy is not None
    hashes = re.findall(r"'(sha256-[^']+)'", policy[1])
    scripts = SCRIPTS.findall(document)
    assert hashes == [f"sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}" for s in scripts]
    assert "unsafe-inline" not in policy[1].partition("script-src")[2]
    for part in ("default-src 'none'", "form-action 'none'", "base-uri 'none'"):
        assert part in policy[1]


def test_the_data_block_holds_charts_and_samples(page: Page) -> None:
    data = data_of(render_page(page))
    assert len(data["charts"]) == len(page.charts)
    assert {trace["type"] for chart in data["charts"] for trace in chart["data"]} == {"scatter", "heatmap", "bar"}
    assert len(data["samples"]) == 240
    assert (data["tasks"], data["lengths"]) == (["vt", "cwe"], [4096, 65536])
    flipped = [sample for sample in data["samples"] if sample["flipped"]]
    assert len(flipped) == 120
    assert sum(bool(sample["pieces"]) for sample in data["samples"]) == 5


@pytest.mark.parametrize("text", [text for text in HOSTILE_TEXTS if text.strip()])
def test_hostile_text_adds_no_element(page: Page, text: str) -> None:
    document = Tags(SCRIPTS.sub("", render_page(spoiled(page, text))))
    assert document.tags == Tags(SCRIPTS.sub("", render_page(spoiled(page, "harmless")))).tags


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_embedded_json_is_json_without_markup(value: Any) -> None:
    text = str(embedded_json(value))
    assert json.loads(text) == value
    assert text.isascii()
    assert not set("<>&") & set(text)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["</script>", "<!--", "]]>", "\u2028", "\u2029", "&lt;", "<b>", "\x00"]), st.text(max_size=5))
def test_text_comes_back_from_the_data_as_text(page: Page, text: str, around: str) -> None:
    hostile = around.replace("\ud800", "") + text
    document = render_page(Page(page.report, (), spoiled(page, hostile).samples[:1], hostile))
    data = data_of(document)
    assert "<" not in DATA.search(document)[1]  # type: ignore[index]  # found above
    if hostile.isprintable():
        assert data["samples"][0]["new"]["prediction"] == hostile


def test_plotly_reads_no_tags_in_names() -> None:
    hostile = '<a href="javascript:alert(1)">x</a>'
    heat = HeatMap("n", hostile, hostile, hostile, (hostile,), (hostile,), ((1.0,),), ((1,),), is_difference=False)
    series = Series(hostile, (1.0,), (2.0,), (1.5,), (2.5,))
    lines = Lines("n", hostile, hostile, hostile, (series,), log_x=True, y_range=None)
    for figure in (plotly_figure(heat), plotly_figure(lines)):
        assert "<a" not in json.dumps(figure).replace("<extra>", "")
        assert figure["layout"]["title"]["text"].startswith("&lt;a href")


def test_heat_maps_leave_blanks_and_colour_differences_from_zero() -> None:
    values = ((1.0, None), (-4.0, 2.0))
    grid = HeatMap("n", "t", "x", "y", ("a", "b"), ("c", "d"), values, ((1, 0), (2, 3)), is_difference=True)
    (trace,) = plotly_figure(grid)["data"]
    assert (trace["zmin"], trace["zmax"]) == (-4.0, 4.0)
    assert trace["z"] == [[1.0, None], [-4.0, 2.0]]
    assert trace["text"] == [["+1", ""], ["-4", "+2"]]
