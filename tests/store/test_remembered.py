"""What a lookup remembers of a file, and what makes it ask again."""

import shutil
import sqlite3
import threading

import pytest

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.store import budget, files, remembered
from tunedb.store.connection import Connection
from tunedb.store.write import Store

H200 = by_slug("h200")
pytestmark = pytest.mark.usefixtures("fake_kernel")


@pytest.fixture
def asked(monkeypatch):
    """The queries that SQLite was asked."""
    found, rows = [], Connection._rows

    def counted(self, sql, *args):
        found.append(sql)
        return rows(self, sql, *args)

    monkeypatch.setattr(Connection, "_rows", counted)
    return found


def of_length(problem, width):
    return problem._replace(in_w=width)


def put(path, *records):
    with Store(path) as store:
        for record in records:
            store.put(record)


def execute(path, statement, *arguments):
    """Write as another process does: Store would let this one forget the file."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute(statement, arguments)
    connection.close()


@pytest.mark.parametrize("ship", [None, "h200"])
def test_a_layer_is_read_once(shelf, record, asked, ship):
    """All lengths of a layer are answered from what the first one read, the recorded length too."""
    shelf.put(record, ship=ship)
    assert answer(of_length(record.problem, 120), H200).tier == "near"
    before = len(asked)
    for width in range(100, 140):
        found = answer(of_length(record.problem, width), H200)
        assert found.tier == ("exact" if width == record.problem.in_w else "near")
    assert len(asked) == before


def test_a_class_is_read_once(shelf, record, asked):
    """What was measured of an op, dtype, precision and layout is read once for all of its layers; of another dtype by itself."""
    shelf.put(record)

    def class_reads(problem):
        before = len(asked)
        answer(problem, H200)
        return sum("CROSS JOIN" in sql for sql in asked[before:])

    layers = [record.problem._replace(c_out=70 + number) for number in range(3)]
    assert [class_reads(one) for one in layers] == [2, 0, 0]
    assert class_reads(layers[0]._replace(dtype="float16", precision="ieee")) == 2


@pytest.mark.parametrize("most", [1, 2])
def test_a_class_of_very_many_is_read_for_each_layer(shelf, record, asked, monkeypatch, most):
    """Of more than a file gives at once only those nearest to the asking problem come."""
    monkeypatch.setattr(remembered, "NEAREST", most)
    shelf.put(record)
    layers = [record.problem._replace(c_out=70 + number) for number in range(2)]
    for one in layers:
        answer(one, H200)
    before = len(asked)
    answer(layers[0]._replace(c_out=99), H200)
    assert sum("CROSS JOIN" in sql for sql in asked[before:]) == (2 if most == 1 else 0)


def test_what_another_process_writes_is_seen(shelf, record):
    """A row that another process adds to a user's file, changes in it or removes answers from the next lookup on."""
    shelf.put(record, record._replace(problem=of_length(record.problem, 120), device="4090"))
    asked_for = of_length(record.problem, 120)
    assert answer(asked_for, H200).tier == "near"
    execute(shelf.user, "UPDATE records SET device = 'h200', time_us = 7.0 WHERE device = '4090'")
    found = answer(asked_for, H200)
    assert (found.tier, found.record.time_us) == ("exact", 7.0)
    for time_us in (6.0, 5.0):
        execute(shelf.user, "UPDATE records SET time_us = ? WHERE device = 'h200'", time_us)
        assert answer(asked_for, H200).record.time_us == time_us
    execute(shelf.user, "DELETE FROM records")
    assert answer(asked_for, H200).tier == "aten"


def test_a_file_that_is_replaced_or_removed_is_seen(shelf, record, tmp_path):
    """A file that took a user's file's place answers, a copy that was written over it too, and a removed one no more."""
    shelf.put(record)
    asked_for = of_length(record.problem, 120)
    new, again = tmp_path / "new.sqlite", tmp_path / "again.sqlite"
    put(new, record._replace(time_us=3.0))
    shutil.copy(new, again)
    put(again, record._replace(time_us=2.0))
    assert answer(asked_for, H200).record.time_us == record.time_us
    new.replace(shelf.user)
    assert answer(asked_for, H200).record.time_us == 3.0
    shutil.copyfile(again, shelf.user)
    assert answer(asked_for, H200).record.time_us == 2.0
    shelf.user.unlink()
    assert answer(asked_for, H200).tier == "aten"


def test_shipped_files_are_read_again_after_reload(shelf, record):
    """reload() forgets what was read of a shipped file, which is taken never to change otherwise."""
    shelf.put(record, ship="h200")
    asked_for = of_length(record.problem, 120)
    assert answer(asked_for, H200).record.time_us == record.time_us
    execute(shelf.shipped["h200"], "UPDATE records SET time_us = 3.0")
    assert answer(asked_for, H200).record.time_us == record.time_us
    files.reload()
    assert answer(asked_for, H200).record.time_us == 3.0


def test_an_answer_that_was_cut_short_is_not_kept(shelf, record, asked, monkeypatch):
    """Where the budget of a lookup ends a query, the next lookup asks again and may get all."""
    shelf.put(*(record._replace(problem=of_length(record.problem, 100 + width)) for width in range(40)))
    monkeypatch.setattr(budget, "LOOKUP_ROWS", 8)
    monkeypatch.setattr(budget, "_LEAST_ROWS", 4)
    for _ in range(2):
        before = len(asked)
        answer(of_length(record.problem, 99), H200)
        assert len(asked) > before


def test_what_is_kept_is_bounded(shelf, record, monkeypatch):
    """Layers without end do not fill the memory."""
    shelf.put(record)
    monkeypatch.setattr(remembered, "ROWS_KEPT", 50)
    for channels in range(1, 200):
        answer(record.problem._replace(c_in=channels), H200)
        (file,) = files.opened("h200")
        assert len(file.kept.answers) <= 50


def test_without_a_lookup_the_file_is_asked(shelf, record, asked):
    """A command gets what is in the file now."""
    shelf.put(record)
    (file,) = files.opened("h200")
    for _ in range(2):
        assert remembered.layer(file, record.problem, "h200") == [record]
    assert len(asked) == 4


def test_threads_see_what_is_written(shelf, record):
    """Eight threads that plan while a file is written all end with its last state, and none fails."""
    shelf.put(record)
    failures, done = [], threading.Event()

    def look(first):
        try:
            while not done.is_set():
                for width in range(first, 140, 8):
                    assert answer(of_length(record.problem, width), H200).tier in {"near", "exact"}
        except Exception as error:  # noqa: BLE001 (told by the test itself)
            failures.append(error)

    threads = [threading.Thread(target=look, args=(100 + number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for time_us in range(1, 6):
        execute(shelf.user, "UPDATE records SET time_us = ?", float(time_us))
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert answer(of_length(record.problem, 120), H200).record.time_us == 5.0
