"""The report and a hypersphere page as a person has them: opened from the disk, turned, sorted, read on a phone."""

import time

import pytest

from browsing import media, needed, opened, quiet, size, until
from reported import full
from supcrd.report import report, shown
from typed import invoke

pytestmark = needed


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """report.html, and a hypersphere alone."""
    out = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        few = {name: shown.pages()[name] for name in ("hypersphere", "alignment")}
        patch.setattr(shown, "pages", lambda: few)
        full(out / "runs", "teacher", 0, 0.99, recipe="digits-teacher", names=["cat", "dog", "Grün & <b>"])
        for seed, accuracy in enumerate((0.95, 0.97)):
            full(out / "runs", f"crd-seed{seed}", seed, accuracy, teacher="teacher", separation_ratio=11.5, ece=0.3)
        full(
            out / "runs",
            "other-with-quite-a-long-name-that-nobody-can-break",
            0,
            0.1,
            "train.lr=0.1",
            separation_ratio=2.5,
            ece=0.05,
        )
        full(out / "runs", "third", 0, 0.2, "train.lr=0.2", "method.temperature=0.5", separation_ratio=2.25)
        report([out / "runs"], out / "report.html", baseline="crd")
    assert invoke("plot", "hypersphere", out / "runs" / "teacher", "--out", out / "sphere.html").exit_code == 0
    return out


PLOT = "document.querySelector('.plot[id*=hypersphere], .plotly-graph-div')"


def sphere(browser, path):
    """Open a page and bring its first sphere into view, drawn."""
    opened(browser, path)
    browser.execute_script(f"{PLOT}.scrollIntoView()")
    until(lambda: browser.execute_script(f"return !!{PLOT}?._fullLayout?.scene?._scene?.glplot"))
    time.sleep(0.5)


def camera(browser):
    return browser.execute_script(f"return {PLOT}._fullLayout.scene._scene.getCamera().eye")


def visible(browser):
    """Of every trace: scene, name, whether it is seen."""
    return browser.execute_script(
        f"return {PLOT}.data.map((trace) => [trace.scene || 'scene', trace.name, trace.visible ?? true])"
    )


@pytest.mark.parametrize("page", ["report.html", "sphere.html"])
def test_a_sphere_opens_turns_and_hides_a_class(browser, pages, page):
    from selenium.webdriver import ActionChains

    sphere(browser, pages / page)
    before = camera(browser)
    canvas = browser.execute_script(f"return {PLOT}.querySelector('.gl-container canvas, #scene canvas')")
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(60, 30).release().perform()
    until(lambda: camera(browser) != before)

    before = visible(browser)
    assert all(seen is True for _, _, seen in before)
    entry = browser.execute_script(
        f"return [...{PLOT}.querySelectorAll('.legend .traces')].find((e) => e.textContent.includes('dog'))"
        "?.querySelector('.legendtoggle')"
    ) or browser.execute_script(f"return {PLOT}.querySelectorAll('.legend .traces .legendtoggle')[1]")
    ActionChains(browser).move_to_element(entry).click().perform()
    until(lambda: visible(browser) != before)
    hidden = [row[:2] for row, old in zip(visible(browser), before, strict=True) if row != old]
    assert len(hidden) == 1
    assert hidden[0][0] == "scene"
    assert [seen for scene, name, seen in visible(browser) if [scene, name] == hidden[0]] == ["legendonly"]
    quiet(browser)


def test_what_was_turned_and_hidden_stays_so_in_the_other_theme(browser, pages):
    sphere(browser, pages / "report.html")
    browser.execute_script(
        f"Plotly.restyle({PLOT}, {{visible: 'legendonly'}}, [2]);"
        f"Plotly.relayout({PLOT}, {{'scene.camera.eye': {{x: 2, y: 0.5, z: 0.1}}}})"
    )
    time.sleep(0.5)
    browser.execute_script("document.getElementById('theme').click()")
    until(lambda: browser.execute_script(f"return {PLOT}.dataset.drawn === 'dark'"))
    assert [seen for _, _, seen in visible(browser)].count("legendonly") == 1
    assert camera(browser)["x"] == pytest.approx(2, abs=1e-3)


def column(browser, at):
    """The texts of a column of the table of runs, configurations only."""
    return browser.execute_script(
        "return [...document.querySelector('table.sortable').tBodies].map((body) => body.rows[0].cells[arguments[0]]"
        ".dataset.value)",
        at,
    )


def test_the_table_sorts_numbers_as_numbers_and_gaps_last(browser, pages):
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages / "report.html")
    heads = browser.find_elements("css selector", "table.sortable thead th")
    titles = [head.text.split("\n")[0].strip(" ↕") for head in heads]

    def by(title):
        at = next(place for place, text in enumerate(titles) if text.startswith(title))
        button = heads[at].find_element("css selector", "button")
        button.send_keys(Keys.ENTER)  # as the keyboard does it
        return at, heads[at].get_attribute("aria-sort")

    at, order = by("Accuracy")
    values = list(map(float, column(browser, at)))
    assert (order, values) == ("descending", sorted(values, reverse=True))
    at, order = by("Accuracy")
    values = list(map(float, column(browser, at)))
    assert (order, values) == ("ascending", sorted(values))
    at, order = by("Separation")
    assert column(browser, at) == ["11.5", "2.5", "2.25", ""]  # as words these would stand the other way round
    for _ in range(2):
        at, order = by("ECE")
        assert column(browser, at)[-2:] == ["", ""]
    at, order = by("Run")
    assert (order, column(browser, at)) == ("ascending", sorted(column(browser, at)))
    assert [head.get_attribute("aria-sort") for head in heads].count("none") == len(heads) - 1


