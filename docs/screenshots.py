"""Pictures of the example pages for the README and the gallery, in Chromium: python docs/screenshots.py FOLDER."""

import io
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

QUALITY = 72
PICTURES = (
    # Picture, page, width, height, dark, whether a cell of the heat map is opened.
    ("comparison", "comparison-page.html", 1400, 860, False, False),
    ("samples", "comparison-page.html", 1400, 700, True, True),
    ("several", "several-page.html", 1400, 960, True, False),
    ("run", "run-page.html", 420, 900, False, False),
    ("leaderboard", "leaderboard.html", 1400, 560, False, False),
    ("training", "training.html", 1400, 460, False, False),
)


def browser() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def main() -> None:
    folder = Path(sys.argv[1])
    driver = browser()
    try:
        for name, page, width, height, dark, opened in PICTURES:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
            driver.get((folder / page).resolve().as_uri())
            if opened:
                wait_for(driver, "#samples details")
                driver.find_elements("css selector", "figure a")[-1].click()
                wait_for(driver, "#samples details[open] pre")
                driver.execute_script("document.getElementById('browser').scrollIntoView()")
            picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
            file = folder / f"{name}.webp"
            picture.save(file, quality=QUALITY, method=6)
            print(f"wrote {file}, {file.stat().st_size / 1000:.0f} kB")
    finally:
        driver.quit()


def wait_for(driver: Any, selector: str) -> None:
    end = time.monotonic() + 30
    while not driver.find_elements("css selector", selector):
        if time.monotonic() > end:
            raise TimeoutError(f"{selector} did not appear")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
