"""The shape of a database file: small named migrations, each one transaction, and the views that people query."""

import functools
import sqlite3
from typing import NamedTuple

from tunedb.errors import DatabaseError

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "VERSION",
    "Migration",
    "definitions",
    "is_new",
    "migrate",
    "mismatch",
]

APPLICATION_ID = (
    0x74756E65  # "tune": SQLite's place in the header for telling one program's files from another's
)


class Migration(NamedTuple):
    """A step from one version to the next. Its statements are frozen once shipped: a change is a new migration."""

    name: str
    statements: tuple[str, ...]


# Sizes of a problem without dtype, precision and layout, in the order of the class Problem.
_SIZES = (
    "n", "c_in", "c_out", "groups", "bias", "in_d", "in_h", "in_w", "k_d", "k_h", "k_w", "stride_d", "stride_h", "stride_w",
    "padding_d", "padding_h", "padding_w", "output_padding_d", "output_padding_h", "output_padding_w",
    "dilation_d", "dilation_h", "dilation_w",
)  # fmt: skip
_SIZE_COLUMNS = ", ".join(f"{size} INTEGER NOT NULL" for size in _SIZES)
_PROBLEM_COLUMNS = ", ".join(f"p.{name}" for name in ("op", "dtype", "precision", "layout", *_SIZES))
_SAME_SIZES = " AND ".join(f"w.{name} = s.{name}" for name in ("op", *_SIZES))

_ANSWERS = Migration(
    "answers",
    (
        f"PRAGMA application_id = {APPLICATION_ID}",
        "CREATE TABLE devices (slug TEXT PRIMARY KEY, name TEXT NOT NULL, capability INTEGER NOT NULL)",
        # The unique index serves three queries by its prefixes: a whole problem, every problem of a layer
        # (op to dilation), and every problem of a suite's sizes (op to bias).
        f"""CREATE TABLE problems (
            id INTEGER PRIMARY KEY,
            op TEXT NOT NULL, dtype TEXT NOT NULL, precision TEXT NOT NULL, layout TEXT NOT NULL, {_SIZE_COLUMNS},
            UNIQUE (op, c_in, c_out, groups, k_d, k_h, k_w, stride_d, stride_h, stride_w,
                    dilation_d, dilation_h, dilation_w, n, in_d, in_h, in_w, padding_d, padding_h, padding_w,
                    output_padding_d, output_padding_h, output_padding_w, bias, dtype, precision, layout))""",
        """CREATE TABLE kernels (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, UNIQUE (name, hash))""",
        """CREATE TABLE records (
            problem_id INTEGER NOT NULL REFERENCES problems (id),
            device TEXT NOT NULL REFERENCES devices (slug),
            kernel_id INTEGER NOT NULL REFERENCES kernels (id),
            config TEXT NOT NULL,
            time_us REAL NOT NULL, time_us_low REAL, time_us_high REAL, aten_us REAL, floor_us REAL NOT NULL,
            error REAL, aten_error REAL,
            provenance TEXT NOT NULL, trials INTEGER NOT NULL,
            triton TEXT NOT NULL, torch TEXT NOT NULL, cudnn TEXT NOT NULL, driver TEXT NOT NULL,
            tuned_at TEXT NOT NULL,
            PRIMARY KEY (problem_id, device))""",
        # The best few of a sweep, rank 1 first, so that they can be timed again without a new search.
        """CREATE TABLE measurements (
            problem_id INTEGER NOT NULL REFERENCES problems (id),
            device TEXT NOT NULL REFERENCES devices (slug),
            rank INTEGER NOT NULL,
            kernel_id INTEGER NOT NULL REFERENCES kernels (id),
            config TEXT NOT NULL,
            status TEXT NOT NULL, time_us REAL, time_us_low REAL, time_us_high REAL, error REAL,
            shared INTEGER, registers INTEGER, spills INTEGER, detail TEXT NOT NULL,
            PRIMARY KEY (problem_id, device, rank))""",
        # By sizes, not by problem_id: a layer of a suite means every dtype, precision and memory layout of it.
        f"""CREATE TABLE suites (
            suite TEXT NOT NULL, suite_id TEXT NOT NULL, op TEXT NOT NULL, {_SIZE_COLUMNS},
            PRIMARY KEY (suite, suite_id))""",
        f"""CREATE VIEW winners AS SELECT
            r.device, {_PROBLEM_COLUMNS}, k.name AS kernel, r.config,
            r.time_us, r.time_us_low, r.time_us_high, r.aten_us, r.floor_us, r.error, r.aten_error,
            r.provenance, r.trials, k.hash AS kernel_hash, r.triton, r.torch, r.cudnn, r.driver, r.tuned_at
            FROM records AS r JOIN problems AS p ON p.id = r.problem_id JOIN kernels AS k ON k.id = r.kernel_id""",  # noqa: S608 (column names of our own)
        f"""CREATE VIEW suite_winners AS SELECT s.suite, s.suite_id, w.*
            FROM suites AS s JOIN winners AS w ON {_SAME_SIZES}""",  # noqa: S608 (column names of our own)
    ),
)

