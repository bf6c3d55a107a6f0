"""The page in a real Chromium: start a job, watch it, accept and reject by keys, draw a mask, download."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.placing.photographs import GENERATION, write_photographs
from tests.runtime.service.boxes import PATIENCE, Served

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium here: apt install chromium chromium-driver"
)
SHOTS = os.environ.get("SEAS_SHOTS")
"""A folder that pictures of the page are put into."""


class Page:
    """A browser on the service's page."""

    def __init__(self, browser: Any, served: Served) -> None:
        self.browser, self.served = browser, served

    def open(self, place: str) -> None:
        self.browser.get(f"{self.served.url}/#{place}")

    def all(self, css: str) -> list[Any]:
        found: list[Any] = self.browser.find_elements(By.CSS_SELECTOR, css)
        return found

    def one(self, css: str, when: Callable[[Any], Any] = lambda element: True) -> Any:
        """Wait for an element of which something holds."""

        def look() -> Any:
            try:
                return next((one for one in self.all(css) if when(one)), None)
            except (StaleElementReferenceException, WebDriverException):
                return None

        return self.until(look, css)

    def until(self, found: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (value := found()):
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.log()}"
            time.sleep(0.2)
        return value

    def wait_for_title(self, words: str) -> None:
        script = "return document.querySelector('main h1')?.textContent"
        self.until(lambda: self.browser.execute_script(script) == words, words)

    def keys(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def fetch(self, path: str) -> Any:
        return self.browser.execute_async_script(
            "const [path, done] = arguments; fetch(path).then((answer) => answer.json()).then(done)", path
        )

    def shot(self, name: str) -> None:
        if SHOTS:
            time.sleep(0.7)
            self.browser.save_screenshot(str(Path(SHOTS) / f"{name}.png"))

    def log(self) -> list[str]:
        """What the browser complains of."""
        return [one["message"] for one in self.browser.get_log("browser") if one["level"] == "SEVERE"]

    def faults(self) -> list[str]:
        """Serious faults that axe-core finds."""
        package = importlib.util.find_spec("axe_selenium_python")
        if package is None or package.origin is None:
            pytest.skip("axe-core is not installed")
        script = next(Path(package.origin).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
        self.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": script})
        found = self.browser.execute_async_script(
            "const done = arguments[0]; axe.run().then((found) => done(found.violations.map("
            "(one) => [one.impact, one.id, one.nodes.map((node) => node.html).slice(0, 3)])))"
        )
        return [str(one) for one in found if one[0] in ("serious", "critical")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    toy = Toy(bias=1.0, blend="fixed", placement=True)
    write_tiny_bundle(folder / "out/plate/bundle", toy, generation=GENERATION, product="plate")
    served = Served(folder / "out", folder / "state")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"):
        options.add_argument(word)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    served.start()
    try:
        browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        browser.set_script_timeout(PATIENCE)
        browser.set_page_load_timeout(PATIENCE)
        made = Page(browser, served)
        made.downloads = folder / "downloads"  # type: ignore[attr-defined]
        browser.get(f"{served.url}/#link={served.link()}")
        made.one("#new")
        yield made
        browser.quit()
    finally:
        served.stop()


def test_a_job_is_started_watched_reviewed_and_taken_away(page: Page, tmp_path: Path) -> None:
    shots = Path(SHOTS) / "photographs" if SHOTS and (Path(SHOTS) / "photographs").is_dir() else None
    if shots is None:
        shots = tmp_path / "photographs"
        write_photographs(shots)
        (shots / "turned.jpg").unlink()
    page.open("/photographs")
    page.one("input[type=file]").send_keys("\n".join(str(file) for file in sorted(shots.iterdir())))
    page.one("form button.main").click()
    page.one(".thumbs img")
    page.shot("photographs")

    page.open("/jobs")
    onto = page.one("#onto option[value='line-1']")
    onto.click()
    count = page.one("#count")
    count.clear()
    count.send_keys("12")
    page.one("summary").click()
    page.one(".checks.wide input").click()  # the toy's pictures pass no gate
    page.shot("new-job")
    page.one("#start").click()
    page.one("#job-status", lambda chip: chip.get_attribute("data-status") == "running")
    page.one("#job-status", lambda chip: chip.get_attribute("data-status") == "done")
    cards = page.until(lambda: len(page.all(".card")) == 12 and page.all(".card"), "twelve pairs")
    job = page.browser.current_url.rpartition("/")[2]
    assert float(page.one("main progress").get_attribute("value")) == 12
    assert "median" in page.one("canvas.chart").get_attribute("aria-label")

    page.browser.execute_script("arguments[0].focus()", cards[0])
    page.keys("a")
    page.one(".card.accepted")
    page.keys("r")  # the focus went to the next one
    page.one(".card.rejected")
    page.keys(Keys.ARROW_RIGHT, "a")
    page.until(lambda: len(page.all(".card.accepted")) == 2, "two accepted pairs")
    page.shot("gallery")
    reviewed = page.fetch(f"/v1/jobs/{job}/pairs")
    verdicts = [pair["verdict"] for pair in reviewed["pairs"]]
    assert verdicts[:5] == ["accepted", "rejected", None, "accepted", None]

    page.one(".card").click()
    stage = page.one("dialog.viewer .stage")
    page.until(lambda: page.browser.switch_to.active_element == stage, "the stage's focus")
    page.keys("b")
    page.until(lambda: page.all(".stage.drawing"), "the brush")
    ActionChains(page.browser).move_to_element(stage).click_and_hold().move_by_offset(
        120, 40
    ).release().perform()
    page.shot("viewer")
    assert not page.faults()
    page.one(".side button.main", lambda button: button.is_enabled()).click()
    page.until(lambda: page.fetch(f"/v1/jobs/{job}/pairs")["pairs"][0]["corrected"], "the saved mask")
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.all("dialog"), "the end of the dialog")

    page.one("#format option[value='mvtec']").click()
    page.one("#which option[value='accepted']").click()
    page.one("#download").click()
    downloads: Path = page.downloads  # type: ignore[attr-defined]
    file = page.until(lambda: next(iter(downloads.glob("*.zip")), None), "the download")
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.startswith("ground_truth/")]
        mask = np.asarray(Image.open(io.BytesIO(archive.read(names[0]))))
    first = page.served.state / "jobs" / job / "dataset" / names[0]
    assert len(names) == 2
    assert np.count_nonzero(mask) > np.count_nonzero(np.asarray(Image.open(first)))  # the stroke
    assert not page.log()


def test_a_legal_area_is_drawn_by_keyboard(page: Page) -> None:
    page.open("/jobs")
    page.one("#onto option[value='bundle']").click()
    page.one("button.wide").click()
    canvas = page.one("dialog canvas")
    page.until(lambda: page.browser.switch_to.active_element == canvas, "the focus")
    page.keys(" ", *[Keys.ARROW_RIGHT] * 4, " ", *[Keys.ARROW_DOWN] * 3, " ", Keys.ENTER)
    page.shot("area")
    page.one("dialog button.main").click()
    assert "1" in page.one("button.wide").text


TITLES = {
    "jobs": ("Jobs", "Aufträge"),
    "bundles": ("Bundles", "Bündel"),
    "photographs": ("Photographs", "Aufnahmen"),
    "admin": ("Administration", "Verwaltung"),
}


@pytest.mark.parametrize("view", TITLES)
def test_views_have_no_serious_fault_in_either_language(page: Page, view: str) -> None:
    page.open(f"/{view}")
    english, german = TITLES[view]
    page.wait_for_title(english)
    page.shot(view)
    assert not page.faults()
    page.one("header button").click()
    page.wait_for_title(german)
    page.shot(f"{view}-de")
    assert page.browser.execute_script("return document.documentElement.lang") == "de"
    assert not page.faults()
    page.one("header button").click()
    page.wait_for_title(english)
    assert not page.log()


def test_the_page_asks_no_other_host(page: Page) -> None:
    root = Path(importlib.util.find_spec("seas_runtime").origin or "").parent  # type: ignore[union-attr]
    for file in (root / "service/page").rglob("*.*"):
        text = file.read_text(encoding="utf-8")
        assert "https://" not in text, file
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), file
    asked = page.browser.execute_script(
        "return performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)"
    )
    assert set(asked) == {page.served.url}
