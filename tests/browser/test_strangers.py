"""Pages made of a stranger's runs: nothing of theirs runs, nothing is loaded, and what they wrote is shown as text."""

import json

import pytest
from PIL import Image

from browsing import needed, opened, quiet, until
from reported import full, unfinished
from supcrd.report import report, shown
from typed import invoke

pytestmark = needed

EVIL = (
    "</script><script>window.owned=1</script><img src=x onerror=window.owned=2>"
    "<svg onload=window.owned=3><a href='javascript:window.owned=4'>a</a>"
    "<img src=https://example.invalid/x.png><iframe src=https://example.invalid></iframe>"
    "<!--<script>\"'`${window.owned=5}{{7*7}}%{x}]]><style>*{display:none}</style>&lt;\x1b[2J"
)
NAMES = ["</script><script>owned=6</script>", "<img src=x onerror=owned=7>", "<b>%{x} $x$ &lt;\x1b[2J"]
KINDS = ("hypersphere", "alignment", "classes", "curves", "spread")
"""On the report's page."""
FIGURES = ("curves.html", "spread.html", "tsne.html", "hypersphere.html", "classes.html", "classes.svg")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports and pages of runs whose folders, classes, recipes, numbers and warnings are full of markup."""
    out = tmp_path_factory.mktemp("strangers")
    about = {
        "source": f"npz:/x/{EVIL}.npz",
        "warnings": [EVIL],
        "classifier": {"saved": EVIL, "why": EVIL},
        "class_names": NAMES,
        "class_accuracy": [0.1, 0.5, 0.9],
        "class_counts": [20, 20, 20],
        "method": EVIL,
        "measures": [{"key": EVIL, "title": EVIL, "meaning": EVIL, "scale": 1, "digits": 2, "better": 1}],
        EVIL: 0.5,
    }
    source = f"data.source=npz:/x/{EVIL}.npz".replace("\x1b", "").replace("'", "").replace('"', "")
    full(out / "runs", "teacher", 0, 0.9, recipe="digits-teacher", names=NAMES, **about)
    for seed in (0, 1):
        run = full(out / "runs", f"student{seed}", seed, 0.8, source, names=NAMES, teacher="teacher", **about)
        (run / "environment.json").write_text(json.dumps({"commit": EVIL, "packages": {"torch": EVIL}, "origins": {}}))
    other = full(out / "runs", "other", 0, 0.7, source, "train.lr=0.5", names=NAMES, **about)
    other.rename(other.with_name(NAMES[1]))
    unfinished(out / "runs", "going", 2, source, "train.lr=0.25")
    full(out / "runs", "photos", 0, 0.7, f"data.source=folder:{photos(out)}", data_fingerprint="f9")
    with pytest.MonkeyPatch.context() as patch:
        few = {name: shown.pages()[name] for name in KINDS}
        patch.setattr(shown, "pages", lambda: few)
        report([out / "runs"], out / "report.html", baseline="student0", inspect=True)
    run = out / "runs" / "student0"
    for page in FIGURES:
        kind = page.partition(".")[0]
        folders = [out / "runs" / NAMES[1]] if kind == "hypersphere" else [run, out / "runs" / NAMES[1]]
        assert invoke("plot", kind, *folders, "--out", out / page).exit_code == 0, page
    return out


def photos(out):
    """Classes and files whose names are markup; the second file of a class is no image, and is named on the page."""
    folder = out / "photos"
    for name in ("<img src=x onerror=owned=8>", "<svg onload=owned=9>", "a'b\"c"):
        for split in ("train", "test"):
            (folder / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), "red").save(folder / split / name / f"{name}.png")
            (folder / split / name / f"{name}2.png").write_bytes(b"nothing")
    return folder


def harmless(browser):
    time_for_handlers = "return new Promise((done) => setTimeout(() => done(window.owned ?? null), 300))"
    assert browser.execute_script(time_for_handlers) is None
    links = browser.execute_script("return [...document.querySelectorAll('a')].map((a) => a.href)")
    assert not [link for link in links if link.startswith(("javascript:", "http"))]
    assert not browser.execute_script("return document.querySelectorAll('iframe, img[onerror], object, embed').length")
    quiet(browser)


def test_a_report_of_strangers_runs(browser, pages):
    opened(browser, pages / "report.html")
    until(lambda: browser.execute_script("return [...document.querySelectorAll('.plot')].length > 0"))
    browser.execute_script("document.querySelectorAll('.plot').forEach((plot) => plot.scrollIntoView())")
    for button in browser.find_elements("css selector", "button.fold, #theme"):
        browser.execute_script("arguments[0].click()", button)
    shown = browser.execute_script("return document.body.textContent")
    assert "window.owned=1" in shown  # as text
    assert shown.count("<img src=x onerror=owned=8>") >= 3  # a class, its samples, its file that is no image
    assert browser.execute_script("return [...document.images].every((i) => i.src.startsWith('data:image/png'))")
    assert browser.execute_script("return document.images.length") == 3
    harmless(browser)


@pytest.mark.parametrize("page", FIGURES)
def test_a_figure_of_strangers_runs(browser, pages, page):
    opened(browser, pages / page)
    harmless(browser)
