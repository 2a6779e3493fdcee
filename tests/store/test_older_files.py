"""Files of older schema versions: they are read, and merged from, as they are."""

import shutil
import warnings
from pathlib import Path

import pytest
from older_files import VERSION1, everything, names, version

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.errors import DatabaseError
from tunedb.store.files import reload
from tunedb.store.read import Database
from tunedb.store.rows import RECORD_SELECT
from tunedb.store.schema import VERSION
from tunedb.store.write import Merged, Store

# What the file of version 1 holds, as the code that wrote it read it.
KEPT = {"records": 3, "candidates": [0, 1, 2], "devices": {"4090", "h200"}, "layers": ["kb57", "kb81"]}


@pytest.mark.parametrize("immutable", [False, True])
def test_is_read_as_it_is(old, record, candidate, immutable):
    """Every question to a file of version 1 is answered, from a read-only file too, and no byte of it changes."""
    old.chmod(0o444)
    before, status = old.read_bytes(), old.stat()
    records, devices, suites = everything(old, immutable=immutable)
    assert len(records) == KEPT["records"]
    assert records[record][1] == candidate
    assert sorted(map(len, records.values())) == KEPT["candidates"]
    assert set(devices) == KEPT["devices"]
    assert [suite_id for _, suite_id, _ in suites] == KEPT["layers"]
    file = Database(old, immutable=immutable)
    assert file.record(record.problem, "h200") == record
    assert len(file.sizes(record.problem)) == 3
    assert file.layer(record.problem, "h200") == [record]
    assert file.measured_problems(record.problem, "h200") == [record.problem]
    assert file.distributions() == {}
    with pytest.raises(DatabaseError):
        file._rows("DELETE FROM main.records", ())
    file.close()
    assert old.read_bytes() == before
    assert (old.stat().st_mtime_ns, old.stat().st_ino) == (status.st_mtime_ns, status.st_ino)
    assert names(old.parent) == ["old.sqlite"]


@pytest.mark.parametrize("ship", [False, True])
def test_answers_lookups(shelf, fake_kernel, record, ship):
    """A file of version 1 answers in the tier `exact`, without a warning, as the user's file and as a shipped one."""
    path = shelf.folder / ("h200.sqlite" if ship else "user.sqlite")
    shutil.copy(VERSION1, path)
    if ship:
        shelf.shipped["h200"] = path
    before = path.read_bytes()
    reload()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = answer(record.problem, by_slug("h200"))
    assert (found.tier, found.record) == ("exact", record)
    assert path.read_bytes() == before
    reload()


def test_reading_uses_the_index(old, problem):
    """A problem of an older file is found by its index, as in a file of the newest version."""
    file = Database(old)
    where = " AND ".join(f"p.{name} = ?" for name in problem._fields)
    plan = file._rows(
        f"EXPLAIN QUERY PLAN {RECORD_SELECT} WHERE {where} AND r.device = ?", (*problem, "h200")
    )
    file.close()
    details = [row[3] for row in plan]
    assert details[0].startswith("SEARCH p USING"), details
    assert all(detail.startswith("SEARCH") for detail in details), details


def test_is_merged_from_as_it_is(tmp_path, old, record):
    """A merge takes all of a read-only file of version 1, does not touch it, and gives what its migrated copy gives."""
    old.chmod(0o444)
    before = old.read_bytes()
    migrated = Path(shutil.copy(old, tmp_path / "migrated.sqlite"))
    migrated.chmod(0o644)
    Store(migrated).close()
    assert (version(old), version(migrated)) == (1, VERSION)
    for source in (old, migrated):
        with Store(tmp_path / f"from {source.name}") as store:
            assert store.merge(source) == Merged(3, 0)
    assert old.read_bytes() == before
    assert everything(tmp_path / "from old.sqlite") == everything(old)
    assert (tmp_path / "from old.sqlite").read_bytes() == (tmp_path / "from migrated.sqlite").read_bytes()


def test_a_damaged_older_file_is_refused(old, record):
    """A damaged file of version 1 is named with what to do and left as it was, by readers, writers and merges."""
    data = bytearray(old.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    old.write_bytes(data)
    for use in (Database, Store):
        with pytest.raises(DatabaseError, match="must be a sound SQLite file"):
            file = use(old)
            file.records()
    with Store(old.with_name("a.sqlite")) as store:
        store.put(record)
        with pytest.raises(DatabaseError, match="must be a sound SQLite file"):
            store.merge(old)
    assert list(everything(old.with_name("a.sqlite"))[0]) == [record]
    assert old.read_bytes() == data


@pytest.mark.parametrize("kept", sorted(VERSION1.parent.glob("version*.sqlite")), ids=lambda path: path.stem)
def test_every_version_that_was_kept(tmp_path, kept):
    """The file of each older version is read, merged from and migrated, with the same rows each time."""
    path = Path(shutil.copy(kept, tmp_path / "old.sqlite"))
    before = everything(path, immutable=True)
    assert version(path) == int(kept.stem.removeprefix("version")) < VERSION
    assert len(before[0]) >= KEPT["records"]
    with Store(tmp_path / "merged.sqlite") as store:
        store.merge(path)
    Store(path).close()
    assert everything(tmp_path / "merged.sqlite") == everything(path) == before
