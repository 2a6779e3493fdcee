"""A file that cannot be read now is looked at again: when it is free, and when it was changed."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
import warnings

import pytest

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.store import files
from tunedb.store.read import Database
from tunedb.store.write import Store

H200 = by_slug("h200")
KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE records SET tuned_at = 'half written ' || printf('%.*c', 100, 'x')")
connection.execute("CREATE TABLE more AS SELECT * FROM records AS a, records AS b")
os._exit(9)
"""


@pytest.fixture
def half_written(shelf, record):
    """A file whose last writer was killed after it had changed the file, and before it had committed."""
    with Store(shelf.user) as store:
        for n in range(1, 101):
            store.put(record._replace(problem=record.problem._replace(n=n)))
    files.reload()
    subprocess.run([sys.executable, "-c", KILLED, shelf.user], check=False)
    assert (shelf.folder / "user.sqlite-journal").stat().st_size > 512
    return shelf.user


def tier(problem):
    return answer(problem, H200).tier


def test_a_lock_at_opening_passes(shelf, record, fake_kernel):
    """A file that was locked when a process first looked answers as soon as the lock is gone; later looks do not wait."""
    shelf.put(record)
    writer = sqlite3.connect(shelf.user, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.warns(TunedbWarning, match="Another process holds it"):
        assert tier(record.problem) == "aten"
    begun = time.perf_counter()
    assert [tier(record.problem) for _ in range(3)] == ["aten"] * 3
    assert time.perf_counter() - begun < 0.3
    writer.execute("ROLLBACK")
    assert tier(record.problem) == "exact"
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.warns(TunedbWarning, match="Another process holds it"):
        assert tier(record.problem) == "aten"
    writer.close()
    assert tier(record.problem) == "exact"


@pytest.mark.parametrize("first", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_mended_in_place(shelf, record, fake_kernel, first):
    """A file that was first seen empty, foreign or damaged answers when its bytes are put right, in the same inode."""
    sound = shelf.put(record).read_bytes()
    shelf.user.write_bytes(first)
    with pytest.warns(TunedbWarning, match="The next tier answers") as caught:
        assert [tier(record.problem) for _ in range(3)] == ["aten"] * 3
    assert len(caught) == 1
    shelf.user.write_bytes(sound)
    assert tier(record.problem) == "exact"


def test_a_file_that_breaks_while_it_is_open_and_is_mended(shelf, record, fake_kernel):
    """A file that was damaged after it was opened answers again when it is mended."""
    sound = shelf.put(record).read_bytes()
    assert tier(record.problem) == "exact"
    shelf.user.write_bytes(b"\xff" * len(sound))
    with pytest.warns(TunedbWarning, match="must be a sound SQLite file"):
        assert tier(record.problem) == "aten"
    shelf.user.write_bytes(sound)
    assert tier(record.problem) == "exact"


def test_a_lasting_failure_is_not_looked_at_again(shelf, record, fake_kernel, monkeypatch):
    """A damaged file costs the next lookups one look at its times, and no opening."""
    shelf.put(record).write_text("no database")
    os.utime(shelf.user, (1, 1))
    with pytest.warns(TunedbWarning, match="must be a sound SQLite file"):
        tier(record.problem)
    monkeypatch.setattr(files, "Database", None)
    assert tier(record.problem) == "aten"


def test_a_killed_writer_costs_nothing(half_written, record, fake_kernel):
    """What a killed writer left is undone by the next reader: every record answers, and the journal is gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tier(record.problem) == "exact"
        found = Database(half_written).records()
    assert len(found) == 100
    assert {one.tuned_at for one in found} == {record.tuned_at}
    assert not half_written.with_name("user.sqlite-journal").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_killed_writer_where_nothing_may_be_written(half_written, record, fake_kernel, tmp_path):
    """Who may not write the file is told what is so and who can help; the file answers when that was done."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    half_written.with_name("user.sqlite-journal").chmod(0o644)
    os.seteuid(65534)
    try:
        with pytest.warns(TunedbWarning, match="a process was killed while it wrote .* run `tunedb ls"):
            assert tier(record.problem) == "aten"
        os.seteuid(0)
        assert len(Database(half_written).records()) == 100
        os.seteuid(65534)
        assert tier(record.problem) == "exact"
    finally:
        os.seteuid(0)


@pytest.mark.filterwarnings("ignore::tunedb.errors.TunedbWarning")
def test_a_journal_that_names_another_file(half_written, record, fake_kernel, tmp_path):
    """A journal made to delete a file is refused, for reading and for writing; that file stays."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    name = str(victim).encode()
    journal = half_written.with_name("user.sqlite-journal")
    with journal.open("ab") as file:
        page = (0x40000000 // 4096 + 1).to_bytes(4, "big")
        ends = len(name).to_bytes(4, "big") + (sum(name) % 2**32).to_bytes(4, "big")
        file.write(page + name + ends + bytes.fromhex("d9d505f920a163d7"))
    assert tier(record.problem) == "aten"
    for opening in (Database, Store):
        with pytest.raises(DatabaseError, match="names a second file"):
            opening(half_written)
    assert victim.exists()


def test_reload_lets_lookups_in_flight_end(shelf, record, fake_kernel):
    """While one thread reloads again and again, the lookups of others answer as ever, without a warning."""
    shelf.put(record)
    shelf.put(record, ship="h200")
    end, wrong = threading.Event(), []

    def look():
        while not end.is_set():
            try:
                found = tier(record.problem)
            except (TunedbWarning, OSError, sqlite3.Error) as error:
                found = repr(error)
            if found != "exact":
                wrong.append(found)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        files.reload()
        time.sleep(0.001)
    end.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forgotten_file_is_closed(shelf, record):
    """After a reload nobody holds the file's connection any more."""
    shelf.put(record)
    (file,) = files.opened("h200")
    connection = file._connection
    files.reload()
    assert len(file.records()) == 1
    del file
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
