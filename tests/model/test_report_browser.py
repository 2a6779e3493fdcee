"""The page in a real browser: nothing is fetched, nothing overflows, everything can be read, on a phone and in the dark too."""

import pytest
from browser import chromium, served

from tunedb.model.database_report import database_report
from tunedb.model.report import report
from tunedb.model.report_page import page

SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

# Plots that are shown, with the boxes of their words; each word must lie inside its plot.
PLOTS = """
const box = (one) => { const r = one.getBoundingClientRect(); return [r.left, r.right, r.top, r.bottom]; };
return [...document.querySelectorAll("svg")].filter((one) => one.checkVisibility()).map((one) => ({
  box: box(one), words: [...one.querySelectorAll("text")].map((word) => [word.textContent, ...box(word)]) }));
"""

# The least contrast of words to what is behind them (WCAG's ratio), with the words.
CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (text) => {
  const [r, g, b] = rgb(text).slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const resolved = (name) => { const one = document.createElement("i"); one.style.color = `var(${name})`; document.body.append(one);
  const colour = getComputedStyle(one).color; one.remove(); return colour; };
const behind = (one) => { for (; one; one = one.parentElement) { const c = getComputedStyle(one).backgroundColor;
  if (rgb(c)[3] !== 0) return c; } return "rgb(255, 255, 255)"; };
const onBar = resolved("--on-tunedb"), bar = resolved("--tunedb");
const found = [["the bars", ratio(bar, behind(document.body)) * 1.5], ["words on bars", ratio(onBar, bar)]];
for (const one of document.body.querySelectorAll("*:not(script)")) {
  if (!one.checkVisibility() || ![...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  if (one.closest("svg")) { if (one.tagName !== "text") continue;
    const fill = getComputedStyle(one).fill; if (fill !== onBar) found.push([one.textContent, ratio(fill, behind(one))]);
  } else found.push([one.textContent.trim().slice(0, 40), ratio(getComputedStyle(one).color, behind(one))]); }
return found.sort((a, b) => a[1] - b[1])[0];
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


def shown(driver, address, width, scheme="light"):
    """Open a page in a width and a colour scheme; what earlier pages said is forgotten."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get_log("browser")
    driver.get(address)
    return driver


def check(driver, asked, width):
    """Nothing was fetched or complained of, nothing is wider than the window, and every plot is there."""
    assert driver.get_log("browser") == []
    assert asked == ["/"]
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    plots = driver.execute_script(PLOTS)
    for plot in plots:
        left, right, top, bottom = plot["box"]
        assert right - left > 200
        assert bottom - top > 40
        assert left >= 0
        assert right <= width
        for words, *box in plot["words"]:
            assert left - 1 <= box[0] <= box[1] <= right + 1, words
            assert top - 1 <= box[2] <= box[3] <= bottom + 1, words
    least = driver.execute_script(CONTRAST)
    assert least[1] >= 4.5, least
    return plots


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_a_suite(browser, mixed, h200, width, scheme):
    """The page of a suite with every state says its totals, and its three plots can be read."""
    found = report(mixed, h200, title="model.json", date="2026-11-26")
    assert {row.state for row in found.rows} == {"answered", "torch", "unswept"}
    with served(page(found)) as (address, asked):
        driver = shown(browser, address, width, scheme)
        assert len(check(driver, asked, width)) == 3
        text = driver.find_element("tag name", "body").text
    assert "model.json on NVIDIA H200" in text
    assert f"{found.totals.speedup:.2f}\N{MULTIPLICATION SIGN}" in text
    assert "2 answered by tunedb, 1 best left to torch, 3 unswept" in text
    assert "an estimate from similar measured layers, not an expectation" in text
    assert "triton 3.7.1, torch 2.13.0, cuDNN 9.19, driver 580.1" in text


def test_names_are_text(browser, mixed, h200):
    """A module called <script> and an id full of quotes are shown as they are, and none of them runs or loads anything."""
    with served(page(report(mixed, h200, title="<b>bold</b>", date="2026-11-26"))) as (address, asked):
        driver = shown(browser, address, 1280)
        check(driver, asked, 1280)
        assert driver.execute_script("return [document.scripts.length, document.images.length]") == [1, 0]
        assert driver.execute_script("return document.querySelectorAll('b').length") == 0
        names = driver.execute_script("return [...document.querySelectorAll('.name')].map((one) => one.textContent)")  # fmt: skip
        words = driver.execute_script("return [...document.querySelectorAll('.wide svg text')].map((one) => one.textContent)")  # fmt: skip
        assert driver.title.startswith("<b>bold</b> on")
    for name in ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>'):
        assert name in names
        assert any(name in word for word in words)
    assert any("$a_b$ & co +2" in word for word in words)  # and no mathematics


def test_the_table_can_be_sorted(browser, mixed, h200):
    """A click on a head sorts by its numbers, the largest first, a second one the smallest first; unknown ones stay last."""
    with served(page(report(mixed, h200, date="2026-11-26"))) as (address, _):
        driver = shown(browser, address, 1280)
        values = "return [...document.querySelectorAll('tbody tr')].map((row) => row.cells[6].dataset.value)"
        button = next(
            one for one in driver.find_elements("css selector", "thead button") if one.text == "Saved"
        )
        for direction, sign in (("descending", -1), ("ascending", 1)):
            button.click()
            head = driver.execute_script("return arguments[0].parentElement.ariaSort", button)
            assert head == direction
            found = driver.execute_script(values)
            known = [float(value) for value in found if value]
            assert len(known) == 5
            assert found[-1] == ""
            assert known == sorted(known, key=lambda value: sign * value)


def test_many_layers(browser, shelf, fake_kernel, timed, layer, h200):
    """A hundred layers with long names have thirty bars and the sum of the others, on a phone as well."""
    shelf.put(timed)
    name = "decoder.up_blocks.{}.resnets.1.temporal_res_block.conv_shortcut"
    layers = [layer._replace(id=f"L{n}", calls=1 + n % 7, modules=(name.format(n),)) for n in range(100)]
    with served(page(report(layers, h200, date="2026-11-26"))) as (address, asked):
        for width in (390, 1280):
            asked.clear()
            plots = check(shown(browser, address, width), asked, width)
            words = [word[0] for word in plots[1]["words"]]
            assert "70 other layers" in words
            assert sum("conv_shortcut" in word for word in words) == 30


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_databases(browser, shelf, fake_kernel, timed, width, scheme):
    """The page of databases has its plot, its groups, the best and the worst, as readable as a suite's."""
    others = [timed._replace(problem=timed.problem._replace(n=n), aten_us=100.0 * n + 1000) for n in range(20, 34)]  # fmt: skip
    path = shelf.put(timed, *others)
    with served(page(database_report([path], date="2026-11-26"))) as (address, asked):
        driver = shown(browser, address, width, scheme)
        assert len(check(driver, asked, width)) == 1
        heads = [one.text for one in driver.find_elements("tag name", "h2")]
        text = driver.find_element("tag name", "body").text
    assert heads[1:] == ["Speed-up over torch", "What was swept", "The best 10", "The worst 5"]
    assert "15 of 15 records compared with torch" in text.replace("\n", " ")


def test_nothing(browser, shelf, h200):
    """An empty suite and empty databases are pages too."""
    for found in (report([], h200, date="2026-11-26"), database_report([], date="2026-11-26")):
        with served(page(found)) as (address, asked):
            assert check(shown(browser, address, 390), asked, 390) == []
