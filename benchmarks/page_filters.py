"""Size of a comparison's page of 2 × 6,500 samples, and how long its filters take in Chromium.

    python benchmarks/page_filters.py [SAMPLES PER CELL]

RULER's 13 tasks at five lengths with 100 samples each by default; answers are 60 words, and excerpts as long as those
that a run stores. Times are of the page's own script, from the change of a filter to the list that is laid out.
"""

import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from evalkit.analysis.compared_runs import compare_with_base
from evalkit.views.samples import Piece, comparison_views
from reports.comparison_report import comparison_report
from reports.page import Page, RunSamples, render_page
from reports.run_charts import comparison_charts
from tests.evalkit.run_factory import RunSpec, changed, make_run

REPEATS = 7
MEASURE = """
const [id, value, done] = arguments;
const filter = document.getElementById(id);
filter.value = value;
const start = performance.now();
filter.dispatchEvent(new Event(id === "search" ? "input" : "change"));
document.getElementById("samples").getBoundingClientRect();
done(performance.now() - start);
"""


def page_of(samples: int, folder: Path) -> str:
    cells = [(f"niah_multikey_{task}", 4096 << length) for task in range(13) for length in range(5)]
    spec = RunSpec({cell: [1.0] * samples for cell in cells})
    worse = changed(spec, {cell: [0.0] * (samples // 4) + [1.0] * (samples - samples // 4) for cell in cells})
    compared = compare_with_base(make_run(folder / "base", spec), [make_run(folder / "new", worse)])
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 12))) for _ in range(5000)]
    weights = [1 / n for n in range(1, 5001)]

    def write(count: int) -> str:
        return " ".join(rng.choices(words, weights, k=count))

    views = [
        replace(
            view,
            answers=tuple(replace(answer, prediction=write(60)) for answer in view.answers if answer is not None),
            pieces=(
                Piece("start of the prompt", 0, (write(25),)),
                Piece("40% into the prompt", 4000, (write(16), view.id, write(16))),
                Piece("end of the prompt", 9000, (write(75),)),
            ),
        )
        for view in comparison_views(compared.pairings)
    ]
    report = comparison_report(*compared.comparisons)
    return render_page(Page(report, comparison_charts(compared), [RunSamples("new", views, ("base", "new"))]))


def browser() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "page.html")
        path.write_text(page_of(samples, Path(name)), encoding="utf-8")
        print(f"page of 2 x {65 * samples:,} samples: {path.stat().st_size / 1e6:.2f} MB")
        driver = browser()
        try:
            driver.get(path.as_uri())
            while not driver.find_element("id", "count").text:
                pass
            version = driver.capabilities["browserVersion"]
            ready = "return performance.timing.domComplete - performance.timing.navigationStart"
            print(f"Chromium {version}: loaded after {driver.execute_script(ready)} ms")
            for filter, value in (
                ("search", "niah_multikey_3/65536/9"),
                ("search", ""),
                ("task", "niah_multikey_7"),
                ("task", ""),
                ("show", "worse"),
                ("length", "65536"),
                ("length", ""),
            ):
                times = [driver.execute_async_script(MEASURE, filter, value) for _ in range(REPEATS)]
                first, slowest, left = times[0], max(times), driver.find_element("id", "count").text
                print(f"{filter} = {value or 'all':<24} first {first:6.1f} ms, slowest {slowest:6.1f} ms  ({left})")
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
