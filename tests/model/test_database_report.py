"""What is said of database files: groups, their means, the best and the worst, by hand."""

import pytest

from tunedb.errors import DatabaseError
from tunedb.model.database_report import database_report
from tunedb.store.write import Store


def sized(record, n, **changes):
    return record._replace(problem=record.problem._replace(n=n), **changes)


def test_groups_and_totals(shelf, fake_kernel, timed):
    """Means are geometric; torch's own wins, stale records and predictions are counted apart."""
    torch = sized(timed, 3, kernel="aten", config="{}", kernel_hash="aten", time_us=800.0, aten_us=800.0)
    half = timed.problem._replace(dtype="float16", precision="ieee")
    predicted = timed._replace(problem=half, provenance="predicted", aten_us=None)
    path = shelf.put(timed, sized(timed, 2, aten_us=8000.0, kernel_hash="old"), torch, predicted)
    found = database_report([path], date="2026-11-26")
    assert [(one.dtype, one.provenance, one.records) for one in found.groups] == [
        ("float16", "predicted", 1),
        ("float32", "measured", 3),
    ]
    guessed, measured = found.groups
    assert (guessed.compared, guessed.speedup) == (0, None)
    assert guessed.floor_share == pytest.approx(0.4)
    assert (measured.stale, measured.compared, measured.torch_kernel) == (1, 3, 1)
    assert measured.speedup == pytest.approx(16 ** (1 / 3))  # of 2, 8 and 1
    assert measured.floor_share == pytest.approx((0.4 * 0.4 * 0.5) ** (1 / 3))
    total = found.totals
    assert (total.device, total.dtype, total.provenance) == ("h200", "", "")
    assert (total.records, total.compared) == (4, 3)
    assert total.floor_share == measured.floor_share  # the prediction is not in it


def test_a_prediction_is_not_compared_even_with_a_time_of_torch(shelf, fake_kernel, timed):
    """A predicted record whose file holds a time of torch gives no speed-up."""
    found = database_report([shelf.put(timed._replace(provenance="predicted"))])
    assert found.totals.speedup is None
    assert found.best == ()


def test_best_and_worst(shelf, fake_kernel, timed):
    """Ten are best and ten are worst; none is both, and the worst begins with the slowest."""
    path = shelf.put(*(sized(timed, n, aten_us=1000.0 * n) for n in range(1, 15)))
    found = database_report([path])
    assert [round(one.speedup) for one in found.best] == list(range(14, 4, -1))
    assert [round(one.speedup) for one in found.worst] == [1, 2, 3, 4]


def test_of_equal_ones_the_worst_is_farthest_from_the_floor(shelf, fake_kernel, timed):
    """Among those that torch won, the one with the most room above the floor comes first."""
    wins = [sized(timed, n, kernel="aten", config="{}", kernel_hash="aten", aten_us=1000.0, floor_us=100.0 * n) for n in (3, 1, 2)]  # fmt: skip
    better = [sized(timed, 10 + n) for n in range(10)]
    found = database_report([shelf.put(*wins, *better)])
    assert [one.record.problem.n for one in found.worst] == [1, 2, 3]


def test_the_file_in_front_counts(shelf, fake_kernel, timed, tmp_path):
    """Of two records of a problem the first file's counts, unless the second's provenance is better."""
    first, second = tmp_path / "1.sqlite", tmp_path / "2.sqlite"
    for path, records in (
        (first, [timed, sized(timed, 2, provenance="predicted", aten_us=None)]),
        (second, [timed._replace(aten_us=9000.0), sized(timed, 2)]),
    ):
        with Store(path) as store:
            for record in records:
                store.put(record)
    found = database_report([first, second])
    assert (found.totals.records, found.totals.provenance) == (2, "measured")
    assert found.totals.speedup == pytest.approx(2.0)


def test_one_device_only(shelf, fake_kernel, timed):
    """With a device only its records are looked at."""
    path = shelf.put(timed, timed._replace(device="4090"))
    assert [one.device for one in database_report([path]).groups] == ["4090", "h200"]
    assert [one.device for one in database_report([path], device="4090").groups] == ["4090"]


def test_records_have_the_ids_of_suites(shelf, fake_kernel, timed, layer):
    """A record is named as the suites of the file name its sizes, whatever its dtype."""
    path = shelf.put(timed)
    with Store(path) as store:
        store.add_suite("mine", [layer])
    assert database_report([path]).best[0].names == ("mine L1",)


def test_empty_and_missing(shelf, tmp_path):
    """No files and empty files give an empty report; a file that is not there is an error."""
    path = shelf.put()
    for paths in ([], [path]):
        found = database_report(paths)
        assert (found.groups, found.best, found.worst, found.totals.records) == ((), (), (), 0)
    with pytest.raises(DatabaseError, match="there is none at"):
        database_report([tmp_path / "missing.sqlite"])
