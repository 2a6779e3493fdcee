"""Which distribution a kernel comes from: what version 2 of the schema added."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tunedb.errors import TunedbWarning
from tunedb.store.listing import show, shown_text
from tunedb.store.read import Database
from tunedb.store.write import Store

VERSION1 = Path(__file__).parent / "data" / "version1.sqlite"


@pytest.fixture
def old(tmp_path):
    """A copy of the file of version 1."""
    return Path(shutil.copy(VERSION1, tmp_path / "old.sqlite"))


def test_a_kernel_is_stored_with_its_distribution(tmp_path, fake_kernel, record):
    """A kernel whose code is installed is stored with distribution and version, any other with none; `show` says it."""
    path = tmp_path / "a.sqlite"
    aten = record._replace(kernel="aten", config="{}", kernel_hash="aten")
    with Store(path) as store:
        store.put(aten)
        store.put(record._replace(device="4090"))  # of no installed distribution
        store.put(record._replace(device="h100", kernel="aten", config="{}", kernel_hash="older"))
    file = Database(path)
    assert list(file.distributions()) == [("aten", "aten")]
    assert file.distributions()["aten", "aten"].startswith("tunedb ")
    file.close()
    shown = {found.record.device: shown_text(found) for found in show(record.problem, [path])}
    assert "; kernel of tunedb " in shown["h200"]
    assert "kernel of" not in shown["4090"] + shown["h100"]


def test_a_distribution_is_filled_in_and_merged(tmp_path, old, fake_kernel, record, monkeypatch):
    """What is not known is filled in by the next record, and a merge brings it to files that did not know it."""
    from tunedb.store import write

    monkeypatch.setattr(write, "distribution", lambda name: f"somebody 1.2 {name}")
    other = tmp_path / "other.sqlite"
    with Store(old) as store:
        store.put(record)
    with Store(other) as store:
        store.merge(old)
    for path in (old, other):
        file = Database(path)
        assert file.distributions() == {("fake", "new"): "somebody 1.2 fake"}
        file.close()


@pytest.mark.parametrize("value", ["char(27) || '[2J'", "printf('%.*c', 300, 'x')", "x'00ff'"])
def test_a_hostile_distribution(tmp_path, record, value):
    """A distribution that could drive a terminal is left aside with one warning; the record still answers and is writable."""
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.put(record)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"UPDATE kernels SET distribution = {value}")
    connection.close()
    file = Database(path)
    with pytest.warns(TunedbWarning, match="distribution must be printable text"):
        assert file.distributions() == {}
    assert file.record(record.problem, "h200") == record
    file.close()
    with Store(path) as store:
        assert store.put(record)
