"""What a lookup takes from files that are made to keep it busy, or are only large."""

import time
import warnings

import pytest

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.errors import TunedbWarning
from tunedb.store import budget
from tunedb.store.budget import one_lookup
from tunedb.store.read import NEAREST, Database

H200 = by_slug("h200")


@pytest.fixture
def attacks(scripts):
    return scripts("fuzz.large_files").ATTACKS


def torchs(record):
    return record._replace(kernel="aten", config="{}", kernel_hash="aten")


@pytest.mark.parametrize("name", ["many problems of one layer", "a kernel name of 900 KB", "valid rows"])
@pytest.mark.filterwarnings("ignore::tunedb.errors.TunedbWarning")
def test_a_file_that_takes_long(shelf, record, fake_kernel, attacks, name):
    """Whatever a file holds, a lookup ends within 2 seconds, in bfloat16 too, and a known problem has its exact answer."""
    attacks[name](shelf.user, torchs(record), rows=6_000)
    near = record.problem._replace(in_w=record.problem.in_w + 1, n=1010, in_h=1010)
    for problem in (
        record.problem,
        near,
        near._replace(dtype="bfloat16", precision="ieee"),
        near._replace(c_out=128),
    ):
        begun = time.perf_counter()
        found = answer(problem, H200)
        assert time.perf_counter() - begun < 2.0
        if problem == record.problem:
            assert found.tier == "exact"


def test_a_large_file_gives_its_nearest_rows(shelf, record, fake_kernel, attacks, monkeypatch):
    """A layer with more rows than a lookup reads gives those around the batch that is asked for, without a warning."""
    monkeypatch.setattr(budget, "LOOKUP_SECONDS", 60.0)  # of a slow machine too
    attacks["valid rows"](shelf.user, torchs(record), rows=6_000)
    file = Database(shelf.user)
    asked = record.problem._replace(n=1012, in_h=1100, in_w=record.problem.in_w + 1)
    with warnings.catch_warnings(), one_lookup():
        warnings.simplefilter("error")
        found = file.layer(asked, "h200")
        assert len(found) == 2 * NEAREST
        assert {one.problem.n for one in found} == set(range(1008, 1016))
        assert answer(asked, H200).tier == "near"
    assert len(file.records()) == 6_000


def test_all_queries_of_a_lookup_share_one_budget(shelf, record, monkeypatch):
    """A file that takes all the time it may leaves some for the next one, and the whole lookup ends in time."""
    monkeypatch.setattr(budget, "LOOKUP_SECONDS", 0.4)
    shelf.put(record)
    file = Database(shelf.user)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    begun = time.perf_counter()
    with one_lookup(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(10):
            assert file._rows(endless, ()) == []
        assert file.record(record.problem, "h200") == record
    (warning,) = caught
    assert warning.category is TunedbWarning
    assert "must be quick to read" in str(warning.message)
    assert time.perf_counter() - begun < 0.4 + 11 * 0.05


def test_rows_and_bytes_are_counted(shelf, record):
    """A query in a lookup ends at its share of rows and of text."""
    shelf.put(record)
    file = Database(shelf.user)
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT i{} FROM n"
    with one_lookup():
        assert len(file._rows(rows.format(""), ())) == budget.LOOKUP_ROWS // 2
    with one_lookup():
        assert len(file._rows(rows.format(", printf('%.*c', 100000, 'x')"), ())) == 80
    assert len(file._rows(rows.format(""), ())) == 100_000


@pytest.mark.filterwarnings("ignore::tunedb.errors.TunedbWarning")
def test_one_long_value_costs_one_row(shelf, record, attacks):
    """A value beyond what a row may hold is cut in SQL: the other rows are read by the same query."""
    attacks["many problems of one layer"](shelf.user, torchs(record), rows=50)
    with one_lookup():
        assert len(Database(shelf.user).layer(record.problem, "h200")) == 49