def test_a_configuration_unfolds_to_its_runs(browser, pages):
    opened(browser, pages / "report.html")
    fold = browser.find_element("css selector", "button.fold")
    seeds = browser.find_elements("css selector", "tr.seed")
    assert [row.is_displayed() for row in seeds] == [False, False]
    fold.click()
    assert [row.text.split()[0] for row in seeds] == ["crd-seed0", "crd-seed1"]
    assert fold.get_attribute("aria-expanded") == "true"


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_the_theme_follows_the_system_and_the_button_is_remembered(browser, pages):
    light, dark = "rgb(255, 255, 255)", "rgb(20, 24, 29)"
    media(browser, "dark")
    sphere(browser, pages / "report.html")
    assert background(browser) == dark
    assert browser.execute_script(f"return {PLOT}._fullLayout.paper_bgcolor") == "#14181d"
    ink = "return getComputedStyle(document.querySelector('svg.drawn path')).fill"
    assert dark in browser.execute_script(ink)
    button = browser.find_element("id", "theme")
    assert button.get_attribute("aria-pressed") == "true"
    browser.execute_script("arguments[0].click()", button)
    assert background(browser) == light
    until(lambda: browser.execute_script(f"return {PLOT}._fullLayout?.paper_bgcolor") == "#ffffff")
    browser.refresh()
    assert background(browser) == light
    assert browser.find_element("id", "theme").get_attribute("aria-pressed") == "false"


def test_nothing_overflows_on_a_phone(browser, pages):
    size(browser, 390)
    sphere(browser, pages / "report.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    table = browser.execute_script(
        "const box = document.querySelector('.scroll'); return [box.scrollWidth, box.clientWidth]"
    )
    assert table[0] > table[1]  # it scrolls within its box
    small = browser.execute_script("return parseFloat(getComputedStyle(document.querySelector('p')).fontSize)")
    assert small >= 14


def test_every_column_can_be_reached_on_a_phone(browser, pages):
    """None is hidden: each table scrolls in its box until its last column is wholly seen beside the first."""
    size(browser, 390)
    opened(browser, pages / "report.html")
    ends = browser.execute_script(
        "document.querySelectorAll('details').forEach((part) => { part.open = true; });"
        "return [...document.querySelectorAll('.scroll')].map((box) => {"
        "  box.scrollLeft = box.scrollWidth;"
        "  const cells = [...box.querySelector('thead tr').cells], last = cells.at(-1).getBoundingClientRect();"
        "  return [cells.every((cell) => getComputedStyle(cell).display === 'table-cell' && cell.offsetWidth > 0),"
        "          box.getBoundingClientRect().right - last.right,"
        "          last.left - cells[0].getBoundingClientRect().right];"
        "});"
    )
    assert len(ends) >= 3
    for all_there, beyond, before in ends:
        assert all_there
        assert beyond > -1
        assert before > -1


def test_what_is_folded_opens_by_a_touch_and_is_on_paper(browser, pages):
    opened(browser, pages / "report.html")
    inside = "document.querySelector('details > .keys').checkVisibility()"
    tall = "document.querySelector('details').offsetHeight"
    closed = browser.execute_script(f"return {tall}")
    assert not browser.execute_script(f"return {inside}")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})  # without the page's script
    assert browser.execute_script(f"return {inside}")
    assert browser.execute_script(f"return {tall}") > closed + 50
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelector('details').open")
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert not browser.execute_script("return document.querySelector('details').open")
    size(browser, 390)
    browser.execute_script("document.querySelector('summary').scrollIntoView({block: 'center', behavior: 'instant'})")
    browser.find_element("css selector", "summary").click()
    assert browser.execute_script(f"return {inside}")


def test_one_run_of_a_section_is_shown_at_a_time(browser, pages):
    opened(browser, pages / "report.html")
    which = "return [...document.querySelectorAll('section[aria-labelledby*=alignment] .choice')].map((e) => !e.hidden)"
    assert browser.execute_script(which) == [True, False, False, False]
    pick = browser.find_element("css selector", "section[aria-labelledby*=alignment] select")
    pick.send_keys("third")
    assert browser.execute_script(which) == [False, False, True, False]


def test_a_figure_is_saved(browser, pages, tmp_path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    sphere(browser, pages / "report.html")
    for kind, form, start in (
        ("alignment", "svg", b"<svg"),
        ("alignment", "png", b"\x89PNG"),
        ("hypersphere", "png", b"\x89PNG"),
    ):
        button = f"section[aria-labelledby*={kind}] button[data-save={form}]"
        browser.execute_script("arguments[0].click()", browser.find_element("css selector", button))
        found = until(lambda kind=kind, form=form: list(tmp_path.glob(f"{kind}_*.{form}")))
        until(lambda found=found: found[0].stat().st_size > 1000)
        content = found[0].read_bytes()
        assert content.startswith(start)
        assert b"var(--" not in content
    quiet(browser)


def test_the_keyboard_reaches_the_contents_first(browser, pages):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages / "report.html")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.text == "Skip to the contents"
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    names = browser.execute_script(
        "return [...document.querySelectorAll('button, select')].map((e) => (e.innerText || e.labels?.[0]?.innerText "
        "|| e.textContent).trim())"
    )
    assert all(names)