MIGRATIONS = (_ANSWERS,)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[str]:
    """Bring a file up to date and return the names of the migrations that ran.

    The connection is in autocommit mode (isolation_level None). A migration that fails leaves the file at the
    version before it. Raises DatabaseError: for a newer version than this code knows.
    """
    ran: list[str] = []
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read inside the transaction: another process may have migrated the file meanwhile.
            version = _version(connection)
            if version > len(migrations):
                raise DatabaseError(
                    f"the schema version must be at most {len(migrations)}, but the file has {version}: update tunedb."
                )
            if version == len(migrations):
                return ran
            for statement in migrations[version].statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
            ran.append(migrations[version].name)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def mismatch(connection: sqlite3.Connection, *, for_writing: bool = False) -> str:
    """Return why a file cannot be used with this code, or an empty string.

    Every table must be declared exactly as the migrations declare it, so that a view, a virtual table or a
    generated column under one of their names is never queried. For writing, the views must be ours too and
    there may be no triggers, which would run with what is written. Raises sqlite3.Error: for a damaged file.
    """
    why = foreign(connection)
    if why:
        return why
    version = _version(connection)
    if version < VERSION:
        return f"its schema version must be {VERSION}, but it is {version}: `tunedb merge` it into a new file"
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, name, sql in connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type <> 'index'"
    ):
        if for_writing and kind == "trigger":
            return f"it must have no triggers, but it has {name!r:.80}: drop that or name another file"
        found.setdefault(name, []).append((kind, sql))
    for name, (kind, sql) in definitions().items():
        if (kind == "table" or for_writing) and found.get(name) != [(kind, sql)]:
            return f"its {kind} {name} must be declared as tunedb declares it, but is not: name another file"
    return ""


@functools.cache
def definitions() -> dict[str, tuple[str, str]]:
    """Return type and SQL text of each table and view of the newest version, by name."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection)
        rows = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')")
        return {name: (kind, sql) for name, kind, sql in rows}
    finally:
        connection.close()


def foreign(connection: sqlite3.Connection) -> str:
    """Return why a file is not ours, or is newer than this code, or an empty string."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        return "it must be a tunedb database, but another program made it: name another file"
    version = _version(connection)
    if version > VERSION:
        return f"its schema version must be at most {VERSION}, but it is {version}: update tunedb"
    return ""


def is_new(connection: sqlite3.Connection) -> bool:
    """Return whether a file is an empty SQLite database, so that it may become ours."""
    tables, application = (
        connection.execute(sql).fetchone()[0]
        for sql in ("SELECT count(*) FROM sqlite_master", "PRAGMA application_id")
    )
    return not tables and not application and not _version(connection)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
