"""A file that cannot be written is left as it was, and the message says why."""

import os
import sqlite3

import pytest

from tunedb.errors import DatabaseError
from tunedb.store import open_for_writing as module
from tunedb.store.read import Database
from tunedb.store.schema import VERSION
from tunedb.store.write import Store


def stored(path):
    file = Database(path)
    try:
        return {record: tuple(file.top(record.problem, record.device)) for record in file.records()}
    finally:
        file.close()


def damaged(path):
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)


def newer(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def trigger(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damaged, "must be a sound SQLite file"),
        (lambda path: path.write_bytes(b"not a database " * 400), "must be a sound SQLite file"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "must be a sound SQLite file"),
        (newer, f"must be at most {VERSION}, but it is 99: update tunedb"),
        (foreign, "must be a tunedb database, but another program made it: name another file"),
        (trigger, "must have no triggers"),
    ],
)
def test_unusable_file_is_left_as_it_was(tmp_path, record, spoil, message):
    """A damaged, newer, foreign or hostile file is refused in one sentence and not a byte of it changes."""
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.put(record)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=message) as raised:
        Store(path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_places_that_cannot_be(tmp_path):
    """A folder that is missing, or given for a file, is named with what to do."""
    with pytest.raises(DatabaseError, match="must lie in a folder that exists"):
        Store(tmp_path / "missing" / "a.sqlite")
    with pytest.raises(DatabaseError, match=r"must be a file, but .* is a folder"):
        Store(tmp_path)


def test_own_folder_is_made(tmp_path, monkeypatch, record):
    """The folder of the user's own database is made when it is first written."""
    path = tmp_path / "data" / "tunedb" / "tunedb.sqlite"
    monkeypatch.setattr(module, "user_file", lambda: path)
    with Store(path) as store:
        store.put(record)
    assert list(stored(path)) == [record]


def test_locked_file(tmp_path, monkeypatch, record):
    """A file that another process holds is reported as such, and free again once that has ended."""
    path = tmp_path / "a.sqlite"
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    with Store(path) as store:
        store.put(record)
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="Another process holds it"):
            store.put(record._replace(time_us=1.0))
        with pytest.raises(DatabaseError, match="Another process holds it"):
            Store(path)
        other.close()
        assert store.put(record._replace(time_us=2.0))
    assert [found.time_us for found in stored(path)] == [2.0]


def test_file_that_becomes_read_only(tmp_path, record):
    """A write that SQLite refuses as read-only is reported with the remedy, and nothing is lost."""
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record)
        store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(DatabaseError, match=r"must be writable, but .*name another file"):
            store.put(record._replace(time_us=1.0))
    assert list(stored(tmp_path / "a.sqlite")) == [record]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_read_only_file(tmp_path, record):
    """A read-only file is refused when it is opened, before a sweep spends any time on it."""
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.put(record)
    # Pytest's folders, one more of them under xdist, may be entered by their owner only.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    path.chmod(0o644)
    os.seteuid(65534)
    try:
        with pytest.raises(DatabaseError, match="must be writable"):
            Store(path)
        assert list(stored(path)) == [record]
    finally:
        os.seteuid(0)
