"""A file of an older schema version is migrated on a copy before anything is written to it."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from older_files import everything, names, version

from tunedb.errors import DatabaseError
from tunedb.store import migrate_file, open_for_writing
from tunedb.store.read import Database
from tunedb.store.schema import VERSION, definitions
from tunedb.store.write import Store

# What the file of version 1 holds, as the code that wrote it read it.
KEPT = {"records": 3, "candidates": [0, 1, 2], "devices": {"4090", "h200"}, "layers": ["kb57", "kb81"]}


def test_is_migrated_before_it_is_written(old, fake_kernel, record):
    """Writing to a file of version 1 migrates it: nothing is lost, its declarations are the newest, and one file is there."""
    before = everything(old)
    old.chmod(0o640)
    with Store(old) as store:
        assert everything(old) == before
        assert store.put(record._replace(kernel="aten", config="{}", kernel_hash="aten", device="h100"))
    found = everything(old)
    assert set(before[0]) < set(found[0])
    assert len(found[0]) == KEPT["records"] + 1
    assert version(old) == VERSION
    assert old.stat().st_mode & 0o777 == 0o640
    assert names(old.parent) == ["old.sqlite"]
    connection = sqlite3.connect(old)
    rows = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')")
    assert {name: (kind, sql) for name, kind, sql in rows} == definitions()
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_link_stays_a_link(tmp_path, old, record):
    """Behind a symbolic link the file itself is migrated."""
    link = tmp_path / "link.sqlite"
    link.symlink_to(old)
    Store(link).close()
    assert link.is_symlink()
    assert (version(link), version(old)) == (VERSION, VERSION)
    assert len(everything(link)[0]) == KEPT["records"]


STEPS = ("_make_copy", "migrate", "mismatch", "_sync")


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_leaves_the_old_file(old, monkeypatch, step):
    """If a step of the migration fails, the old file keeps every byte, still answers, and no copy stays."""

    def fail(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    before = old.read_bytes()
    monkeypatch.setattr(migrate_file, step, fail)
    with pytest.raises(DatabaseError, match="on a disk with space left"):
        Store(old)
    assert old.read_bytes() == before
    assert names(old.parent) == ["old.sqlite"]
    assert len(everything(old)[0]) == KEPT["records"]
    monkeypatch.undo()
    Store(old).close()
    assert version(old) == VERSION


KILLED = """
import os, signal, sys
from pathlib import Path
from tunedb.store import migrate_file
from tunedb.store.write import Store

real = getattr(migrate_file, sys.argv[2])
def kill(*args, **named):
    real(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(migrate_file, sys.argv[2], kill)
Store(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_the_old_file(old, step):
    """A process that is killed during a migration leaves the old file whole, and the next writer migrates it."""
    before = old.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(old), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert old.read_bytes() == before
    assert names(old.parent) == ["old.sqlite", "old.sqlite.migrating"]
    assert len(everything(old)[0]) == KEPT["records"]
    Store(old).close()
    assert version(old) == VERSION
    assert names(old.parent) == ["old.sqlite"]
    assert len(everything(old)[0]) == KEPT["records"]


def _put(path, number, record, barrier):
    barrier.wait()
    with Store(path) as store:
        store.put(record._replace(problem=record.problem._replace(n=100 + number)))


def test_writers_that_begin_together_lose_nothing(old, record):
    """Of four processes that open a file of version 1 at once one migrates it, and what each of them writes is kept."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    processes = [context.Process(target=_put, args=(old, number, record, barrier)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert {found.problem.n for found in everything(old)[0]} == {16, 100, 101, 102, 103}
    assert version(old) == VERSION
    assert names(old.parent) == ["old.sqlite"]


def test_a_writer_of_an_older_tunedb_is_stopped(old):
    """A program that opened the file before it was migrated gets an error for its next record, and may still read."""
    other = sqlite3.connect(old, isolation_level=None)
    assert other.execute("SELECT count(*) FROM records").fetchone() == (3,)
    Store(old).close()
    with pytest.raises(sqlite3.IntegrityError, match="replaced by one of a newer tunedb"):
        other.execute(
            "INSERT INTO records SELECT * FROM records WHERE true ON CONFLICT DO UPDATE SET trials = 1"
        )
    assert other.execute("SELECT count(*) FROM records").fetchone() == (3,)
    other.close()
    assert version(old) == VERSION
    assert names(old.parent) == ["old.sqlite"]


def test_a_writer_that_is_busy_is_waited_for(old, monkeypatch):
    """While another program writes to the file it is not migrated; the error says that the other holds it."""
    monkeypatch.setattr(open_for_writing, "LOCK_SECONDS", 0.05)
    other = sqlite3.connect(old, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="Another process holds it"):
        Store(old)
    other.execute("UPDATE records SET trials = 77")
    other.execute("COMMIT")
    other.close()
    assert version(old) == 1
    Store(old).close()
    assert {found.trials for found in everything(old)[0]} == {77}


def test_a_reader_keeps_what_it_opened(old, record):
    """A file that is open for reading while it is migrated still answers."""
    reader = Database(old)
    Store(old).close()
    assert reader.record(record.problem, "h200") == record
    reader.close()


def test_a_store_follows_a_file_that_is_replaced(tmp_path, old, record):
    """A store whose file was replaced writes to the new file, and one whose file was deleted makes it again."""
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.put(record)
        old.replace(path)
        store.put(record._replace(device="h100"))
        assert version(path) == VERSION
        assert len(everything(path)[0]) == KEPT["records"] + 1
        path.unlink()
        store.put(record)
    assert list(everything(path)[0]) == [record]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END", "must have no triggers"),
        ("DROP VIEW winners", "its view winners must be declared"),
        ("ALTER TABLE kernels ADD COLUMN distribution TEXT NOT NULL DEFAULT ''", "its table kernels must be"),
        ("ALTER TABLE records ADD COLUMN evil AS (hex(config))", "its table records must be"),
    ],
)
def test_a_hostile_older_file_is_not_migrated(old, statement, message):
    """A file of version 1 that is not declared as version 1 was is refused, and not a byte of it changes."""
    connection = sqlite3.connect(old, isolation_level=None)
    connection.execute(statement)
    connection.close()
    before = old.read_bytes()
    with pytest.raises(DatabaseError, match=message):
        Store(old)
    assert old.read_bytes() == before
    assert names(old.parent) == ["old.sqlite"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_is_read_only(old):
    """Where no copy can be made the old file is refused for writing, is left as it was, and is still read."""
    for folder in (old.parent, *old.parent.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    old.chmod(0o666)
    before = old.read_bytes()
    os.seteuid(65534)
    try:
        with pytest.raises(DatabaseError, match=r"must be (readable, and its folder )?writable"):
            Store(old)
        assert len(everything(old)[0]) == KEPT["records"]
    finally:
        os.seteuid(0)
    assert old.read_bytes() == before


def test_a_file_is_not_replaced_while_others_open_it(old, monkeypatch):
    """While another process begins a transaction the file is not replaced, and a writer waits while it is replaced."""
    monkeypatch.setattr(open_for_writing, "LOCK_SECONDS", 0.05)
    before = old.read_bytes()
    for exclusive in (False, True):
        with (
            migrate_file.folder_lock(old, 1.0, exclusive=exclusive),
            pytest.raises(DatabaseError, match="Another process holds it"),
        ):
            Store(old)
    assert old.read_bytes() == before
    Store(old).close()
    assert version(old) == VERSION
