"""The page as text: one file, the same every time, with every name escaped and everything there without its script."""

import base64
import hashlib
import re
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest

from tunedb.errors import TunedbError
from tunedb.model.database_report import database_report
from tunedb.model.report import report
from tunedb.model.report_page import page


class Elements(HTMLParser):
    """The elements of a page in order, with their attributes, and its words."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture
def suite_page(mixed, h200):
    return page(report(mixed, h200, title="model & co", date="2026-11-26"))


@pytest.fixture
def database_page(shelf, fake_kernel, timed):
    evil = timed._replace(device="4090", driver="<img src=x>")
    return page(database_report([shelf.put(timed, evil)], title="<i>", date="2026-11-26"))


def test_the_same_page_every_time(mixed, h200):
    """Two pages of one report are the same, byte by byte, and the only date is the stated one."""
    first, second = (page(report(mixed, h200, date="2001-02-03")) for _ in range(2))
    assert first == second
    assert set(re.findall(r"\b20\d\d-\d\d-\d\d\b", first)) == {"2001-02-03"}


@pytest.mark.parametrize("name", ["suite_page", "database_page"])
def test_one_file_that_asks_for_nothing(name, request):
    """Its policy lets it load nothing and run its own script only, and nothing in it names another address."""
    text = request.getfixturevalue(name)
    found = Elements(text)
    (policy,) = [one["content"] for one in found.of("meta") if one.get("http-equiv")]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not found.of("img", "iframe", "object", "embed", "form", "base")
    addresses = [one[key] for _, one in found.found for key in ("src", "href", "xlink:href") if key in one]
    assert all(address.startswith(("#", "data:,")) for address in addresses)
    assert not [key for _, one in found.found for key in one if key.startswith("on")]


@pytest.mark.parametrize("name", ["suite_page", "database_page"])
def test_readers_of_every_kind(name, request):
    """It has a language, heads with a scope, plots with title and description, and ids that are its own."""
    found = Elements(request.getfixturevalue(name))
    assert found.of("html") == [{"lang": "en"}]
    assert all(one.get("scope") in {"col", "row"} for one in found.of("th"))
    ids = Counter(one["id"] for _, one in found.found if "id" in one)
    assert [name for name, count in ids.items() if count > 1] == []
    plots = found.of("svg")
    assert plots
    for one in plots:
        assert one["role"] == "img"
        assert set(one["aria-labelledby"].split()) <= set(ids)
    heads = [one for one in found.of("table") if one["aria-labelledby"] not in ids]
    assert heads == []


def test_names_are_escaped(suite_page):
    """Names of a suite are words and never elements, in tables and plots; control characters and turned directions are gone."""
    found = Elements(suite_page)
    assert len(found.of("script")) == 1
    assert "<script>alert(1)</script>" in found.words
    assert '"><img src=x onerror=alert(2)>' in "".join(found.words)
    assert "$a_b$ & co +2" in "".join(found.words)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", suite_page)


def test_words_of_a_file_are_escaped(database_page):
    """What a database says of its versions, and a title, are words too."""
    found = Elements(database_page)
    assert not found.of("i", "img")
    assert "<img src=x>" in "".join(found.words)


def test_every_layer_is_there_without_the_script(suite_page, mixed, h200):
    """The table holds each layer with its reason, its modules, its saving, and the source of an estimate."""
    found = Elements(suite_page)
    rows = [one for one in found.of("tr") if one.get("class")]
    assert Counter(one["class"] for one in rows) == {"answered": 2, "torch": 1, "unswept": 3}
    words = " ".join("".join(found.words).split())
    for row in report(mixed, h200).rows:
        assert row.why in words
        assert row.estimate_from in words
    assert "Called by $a_b$ & co, decoder.up.1" in words
    assert "Where does the rest go? 2 of 6 layers answered" in words
    assert "NVIDIA H200 is not in this machine" in words


def test_plots_can_be_told_apart_without_colours(suite_page):
    """Estimates and what is left to torch are hatched, and each layer's bar has its value beside it."""
    plots = re.findall(r"<svg.*?</svg>", suite_page, re.DOTALL)
    assert len(plots) == 6
    assert all("<pattern" in plot for plot in plots)
    layers = next(plot for plot in plots if 'id="layers-wide-title"' in plot)
    assert ">6.00 ms → 3.00 ms<" in layers
    assert ">700.0 us, torch<" in layers
    assert ">unswept, unknown<" in layers
    assert re.search(r">~[\d.]+ ms, unswept<", layers)


def test_a_loss_is_drawn(shelf, fake_kernel, timed, layer, h200):
    """A layer that loses time has a bar with a minus and a key that says so."""
    shelf.put(timed._replace(aten_us=900.0))
    text = page(report([layer], h200, date="2026-11-26"))
    assert ">-300.0 us<" in text
    assert ">lost<" in text
    assert "300.0 us lost" in text


def test_only_torch(shelf, fake_kernel, timed, layer, h200):
    """Where torch answers everything, the page says that nothing is saved instead of an empty plot."""
    shelf.put(timed._replace(kernel="aten", config="{}", kernel_hash="aten", time_us=700.0, aten_us=700.0))
    text = page(report([layer], h200, date="2026-11-26"))
    assert "Nothing: torch's own kernel is the best known for every layer." in text
    assert "nothing saved" in text
    assert "saved-wide" not in text


def test_without_matplotlib(shelf, fake_kernel, timed, layer, h200, monkeypatch):
    """Without matplotlib the error says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(TunedbError, match=r"pip install 'tunedb\[report\]'"):
        page(report([layer], h200))
