import random
import shutil
import sqlite3
import tempfile
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.store import budget, connection
from tunedb.store.read import Database
from tunedb.store.schema import VERSION
from tunedb.store.write import Store
from tunedb.suite import load_suite


@pytest.fixture(scope="module")
def filled(tmp_path_factory, record, candidate):
    """A file with the record in ten batch sizes on two devices."""
    path = tmp_path_factory.mktemp("filled") / "a.sqlite"
    with Store(path) as store:
        for n in range(1, 11):
            for device in ("h200", "4090"):
                store.put(record._replace(device=device, problem=record.problem._replace(n=n)), [candidate])
        store.add_suite("kernelbench", load_suite("kernelbench"))
    return path


@pytest.fixture
def path(tmp_path, filled):
    found = tmp_path / "a.sqlite"
    shutil.copy(filled, found)
    return found


def execute(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)
    connection.close()


def read_everything(path, problem):
    """Ask every question there is."""
    file = Database(path)
    try:
        file.record(problem, "h200")
        file.layer(problem)
        file.layer(problem, "h200")
        file.sizes(problem)
        file.measured_problems(problem, "h200")
        file.top(problem, "h200")
        file.devices()
        file.suites()
        return file.records()
    finally:
        file.close()


def test_reads(path, problem, record, candidate):
    """Each question gives the rows it is about, and no others."""
    file = Database(path, immutable=True)
    known = record._replace(problem=problem._replace(n=3))
    assert file.record(known.problem, "h200") == known
    assert file.record(known.problem, "h100") is None
    assert file.record(known.problem._replace(precision="ieee"), "h200") is None
    assert len(file.layer(problem)) == 20
    assert {found.device for found in file.layer(problem, "4090")} == {"4090"}
    assert file.layer(problem._replace(c_in=64)) == []
    assert file.sizes(known.problem._replace(dtype="float16", precision="ieee")) == file.sizes(known.problem)
    assert len(file.sizes(known.problem)) == 2
    assert sorted(file.measured_problems(problem, "h200")) == [problem._replace(n=n) for n in range(1, 11)]
    assert file.top(known.problem, "h200") == [candidate]
    assert file.devices() == {"h200": ("NVIDIA H200", 90), "4090": ("NVIDIA GeForce RTX 4090", 89)}
    assert len(file.suites()) == 37
    file.close()


@pytest.mark.parametrize(
    "name", ["a b?mode=rw.sqlite", "50%.sqlite", "a#b.sqlite", "ünï.sqlite", "file:x.sqlite"]
)
def test_any_file_name(tmp_path, path, problem, record, name):
    """A file name with the characters of a URL is a file name."""
    strange = tmp_path / name
    path.rename(strange)
    assert len(read_everything(strange, problem)) == 20
    assert sorted(found.name for found in tmp_path.iterdir()) == [name]


def test_nothing_is_written(path, problem):
    """Reading leaves every byte of the file as it was, and no file beside it."""
    before = path.read_bytes()
    read_everything(path, problem)
    with pytest.raises(DatabaseError, match="readonly"):
        Database(path)._rows("DELETE FROM records", ())
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "there is none at"),
        (lambda path: path.write_bytes(b""), "another program made it"),
        (lambda path: path.write_text("no database"), "must be a sound SQLite file"),
        (lambda path: path.write_bytes(b"\0" * 100_000), "must be a sound SQLite file"),
        (
            lambda path: execute(path, "PRAGMA user_version = 99"),
            f"at most {VERSION}, but it is 99: update tunedb",
        ),
        (
            lambda path: execute(path, "PRAGMA application_id = 7"),
            "another program made it: name another file",
        ),
        (lambda path: execute(path, "DROP TABLE kernels"), "its table kernels must be declared"),
        (
            lambda path: execute(
                path,
                "PRAGMA foreign_keys = OFF",
                "DROP TABLE records",
                "CREATE VIEW records AS SELECT load_extension('evil') AS config",
            ),
            "its table records must be declared",
        ),
    ],
)
def test_unusable_file(path, spoil, message):
    """A file that is missing, damaged, foreign, newer or false is refused in one sentence that names it."""
    spoil(path)
    with pytest.raises(DatabaseError, match=message) as raised:
        Database(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_views_are_not_trusted(path, problem):
    """A view `winners` that lies or calls a function changes nothing: the tables are read."""
    execute(path, "DROP VIEW winners", "CREATE VIEW winners AS SELECT load_extension('evil') AS device")
    assert len(read_everything(path, problem)) == 20


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET time_us = -1 WHERE problem_id = 1",
        "UPDATE records SET time_us = 9e999 WHERE problem_id = 1",
        "UPDATE records SET time_us = 'fast' WHERE problem_id = 1",
        "UPDATE records SET config = x'00ff' WHERE problem_id = 1",
        "UPDATE records SET config = CAST(x'ff' AS TEXT) WHERE problem_id = 1",
        "UPDATE records SET config = printf('%.*c', 2000000, 'x') WHERE problem_id = 1",
        "UPDATE records SET trials = 9223372036854775807 WHERE problem_id = 1",
        "UPDATE records SET provenance = 'sworn' WHERE problem_id = 1",
        "UPDATE records SET tuned_at = char(27) || '[2J' WHERE problem_id = 1",
        "UPDATE problems SET in_w = 9223372036854775807 WHERE id = 1",
        "UPDATE problems SET in_d = 7 WHERE id = 1",
        "UPDATE problems SET padding_h = 'x' WHERE id = 1",
    ],
)
def test_hostile_row(path, problem, statement):
    """A row that cannot be is left aside with one warning, whatever is asked; all other rows answer."""
    execute(path, statement)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(read_everything(path, problem)) == 18
    assert [warning.category for warning in caught] == [TunedbWarning]
    assert str(path) in str(caught[0].message)


@pytest.mark.filterwarnings("ignore::tunedb.errors.TunedbWarning")
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 40), length=st.none() | st.floats(0, 1))
def test_damaged_files(filled, problem, seed, flips, length):
    """Whatever bits are flipped and wherever a file ends, reading gives sound records or a DatabaseError."""
    data, chance = bytearray(filled.read_bytes()), random.Random(seed)
    for _ in range(flips):
        at = chance.choice(
            [
                chance.randrange(len(data)),
                chance.randrange(200),
                4096 * chance.randrange(len(data) // 4096) + chance.randrange(16),
            ]
        )
        data[at] ^= 1 << chance.randrange(8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.sqlite"
        path.write_bytes(data if length is None else data[: int(length * len(data))])
        try:
            for record in read_everything(path, problem):
                assert record.time_us > 0
        except DatabaseError as error:
            assert str(path) in str(error)  # noqa: PT017 (sound records are right too)


def test_slow_file(path, problem, monkeypatch):
    """A query that does not end is ended."""
    file = Database(path)
    monkeypatch.setattr(budget, "QUERY_SECONDS", 0.05)
    with pytest.raises(DatabaseError, match="interrupted"):
        file._rows(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", ()
        )
    assert len(file.records()) == 20


def test_locked_file(path, problem, monkeypatch):
    """While a writer commits, reading fails with that reason, and works again after it."""
    monkeypatch.setattr(connection, "LOCK_SECONDS", 0.01)
    file = Database(path)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseError, match="Another process holds it"):
        file.records()
    writer.execute("ROLLBACK")
    writer.close()
    assert len(file.records()) == 20


def test_threads(path, problem):
    """Threads share one open file."""
    file, found = Database(path), []
    threads = [
        threading.Thread(target=lambda: found.extend(len(file.layer(problem)) for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 80
