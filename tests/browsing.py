"""A browser without a window: what its tests share."""

import json
import shutil
import time

import pytest

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
needed = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--use-angle=swiftshader",  # three dimensions without a graphics card
    "--enable-unsafe-swiftshader",
    "--window-size=1280,900",
)
HARMLESS = (
    "Canvas2D: Multiple readback",
    "GPU stall due to ReadPixels",
    "WebGL",
)  # of a browser without a graphics card


def size(browser, width, height=900):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def media(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until(condition, seconds=60):  # a busy machine is slow, not wrong
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come")


def opened(browser, path):
    """Open a page; `get` alone may come back early where the same page stood before."""
    browser.get("about:blank")
    browser.get(path.as_uri())
    until(lambda: browser.execute_script("return document.readyState") == "complete")


def quiet(browser):
    """No request but for the file itself, and nothing complained of."""
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url[:60] for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    assert any(url.startswith("file:") for url in urls)
    told = [entry["message"] for entry in browser.get_log("browser")]
    assert [text for text in told if not any(known in text for known in HARMLESS)] == []
