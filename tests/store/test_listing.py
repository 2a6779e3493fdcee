import pytest

from tunedb.errors import DatabaseError, SuiteError
from tunedb.store.listing import count, counts_table, find, show, shown_text
from tunedb.store.write import Store
from tunedb.suite import load_suite

pytestmark = pytest.mark.usefixtures("fake_kernel")


def test_count(shelf, record):
    """Records are counted by file, device and operation, with wins, the mean gain and what is stale."""
    aten = record._replace(
        problem=record.problem._replace(n=2), kernel="aten", config="{}", kernel_hash="aten", aten_us=100.0
    )
    old = record._replace(problem=record.problem._replace(n=3), kernel_hash="old", aten_us=400.0)
    path = shelf.put(record, aten, old, record._replace(device="4090", provenance="predicted", aten_us=None))
    rows = count([path])
    assert [row[1:] for row in rows] == [
        ("4090", "conv_transpose2d", 1, 0, 1, 0, None, 0),  # a prediction beats nothing
        ("h200", "conv_transpose2d", 3, 3, 0, 2, pytest.approx(2.0), 1),
    ]
    assert counts_table(rows).splitlines() == [
        str(path),
        "device  op                records  measured  predicted  beat aten  speed-up  stale",
        "4090    conv_transpose2d        1         0          1                           0",
        "h200    conv_transpose2d        3         3          0          2      2.00      1",
    ]


def test_show(shelf, record, candidate):
    """A layer shows its records in every dtype and on every device, with candidates and without a doubt about staleness."""
    half = record._replace(
        problem=record.problem._replace(dtype="float16", precision="ieee"), device="4090", kernel_hash="old"
    )
    with Store(shelf.user) as store:
        store.put(record, [candidate, candidate])
        store.put(half)
        store.put(record._replace(problem=record.problem._replace(n=2)))
    found = show(record.problem, [shelf.user])
    assert {shown.record for shown in found} == {record, half}
    assert [shown.record for shown in show(record.problem, [shelf.user], "4090")] == [half]
    text = "\n".join(map(shown_text, found))
    assert "4090, measured, stale: its kernel has changed: fake 100.0 us, aten 200.0 us (2.00 times)" in text
    assert "2 tied    110.0  109.0  111.0  3.0e-04        128       0    4096  fake    " in text


def test_find(shelf, record):
    """An id is found in the shipped suites and in the suites that were swept into a file."""
    assert [problem.input_shape for problem in find("kb81", [])] == [(16, 32, 64, 128)]
    with Store(shelf.user) as store:
        store.add_suite("mine", [load_suite("kernelbench")[0]._replace(id="own")])
    assert [problem.c_out for problem in find("own", [shelf.user])] == [96]
    with pytest.raises(SuiteError, match="an id must stand in a suite"):
        find("own", [])


def test_unreadable(tmp_path):
    """A file that cannot be read is an error here: listing it is what was asked."""
    for ask in (count, lambda paths: find("kb81", paths)):
        with pytest.raises(DatabaseError, match="there is none at"):
            ask([tmp_path / "missing.sqlite"])
