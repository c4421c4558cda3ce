"""Figures on their own pages and in a report: every name as it is, on a phone, in a window that changes, on paper."""

import pytest

from browsing import media, needed, opened, size, until
from reported import full
from supcrd.report import report, shown
from typed import invoke

pytestmark = needed

RUN = "a<b>c &amp; %{x} $y$"  # what Plotly or matplotlib would read as something else
CLASS = "d<i>e"
DRAWN = "[...document.querySelectorAll('.plot')].filter((p) => p.offsetParent)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind, and a report of those that arrange themselves."""
    out = tmp_path_factory.mktemp("figures")
    names = [CLASS, "dog", "eel"]
    teacher = full(out / "runs", "teacher", 0, 0.9, recipe="digits-teacher", names=names)
    run = full(out / "runs", "student", 0, 0.8, teacher="teacher", names=names)
    run = run.rename(run.with_name(RUN))
    for kind in ("curves", "spread", "similarity", "tsne", "alignment"):
        runs = [run] if kind == "alignment" else [run, teacher]
        assert invoke("plot", kind, *runs, "--out", out / f"{kind}.html").exit_code == 0
    assert invoke("plot", "hypersphere", run, "--out", out / "hypersphere.html").exit_code == 0
    kinds = ("spread", "curves", "reliability", "similarity", "tsne", "hypersphere")
    with pytest.MonkeyPatch.context() as patch:
        few = {name: shown.pages()[name] for name in kinds}
        patch.setattr(shown, "pages", lambda: few)
        report([out / "runs"], out / "report.html", baseline="teacher")
    return out


def words(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('h1, p, svg text')].map((e) => e.textContent.trim())"
    )


@pytest.mark.parametrize("kind", ["curves", "spread", "similarity", "tsne", "hypersphere"])
def test_names_are_shown_as_they_are(browser, pages, kind):
    opened(browser, pages / f"{kind}.html")
    told = until(lambda: words(browser))
    assert not [text for text in told if any(sign in text for sign in ("&lt;", "&gt;", "&#", "&amp;amp;"))]
    if kind != "hypersphere":
        assert [text for text in told if RUN in text]
    if kind not in ("curves", "spread"):
        assert CLASS in told
    hover = "Plotly.Fx.hover('figure', [{curveNumber: 0, pointNumber: 0}])"
    if kind in ("curves", "spread"):
        browser.execute_script(hover)
        until(lambda: [text for text in words(browser) if text.startswith(RUN) and len(text) > len(RUN)])


def test_a_title_is_no_part_of_the_picture_and_wraps(browser, pages):
    size(browser, 390)
    opened(browser, pages / "hypersphere.html")
    box = browser.execute_script("const e = document.querySelector('h1'); return [e.scrollWidth, e.clientWidth]")
    assert box[0] <= box[1]
    assert RUN in browser.find_element("css selector", "h1").text
    note, figure = browser.execute_script(
        "return ['p', '#figure'].map((e) => document.querySelector(e).getBoundingClientRect().toJSON())"
    )
    assert note["top"] >= figure["bottom"] - 1


SIZES = f"return {DRAWN}.map((p) => [p.clientWidth, p._fullLayout?.width, p.clientHeight, p.layout?.height])"


def all_drawn(browser):
    """Draw the whole page, as reading it through does; widths and heights of places and of what is drawn there."""
    for at in range(browser.execute_script(f"return {DRAWN}.length")):
        browser.execute_script(f"{DRAWN}[{at}].scrollIntoView({{behavior: 'instant'}})")
        until(lambda at=at: browser.execute_script(f"return !!{DRAWN}[{at}].dataset.drawn"))
    return browser.execute_script(SIZES)


def test_a_window_that_changes_keeps_figures_whole(browser, pages):
    size(browser, 1280)
    opened(browser, pages / "report.html")
    before = all_drawn(browser)
    for width in (1000, 390, 1280):
        size(browser, width)
        fits = f"return {DRAWN}.every((p) => p.dataset.drawn === undefined || p.clientWidth === p._fullLayout?.width)"
        until(lambda fits=fits: browser.execute_script(fits))
        told = all_drawn(browser)
        assert all(place == drawn and tall == wanted > 300 for place, drawn, tall, wanted in told), told
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert told == before


@pytest.mark.parametrize("page", ["report.html", "similarity.html"])
def test_maps_stand_one_above_the_other_on_a_phone(browser, pages, page):
    size(browser, 390)
    opened(browser, pages / page)
    plot = "document.querySelector('.plot[id*=similarity], #figure')"
    browser.execute_script(f"{plot}.scrollIntoView({{behavior: 'instant'}})")
    until(lambda: browser.execute_script(f"return {plot}._fullLayout?.height > 700"))
    boxes = browser.execute_script(
        f"return [...{plot}.querySelectorAll('.heatmaplayer image')].map((e) => e.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 2
    assert all(box["width"] > 280 and box["height"] > 280 for box in boxes)
    assert boxes[0]["bottom"] < boxes[1]["top"]


def test_paper_is_light_and_has_what_was_chosen(browser, pages):
    media(browser, "dark")
    opened(browser, pages / "report.html")
    pick = browser.find_element("css selector", "section[aria-labelledby*=similarity] select, .pick select")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    until(lambda: browser.execute_script(f"return {DRAWN}.every((p) => p.dataset.drawn === 'light')"))
    size(browser, 703)  # A4 without its margins
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.execute_script(f"return {DRAWN}.map((p) => p._fullLayout.paper_bgcolor)") == ["#ffffff"] * 5
    assert not [e for e in browser.find_elements("css selector", "button:not(th button), .modebar") if e.is_displayed()]
    assert pick.is_displayed()
    assert browser.execute_script("return getComputedStyle(arguments[0]).borderStyle", pick) == "none"
    over = (
        "return [...document.querySelectorAll('.plot, table, svg.drawn')].filter((e) => e.offsetParent"
        " && e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert browser.execute_script(over) == []
    size(browser, 1280)
    media(browser, "dark")
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert all_drawn(browser) == browser.execute_script(SIZES)
    assert browser.execute_script(f"return {DRAWN}.every((p) => p._fullLayout.paper_bgcolor === '#14181d')")


def test_a_drawing_is_large_enough_on_a_phone_and_scrolls_in_its_box(browser, pages):
    size(browser, 390)
    opened(browser, pages / "alignment.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script("return document.querySelector('svg').getBoundingClientRect().width") >= 600
