import contextlib
import itertools
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunedb.errors import DatabaseError
from tunedb.problem import DTYPES, Problem
from tunedb.record import PROVENANCES, Measurement, Record, Tried
from tunedb.store.read import Database
from tunedb.store.write import Merged, Store
from tunedb.suite import load_suite, problems

TIMES = st.floats(1e-3, 1e9)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20)


@st.composite
def records(draw):
    dtype = draw(st.sampled_from(DTYPES))
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    problem = Problem(
        "conv1d", dtype, draw(st.sampled_from(["tf32", "ieee"])) if dtype == "float32" else "ieee", "channels_first",
        draw(st.integers(0, 3)), 4, 8, draw(st.sampled_from([1, 2, 4])), draw(st.integers(0, 1)),
        1, 1, draw(st.integers(5, 2**31 - 5)), 1, 1, kernel, 1, 1, stride, 0, 0, draw(st.integers(0, 2)), 0, 0, 0, 1, 1, 1,
    )  # fmt: skip
    return Record(
        problem, draw(st.sampled_from(["h200", "4090", "some-other-gpu"])), draw(st.sampled_from(["fake", "aten"])), draw(TEXT),
        draw(TIMES), *draw(st.tuples(*[st.none() | TIMES] * 3)), draw(TIMES), *draw(st.tuples(*[st.none() | TIMES] * 2)),
        draw(st.sampled_from(PROVENANCES)), draw(st.integers(0, 9999)), *draw(st.tuples(*[TEXT] * 5)),
        draw(st.dates()).isoformat(),
    )  # fmt: skip


COUNTS = st.none() | st.integers(0, 2**31)
MEASUREMENTS = st.builds(
    Measurement, st.just("ok"), *[st.none() | TIMES] * 4, *[COUNTS] * 3, TEXT, *[COUNTS] * 3
)
CANDIDATES = st.builds(Tried, st.just("fake"), TEXT, MEASUREMENTS)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def stored(path):
    file = Database(path)
    try:
        return {record: tuple(file.top(record.problem, record.device)) for record in file.records()}
    finally:
        file.close()


@settings(max_examples=40, deadline=None)
@given(record=records(), top=st.lists(CANDIDATES, max_size=4))
def test_round_trip(record, top):
    """A record and its candidates come back as they were put."""
    with folder() as tmp, Store(tmp / "a.sqlite") as store:
        assert store.put(record, top)
        assert stored(tmp / "a.sqlite") == {record: tuple(top)}


@settings(max_examples=25, deadline=None)
@given(found=st.lists(records(), max_size=6), seed=st.randoms(use_true_random=False))
def test_merge_order_does_not_matter(found, seed):
    """Files merged in any order, or twice, hold the same records, and a copy of them the same bytes."""
    with folder() as tmp:
        paths = [tmp / f"{number}.sqlite" for number in range(3)]
        for path in paths:
            with Store(path) as store:
                for record in seed.sample(found, seed.randint(0, len(found))):
                    store.put(record)
        copies = []
        for order in itertools.islice(itertools.permutations(paths), 3):
            name = f"merged{len(copies)}.sqlite"
            with Store(tmp / name) as store:
                for path in [*order, order[0]]:
                    store.merge(path)
            with Store(tmp / f"copy of {name}") as store:
                store.merge(tmp / name)
            copies.append(tmp / f"copy of {name}")
        assert stored(copies[0]) == stored(copies[1]) == stored(copies[2])
        assert copies[0].read_bytes() == copies[1].read_bytes() == copies[2].read_bytes()


@pytest.mark.parametrize("known", PROVENANCES)
@pytest.mark.parametrize("new", PROVENANCES)
def test_provenance(tmp_path, record, candidate, known, new):
    """A lower provenance never replaces a higher one, however fast; the same or a higher one always does, however slow."""
    worse, better = (
        PROVENANCES.index(new) > PROVENANCES.index(known),
        record._replace(provenance=known, time_us=50.0),
    )
    late = record._replace(provenance=new, time_us=1.0 if worse else 99.0)
    with Store(tmp_path / "a.sqlite") as store:
        assert store.put(better, [candidate])
        assert store.put(late, []) is not worse
    assert stored(tmp_path / "a.sqlite") == ({better: (candidate,)} if worse else {late: ()})


def test_stale_measured_stands_over_predicted(tmp_path, fake_kernel, record):
    """Even a stale measured record is not replaced by a prediction: pruning it is a decision of its own."""
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record._replace(kernel_hash="old"))
        assert not store.put(record._replace(provenance="predicted"))
        assert store.prune_stale() == 1
        assert store.put(record._replace(provenance="predicted"))


def test_prune_keeps_what_is_fresh(tmp_path, fake_kernel, record, candidate):
    """Pruning removes records and candidates of changed and of unknown kernels, and nothing else."""
    fresh = record._replace(device="4090")
    with Store(tmp_path / "a.sqlite") as store:
        store.put(fresh, [candidate])
        store.put(record._replace(kernel_hash="old"), [candidate])
        store.put(record._replace(device="h100", kernel="gone"))
        assert store.prune_stale() == 2
    assert stored(tmp_path / "a.sqlite") == {fresh: (candidate,)}
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        assert connection.execute("SELECT name, hash FROM kernels").fetchall() == [("fake", "new")]
        assert connection.execute("SELECT count(*) FROM measurements").fetchone() == (1,)


