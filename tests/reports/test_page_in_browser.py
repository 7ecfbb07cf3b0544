"""The page in headless Chromium: no console error, charts drawn, filters that filter, and hostile text as text."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.page import Page, RunSamples, render_page
from reports.report import Report, Table
from reports.run_charts import within_suite
from tests.evalkit.run_factory import changed
from tests.reports.page_factory import SPEC, comparison_page, run_page, spoiled

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="needs /usr/bin/chromium and /usr/bin/chromedriver"
)
# Each of these would leave a trace if it became script or markup.
HOSTILE = (
    "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    "<svg onload=window.pwned=1> &lt;b&gt; \u2028 {{7*7}} ${7*7} %{x} javascript:window.pwned=1 ]]> <!--"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1300,2400",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Callable[[Page], Any]:
    """Open a page from disk, wait for its samples, and fail on any message in the console."""

    def open_page(page: Page) -> Any:
        path = tmp_path / "page.html"
        path.write_text(render_page(page), encoding="utf-8")
        browser.get(path.as_uri())
        until(lambda: count(browser) != "")
        assert len(find(browser, "figure svg")) == len(page.charts)
        assert browser.get_log("browser") == []
        return browser

    return open_page


def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not come to that"
        time.sleep(0.05)


def find(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def one(browser: Any, selector: str) -> Any:
    (element,) = find(browser, selector)
    return element


def choose(browser: Any, name: str, value: str) -> None:
    one(browser, f"#{name} option[value='{value}']").click()


def count(browser: Any) -> str:
    return str(one(browser, "#count").text)


def opened(browser: Any) -> list[str]:
    return [str(details.get_attribute("data-sample")) for details in find(browser, "#samples details[open]")]


def test_filters_filter_and_are_in_the_address(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(comparison_page(tmp_path))
    assert count(browser) == "240 of 240 samples"
    assert len(find(browser, "#samples details")) == 50
    one(browser, "#more").click()
    assert len(find(browser, "#samples details")) == 100
    for name, value, left in (
        ("task", "vt", 120),
        ("length", "4096", 60),
        ("depth", "0.5-0.6", 60),
        ("failure", "wrong_needle", 45),
        ("show", "failed", 30),
        ("show", "better", 15),
        ("show", "worse", 15),
    ):
        choose(browser, name, value)
        assert count(browser) == f"{left} of 240 samples"
    one(browser, "#search").send_keys("vt/4096/2/42")
    assert count(browser) == "1 of 240 samples"
    assert not one(browser, "#more").is_displayed()
    one(browser, "#samples summary").click()
    until(lambda: "sample=" in browser.current_url)
    browser.refresh()
    until(lambda: opened(browser) == ["vt/4096/2/42"])
    assert count(browser) == "1 of 240 samples"
    shown = one(browser, "#samples details").text
    for part in (
        "worse",
        "base 1.00",
        "new 0.00, wrong needle",
        "prompt of vt/4096/2/42",
        "evalkit show new --sample vt/4096/2/42 --format json",
    ):
        assert part in shown
    assert [mark.text for mark in find(browser, "#samples mark")] == ["vt/4096/2/42"]
    one(browser, "#reset").click()
    assert count(browser) == "240 of 240 samples"
    assert opened(browser) == []


def test_the_worst_cell_leads_to_its_failing_samples_in_one_click(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(comparison_page(tmp_path))
    one(browser, "figure a[href='#task=vt&length=65536']").click()
    until(lambda: count(browser) == "60 of 240 samples")
    first = opened(browser)
    assert len(first) == 1
    assert first[0].startswith("vt/65536/")
    assert "worse" in one(browser, "#samples details[open] summary").text
    find(browser, "#samples .steps button")[1].click()
    until(lambda: len(opened(browser)) == 1 and opened(browser) != first)
    second = opened(browser)
    # Of the keyboard, n and p are the same as the buttons.
    browser.switch_to.active_element.send_keys("p")
    until(lambda: opened(browser) == first)
    browser.switch_to.active_element.send_keys("n")
    until(lambda: opened(browser) == second)
    assert browser.switch_to.active_element.tag_name == "summary"
    browser.back()
    until(lambda: count(browser) == "240 of 240 samples")


def test_a_link_to_a_sample_names_its_suite_on_a_page_of_several(show: Callable[[Page], Any], tmp_path: Path) -> None:
    page = run_page(tmp_path)
    views, charts = page.samples[0].views, [within_suite(chart, "extend") for chart in page.charts]
    both = [RunSamples("base", views, suite="ruler"), RunSamples("other", views[:9], suite="extend")]
    browser = show(replace(page, charts=charts, samples=both))
    one(browser, "figure a[href='#suite=extend&task=vt&length=65536']").click()
    until(lambda: count(browser).endswith(" of 249 samples") and opened(browser) != [])
    assert one(browser, "#suite").get_attribute("value") == "extend"
    (name,) = opened(browser)
    assert name == f"extend:{views[0].id}"
    address = find(browser, "#samples .steps a")[0].get_attribute("href")
    browser.get("about:blank")
    browser.get(address)
    until(lambda: opened(browser) == [name])
    assert "evalkit show other --sample" in one(browser, "#samples details[open]").text
    assert count(browser) == "249 of 249 samples"


def test_a_run_opens_without_what_only_a_comparison_has(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(run_page(tmp_path))
    assert find(browser, "#show option[value='worse']") == []
    choose(browser, "show", "failed")
    assert count(browser) == "120 of 240 samples"
    find(browser, "nav a")[1].click()
    assert count(browser) == "120 of 240 samples", "a link within the page leaves the filters alone"


def test_evidence_alone_is_marked(show: Callable[[Page], Any], tmp_path: Path) -> None:
    page = run_page(tmp_path)
    view = page.samples[0].views[0]
    (answer,) = view.answers
    assert answer is not None
    answers = (replace(answer, prediction="a harder (word), swords and Word"),)
    shown = replace(view, targets=("d", "(word)", "word"), answers=answers, pieces=())
    browser = show(replace(page, samples=[RunSamples("base", [shown])]))
    one(browser, "#samples summary").click()
    until(lambda: [mark.text for mark in find(browser, "#samples mark")] == ["(word)", "Word"])


def test_a_thought_is_folded_and_is_text(show: Callable[[Page], Any], tmp_path: Path) -> None:
    page = run_page(tmp_path)
    view = page.samples[0].views[0]
    (answer,) = view.answers
    assert answer is not None
    thoughtful = replace(answer, thought="I <b>see</b> it.", thought_note="9 tokens, closed by force")
    browser = show(replace(page, samples=[RunSamples("base", [replace(view, answers=(thoughtful,))])]))
    one(browser, "#samples > details > summary").click()
    until(lambda: len(find(browser, "#samples details details")) == 1)
    folded = one(browser, "#samples details details")
    assert folded.text == "thought (9 tokens, closed by force)"
    folded.find_element("css selector", "summary").click()
    until(lambda: "I <b>see</b> it." in folded.text)
    assert opened(browser) == [view.id, "None"]
    assert find(browser, "#samples b") == []


@pytest.mark.parametrize(("width", "dark"), [(420, True), (1400, False)])
def test_pages_fit_and_have_no_fault_that_axe_finds(
    show: Callable[[Page], Any], tmp_path: Path, width: int, dark: bool
) -> None:
    """Names, roles, contrast and structure by axe-core's rules; nothing is wider than the window."""
    from axe_core_python.selenium import Axe

    third = changed(SPEC, SPEC.scores, model="./third", weights="third")
    browser = show(comparison_page(tmp_path, third))
    size = {"width": width, "height": 2400, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    try:
        find(browser, "#samples summary")[0].click()
        for details in find(browser, "details.table"):
            browser.execute_script("arguments[0].open = true", details)
        until(lambda: len(opened(browser)) == 1)
        found = Axe().run(browser)["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_print_shows_what_is_folded_and_not_what_is_clicked(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(comparison_page(tmp_path))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not one(browser, "#browser").is_displayed()
        folded = find(browser, "details.table")[0]
        assert folded.get_attribute("open") is None
        table = folded.find_element("css selector", "table")
        # Selenium itself takes everything in a closed element to be hidden.
        assert browser.execute_script("return arguments[0].checkVisibility()", table)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_tables_and_charts_are_read_without_script(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(render_page(comparison_page(tmp_path)), encoding="utf-8")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(path.as_uri())
        assert one(browser, ".verdict").text == "new shows no significant difference at 4,096 and 65,536."
        assert len(find(browser, "figure svg")) == 5
        assert one(browser, "#table-1").is_displayed()
        details = find(browser, "details.table")
        details[0].find_element("css selector", "summary").click()
        assert details[0].find_element("css selector", "table").is_displayed()
        assert "shown by a script" in one(browser, "noscript").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


SORTED = Table(
    "A table",
    ("task", "score", "95 % interval", "tokens", "effective length"),
    (
        ("vt_10", "9.5 [1.0, 20.0]", "[10.0, 20.0]", "1.2B", "8,192"),
        ("vt_2", "10.5 (2 errored)", "[0.0, 100.0]", "≤ 56.7M", "below the shortest length"),
        ("cwe", "-", "[1,000.0, 1,001.0]", "4.3K", "65,536"),
        ("", "below 4,096", "-", "113M", "below the shortest length"),
        ("fwe", "-3.0", "[-5.0, 1.0]", "at least 113M", "-"),
    ),
)


def column(browser: Any, table: str, place: int) -> list[str]:
    return [cell.text for cell in find(browser, f"{table} tbody tr > :nth-child({place})")]


@pytest.mark.parametrize(
    ("place", "rising"),
    [
        (1, ["cwe", "fwe", "vt_2", "vt_10", ""]),
        (2, ["below 4,096", "-3.0", "9.5 [1.0, 20.0]", "10.5 (2 errored)", "-"]),
        (3, ["[-5.0, 1.0]", "[10.0, 20.0]", "[0.0, 100.0]", "[1,000.0, 1,001.0]", "-"]),
        (4, ["4.3K", "≤ 56.7M", "113M", "at least 113M", "1.2B"]),
        (5, ["below the shortest length", "below the shortest length", "8,192", "65,536", "-"]),
    ],
)
def test_a_click_sorts_by_value_and_cells_without_one_come_last(
    browser: Any, tmp_path: Path, place: int, rising: list[str]
) -> None:
    path = tmp_path / "page.html"
    path.write_text(render_page(Page(Report("", (), (SORTED, SORTED), ()))), encoding="utf-8")
    browser.get(path.as_uri())
    first, second = find(browser, ".wide > table")
    browser.execute_script("arguments[0].id = 'first'; arguments[1].id = 'second'", first, second)
    given = [row[place - 1] for row in SORTED.rows]
    assert column(browser, "#first", place) == given
    button = one(browser, f"#first thead th:nth-child({place}) button")
    heading = one(browser, f"#first thead th:nth-child({place})")
    button.click()
    assert column(browser, "#first", place) == rising
    assert heading.get_attribute("aria-sort") == "ascending"
    # Falling keeps the order of rows that are equal, and what has no value at the end.
    button.send_keys("\ue007")
    values, rest = (rising[:-1], rising[-1:]) if rising[-1] in ("", "-") else (rising, [])
    falling = values[::-1] if place != 4 else ["1.2B", "113M", "at least 113M", "≤ 56.7M", "4.3K"]
    assert column(browser, "#first", place) == falling + rest
    assert heading.get_attribute("aria-sort") == "descending"
    button.send_keys(" ")
    assert column(browser, "#first", place) == given
    assert heading.get_attribute("aria-sort") is None
    assert column(browser, "#second", place) == given
    assert browser.switch_to.active_element == button
    assert browser.get_log("browser") == []


def test_rows_move_whole_and_equal_ones_keep_the_order_of_the_click_before(
    show: Callable[[Page], Any], tmp_path: Path
) -> None:
    browser = show(comparison_page(tmp_path))
    (details, *_) = find(browser, "details.table")
    details.find_element("css selector", "summary").click()
    table = "[aria-labelledby='detail-1'] table"
    rows = sorted(row.text for row in find(browser, f"{table} tbody tr"))
    task, n = (find(browser, f"{table} thead button")[place] for place in (0, 7))
    task.click()
    names = column(browser, table, 1)
    assert names == ["cwe", "vt"]
    n.click()
    assert column(browser, table, 1) == names
    assert [heading.get_attribute("aria-sort") for heading in find(browser, f"{table} thead th")].count(None) == 9
    assert sorted(row.text for row in find(browser, f"{table} tbody tr")) == rows


def test_hostile_text_is_shown_and_does_nothing(show: Callable[[Page], Any], tmp_path: Path) -> None:
    page = spoiled(comparison_page(tmp_path), HOSTILE)
    browser = show(page)
    for summary in find(browser, "#samples summary")[:3]:
        summary.click()
    find(browser, "thead button")[0].click()
    one(browser, "#search").send_keys("<img src=x")
    assert count(browser) == "240 of 240 samples"
    assert browser.execute_script("return window.pwned") is None
    assert find(browser, "img, iframe, object, embed, a[href^='javascript'], #samples svg") == []
    assert len(find(browser, "script")) == 3
    assert "<img src=x onerror=" in one(browser, "h1").text
    assert browser.get_log("browser") == []


def test_a_screenshot_shows_tables_charts_and_samples(show: Callable[[Page], Any], tmp_path: Path) -> None:
    """Check screenshots: charts contain many colours, and no part of the page is blank."""
    import io

    from PIL import Image

    browser = show(comparison_page(tmp_path))
    for chart in find(browser, "figure"):
        picture = Image.open(io.BytesIO(chart.screenshot_as_png)).convert("RGB")
        colours = picture.getcolors(maxcolors=1 << 24) or []
        assert len(colours) > 20
        assert max(number for number, _ in colours) < 0.97 * picture.width * picture.height
    for part in ("h1", "table", "#browser"):
        assert find(browser, part)[0].size["height"] > 20
