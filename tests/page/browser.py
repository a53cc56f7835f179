"""A real browser: Chromium without a screen, which reaches nothing but the files of the test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser(profile: Path, width: int = 1400, height: int = 900) -> Iterator:
    """A driver; the test is skipped where there is no Chromium or no driver of it."""
    driver = shutil.which("chromedriver")
    binary = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if driver is None or binary is None:
        pytest.skip("no Chromium with a driver; Debian: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=service.Service(driver))
    try:
        browser.set_script_timeout(60)
        yield browser
    finally:
        browser.quit()


def visit(browser, path: Path) -> None:
    """Open a page and wait until its tables are there."""
    browser.get(path.resolve().as_uri())
    wait(browser, "return 'ready' in document.body.dataset")


def wait(browser, condition: str) -> None:
    """Wait until a script returns true, for ten seconds at most."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda b: b.execute_script(condition))


def console(browser) -> list[str]:
    """Messages of the console since the last call."""
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser, page: Path) -> list[str]:
    """Addresses that a page asked for since the last call, those inside it left out."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    own = [params for params in asked if params["documentURL"] == page.resolve().as_uri()]
    addresses = [params["request"]["url"] for params in own]
    return [address for address in addresses if not address.startswith(("data:", "blob:"))]