def test_bad_record_is_refused(tmp_path, record):
    """A record with an impossible value is refused by name and the file stays as it was."""
    with (
        Store(tmp_path / "a.sqlite") as store,
        pytest.raises(DatabaseError, match="time_us must be a finite number above 0, but got nan"),
    ):
        store.put(record._replace(time_us=float("nan")))
    assert stored(tmp_path / "a.sqlite") == {}


def test_failure_half_way_keeps_the_older_record(tmp_path, monkeypatch, record, candidate):
    """A put that fails half-way changes nothing."""
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record, [candidate])
        monkeypatch.setattr(Store, "_kernel_id", None)  # a programming error after the first statements
        with pytest.raises(TypeError):
            store.put(record._replace(time_us=1.0), [candidate])
        monkeypatch.undo()
        assert store.put(record._replace(device="4090"))
    assert record in stored(tmp_path / "a.sqlite")


def test_detail_is_made_storable(tmp_path, record, candidate):
    """What a compiler said over many lines is stored as one; a candidate that cannot be stored never costs a record."""
    said = candidate._replace(
        measurement=candidate.measurement._replace(detail="error:\n\x1b[31m" + "x" * 9999)
    )
    with Store(tmp_path / "a.sqlite") as store:
        assert store.put(
            record, [said, candidate._replace(measurement=candidate.measurement._replace(error=float("nan")))]
        )
    ((kept,),) = stored(tmp_path / "a.sqlite").values()
    assert kept.measurement.detail.startswith("error:  [31mxxx")


def test_suites_share_records(tmp_path, record):
    """Layers of a suite that are the same problem share its record, in every dtype and layout."""
    entries = load_suite("models")
    chosen = problems(entries[:8], ["float16", "bfloat16"], ["channels_first"])
    with Store(tmp_path / "a.sqlite") as store:
        store.add_suite("models", entries[:8])
        store.add_suite("twice", [entries[0]._replace(id="again")])
        for problem in chosen:
            store.put(record._replace(problem=problem))
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        rows = connection.execute(
            "SELECT suite, suite_id, dtype, n FROM suite_winners WHERE suite = 'twice'"
        ).fetchall()
        assert sorted(rows) == [("twice", "again", "bfloat16", 1), ("twice", "again", "float16", 1)]
        assert connection.execute("SELECT count(*) FROM suite_winners").fetchone() == (18,)
        assert connection.execute("SELECT count(*) FROM winners").fetchone() == (len(chosen),)


def test_shipped_form(tmp_path, record):
    """A closed file is one file, with a rollback journal and no free pages."""
    with Store(tmp_path / "a.sqlite") as store:
        for n in range(200):
            store.put(record._replace(problem=record.problem._replace(n=n)))
        store.put(record)
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_wal_file_is_taken_back(tmp_path, record):
    """A file that somebody put into WAL mode gets its rollback journal back."""
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record)
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record)
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_merge_takes_the_better_record(tmp_path, record, candidate):
    """Merging takes the higher provenance, then the newer record, with candidates and suites, and counts both."""
    mine, theirs = tmp_path / "mine.sqlite", tmp_path / "theirs.sqlite"
    older = record._replace(tuned_at="2025-01-01T00:00:00+00:00", time_us=1.0)
    predicted = record._replace(device="4090", provenance="predicted", tuned_at="2027-01-01T00:00:00+00:00")
    with Store(theirs) as store:
        store.put(record, [candidate])
        store.put(predicted)
        store.add_suite("kernelbench", load_suite("kernelbench"))
    with Store(mine) as store:
        store.put(older)
        store.put(predicted._replace(provenance="measured"))
        assert store.merge(theirs) == Merged(1, 1)
    assert stored(mine) == {record: (candidate,), predicted._replace(provenance="measured"): ()}
    with sqlite3.connect(mine) as connection:
        assert connection.execute("SELECT count(*) FROM suites").fetchone() == (37,)
    with Store(mine) as store, pytest.raises(DatabaseError, match="there is none at"):
        store.merge(tmp_path / "nowhere.sqlite")


@pytest.mark.filterwarnings("ignore::tunedb.errors.TunedbWarning")
@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE devices SET name = CAST(x'ff' AS TEXT)",
        "INSERT INTO devices VALUES (NULL, 'none', 90)",
        "INSERT INTO devices VALUES (x'00ff', 'none', 90)",
        "INSERT INTO devices VALUES ('h201', char(27), 90)",
        "UPDATE devices SET capability = 9223372036854775807",
    ],
)
def test_merge_checks_the_rows_of_devices(tmp_path, record, spoil):
    """A device that cannot be is left aside as any other row is, and the records are taken."""
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record)
    with contextlib.closing(sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)) as connection:
        connection.execute(spoil)
    with Store(tmp_path / "b.sqlite") as store:
        assert store.merge(tmp_path / "a.sqlite") == Merged(1, 0)
    file = Database(tmp_path / "b.sqlite")
    assert file.records() == [record]
    assert file.devices() == {"h200": ("NVIDIA H200", 90)}
