"""That a new migration needs no code but its own statements."""

import shutil
import sqlite3
from pathlib import Path

from tunedb.store import schema
from tunedb.store.read import Database
from tunedb.store.schema import VERSION, Migration, definitions, views_of_newest
from tunedb.store.write import Store

VERSION1 = Path(__file__).parent / "data" / "version1.sqlite"

NEXT = Migration(
    "next",
    (
        "ALTER TABLE records ADD COLUMN ties TEXT",
        "ALTER TABLE records ADD COLUMN rounds INTEGER NOT NULL DEFAULT 7",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
    ),
)


def test_the_next_migration_needs_no_more_than_its_statements(tmp_path, monkeypatch, record):
    """One entry in MIGRATIONS is enough: older files are read with its defaults as they are, and are migrated to it."""
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT))
    old = Path(shutil.copy(VERSION1, tmp_path / "old.sqlite"))
    before = old.read_bytes()
    asked = (
        "SELECT ties, rounds, typeof(rounds) FROM records",
        "SELECT distribution FROM kernels",
        "SELECT id, text FROM notes",
    )
    found = []
    for _ in range(2):
        file = Database(old)
        found.append([file._rows(sql, ()) for sql in asked])
        assert file.record(record.problem, "h200") == record
        file.close()
        if len(found) == 1:
            assert old.read_bytes() == before
            Store(old).close()
    assert found[0] == found[1] == [[(None, 7, "integer")] * 3, [("",)], []]
    with sqlite3.connect(old) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)


def test_every_migration_can_be_read_before_it_ran():
    """Migrations keep the columns of older versions, so that an older file can be read as it is."""
    for number in range(1, VERSION + 1):
        connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate(connection, schema.MIGRATIONS[:number])
        for statement in views_of_newest(number):
            connection.execute(statement)
        for table in [name for name, (kind, _) in definitions(number).items() if kind == "table"]:
            older, newest = (
                [row[1] for row in connection.execute(f"PRAGMA {place}.table_info({table})")]
                for place in (
                    "main",
                    "temp" if f"VIEW {table} " in " ".join(views_of_newest(number)) else "main",
                )
            )
            assert set(older) <= set(newest), f"{table} loses columns after version {number}"
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []
        connection.close()
