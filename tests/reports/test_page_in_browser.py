"""The page in headless Chromium: no console error, charts drawn, filters that filter, and hostile text as text."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.page import Page, RunSamples, render_page
from tests.reports.page_factory import comparison_page, run_page, spoiled

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


def test_a_comparison_opens_and_its_filters_filter(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(comparison_page(tmp_path))
    assert count(browser) == "240 of 240 samples"
    assert len(find(browser, "#samples details")) == 50
    one(browser, "#more").click()
    assert len(find(browser, "#samples details")) == 100
    choose(browser, "task", "vt")
    assert count(browser) == "120 of 240 samples"
    choose(browser, "length", "4096")
    assert count(browser) == "60 of 240 samples"
    one(browser, "#flipped").click()
    assert count(browser) == "30 of 240 samples"
    one(browser, "#failed").click()
    assert count(browser) == "15 of 240 samples"
    one(browser, "#search").send_keys("vt/4096/2/42")
    assert count(browser) == "1 of 240 samples"
    assert not one(browser, "#more").is_displayed()
    one(browser, "#samples summary").click()
    until(lambda: len(find(browser, "#samples pre")) == 5)
    shown = one(browser, "#samples details").text
    for part in (
        "BASE 1.00",
        "NEW 0.00, wrong needle",
        "prompt of vt/4096/2/42",
        "evalkit show new --sample vt/4096/2/42 --format json",
    ):
        assert part in shown
    assert [mark.text for mark in find(browser, "#samples mark")] == ["vt/4096/2/42"]


def test_a_run_opens_without_what_only_a_comparison_has(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(run_page(tmp_path))
    assert find(browser, "#flipped") == []
    one(browser, "#failed").click()
    assert count(browser) == "120 of 240 samples"
    find(browser, "#samples summary")[0].click()
    until(lambda: len(find(browser, "#samples pre")) > 2)


def test_a_cell_of_the_heat_map_leads_to_its_samples(show: Callable[[Page], Any], tmp_path: Path) -> None:
    browser = show(run_page(tmp_path))
    find(browser, "figure a")[1].click()
    until(lambda: count(browser) == "60 of 240 samples")
    assert browser.current_url.endswith("#task=vt&length=65536")
    one(browser, "#failed").click()
    until(lambda: browser.current_url.endswith("#task=vt&length=65536&failed=on"))
    assert count(browser) == "30 of 240 samples"
    browser.refresh()
    until(lambda: count(browser) == "30 of 240 samples")
    assert one(browser, "#failed").is_selected()


def test_a_single_letter_is_not_marked_everywhere(show: Callable[[Page], Any], tmp_path: Path) -> None:
    page = run_page(tmp_path)
    views = [replace(view, targets=("d", "word")) for view in page.samples[0].views]
    views = [replace(view, new=replace(view.new, prediction="a harder word"), pieces=()) for view in views]
    browser = show(replace(page, samples=[RunSamples("base", views)]))
    find(browser, "#samples summary")[0].click()
    until(lambda: [mark.text for mark in find(browser, "#samples mark")] == ["word"])


def test_hostile_text_is_shown_and_does_nothing(show: Callable[[Page], Any], tmp_path: Path) -> None:
    page = spoiled(comparison_page(tmp_path), HOSTILE)
    browser = show(page)
    for summary in find(browser, "#samples summary")[:3]:
        summary.click()
    one(browser, "#search").send_keys("<img src=x")
    assert count(browser) == "240 of 240 samples"
    assert browser.execute_script("return window.pwned") is None
    assert find(browser, "img, iframe, object, embed, a[href^='javascript'], #samples svg") == []
    assert len(find(browser, "script")) == 2
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
