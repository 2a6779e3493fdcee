import sqlite3

import pytest

from tunedb.errors import DatabaseError
from tunedb.store import schema
from tunedb.store.schema import VERSION, Migration, definitions, migrate, mismatch
from tunedb.store.write import Store


@pytest.fixture
def connection():
    opened = sqlite3.connect(":memory:", isolation_level=None)
    yield opened
    opened.close()


def columns(connection, view):
    return [column[0] for column in connection.execute(f"SELECT * FROM {view}").description]


def test_winners_columns(connection, record):
    """The view `winners` has the columns of the contract, in its order, and `suite_winners` two more in front."""
    migrate(connection)
    sizes = [
        f"{name}_{axis}"
        for name in ("in", "k", "stride", "padding", "output_padding", "dilation")
        for axis in "dhw"
    ]
    expected = [
        "device",
        "op",
        "dtype",
        "precision",
        "layout",
        "n",
        "c_in",
        "c_out",
        "groups",
        "bias",
        *sizes,
    ]
    expected += [
        "kernel",
        "config",
        "time_us",
        "time_us_low",
        "time_us_high",
        "aten_us",
        "floor_us",
        "error",
        "aten_error",
    ]
    expected += ["provenance", "trials", "kernel_hash", "triton", "torch", "cudnn", "driver", "tuned_at"]
    assert columns(connection, "winners") == expected == list(record.row())
    assert columns(connection, "suite_winners") == ["suite", "suite_id", *expected]


def test_migrations_run_once_and_in_order(connection):
    """Each migration runs once, in order, and leaves its number in user_version."""
    steps = (Migration("one", ("CREATE TABLE a (x)",)), Migration("two", ("ALTER TABLE a ADD COLUMN y",)))
    assert migrate(connection, steps[:1]) == ["one"]
    assert migrate(connection, steps) == ["two"]
    assert migrate(connection, steps) == []
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 2


def test_failing_migration_leaves_nothing(connection):
    """A migration that fails half-way leaves the file at the version before it."""
    good, bad = (
        Migration("good", ("CREATE TABLE a (x)",)),
        Migration("bad", ("CREATE TABLE b (x)", "CREATE TABLE a (x)")),
    )
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (good, bad))
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master")] == ["a"]
    assert not connection.in_transaction


def test_newer_version_is_not_migrated(connection):
    """A newer file is refused with its version, what is allowed and the remedy."""
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(DatabaseError, match=f"at most {VERSION}, but the file has 99: update tunedb"):
        migrate(connection)


def test_file_is_recognised_by_its_header(tmp_path):
    """A database carries tunedb's application id where SQLite keeps it, at byte 68 of the file."""
    with Store(tmp_path / "a.sqlite"):
        pass
    assert (tmp_path / "a.sqlite").read_bytes()[68:72] == b"tune" == schema.APPLICATION_ID.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("statements", "reading", "writing"),
    [
        ([], "", ""),
        (["CREATE TABLE notes (x)", "CREATE INDEX fast ON records (device)"], "", ""),
        (["CREATE TRIGGER t AFTER INSERT ON records BEGIN SELECT 1; END"], "", "no triggers"),
        (
            ["DROP VIEW winners", "CREATE VIEW winners AS SELECT load_extension('x') AS device"],
            "",
            "its view winners",
        ),
        (
            ["DROP TABLE records", "CREATE VIEW records AS SELECT 1 AS problem_id"],
            "its table records",
            "its table records",
        ),
        (["DROP TABLE kernels"], "its table kernels", "its table kernels"),
        (["ALTER TABLE records ADD COLUMN evil AS (hex(config))"], "its table records", "its table records"),
        (["PRAGMA application_id = 1"], "another program", "another program"),
        (
            ["PRAGMA user_version = 99"],
            f"at most {VERSION}, but it is 99: update tunedb",
            f"at most {VERSION}, but it is 99: update tunedb",
        ),
        (
            ["PRAGMA user_version = 0"],
            f"from 1 to {VERSION}, but it is 0",
            f"from 1 to {VERSION}, but it is 0",
        ),
        (["PRAGMA user_version = 1"], "must be declared as tunedb", "must be declared as tunedb"),
    ],
)
def test_mismatch(connection, statements, reading, writing):
    """A file is read only where our tables are as we declare them, and written only where views and triggers are too."""
    migrate(connection)
    for statement in statements:
        connection.execute(statement)
    for text, why in ((reading, mismatch(connection)), (writing, mismatch(connection, for_writing=True))):
        assert text in why
        assert bool(text) == bool(why)


def test_definitions_are_those_of_a_vacuumed_file(tmp_path, record):
    """Writing and compacting a file keeps its declarations letter by letter."""
    with Store(tmp_path / "a.sqlite") as store:
        store.put(record)
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        found = connection.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"
        )
        assert {name: (kind, sql) for name, kind, sql in found} == definitions()
