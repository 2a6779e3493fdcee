"""The schema of a database file: named migrations, each one transaction, and the views that people query.

docs/developers/change-the-schema.md says step by step how to add a migration.
"""

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
    "is_older",
    "migrate",
    "mismatch",
    "version_of",
    "views_of_newest",
]

# The word "tune" in bytes 68 to 71 of the file's header. SQLite reserves these bytes for telling one program's files
# from another's.
APPLICATION_ID = 0x74756E65


class Migration(NamedTuple):
    """A step from one version to the next.

    Never change the statements of a shipped migration: files in use were made with them. Add a new one instead.
    It may add tables, and columns that are nullable or have a default; other changes need a new way of reading older
    files (see views_of_newest).
    """

    name: str
    statements: tuple[str, ...]


# The sizes of a problem, without dtype, precision and layout, in the order of the class Problem.
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
        # The unique index also serves as the index of three queries, by its first columns: a whole problem, every
        # problem of a layer (op to dilation), and every problem of the same sizes (op to bias).
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
        # The best few of a sweep, the best as rank 1, so that they can be timed again without a new search.
        """CREATE TABLE measurements (
            problem_id INTEGER NOT NULL REFERENCES problems (id),
            device TEXT NOT NULL REFERENCES devices (slug),
            rank INTEGER NOT NULL,
            kernel_id INTEGER NOT NULL REFERENCES kernels (id),
            config TEXT NOT NULL,
            status TEXT NOT NULL, time_us REAL, time_us_low REAL, time_us_high REAL, error REAL,
            shared INTEGER, registers INTEGER, spills INTEGER, detail TEXT NOT NULL,
            PRIMARY KEY (problem_id, device, rank))""",
        # Sizes and no problem_id: a layer of a suite stands for its problems in every dtype, precision and layout.
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

_DISTRIBUTIONS = Migration(
    "distributions",
    # Kernels may come from other distributions. Who merges a file sees here which one to install ("somebody 1.2"); empty
    # where it is not known.
    ("ALTER TABLE kernels ADD COLUMN distribution TEXT NOT NULL DEFAULT ''",),
)

_TIMING = Migration(
    "timing",
    # How far a time may be trusted: repetitions that count, those that were dropped because the host was late, and the clock of
    # the multiprocessors in MHz; null where it is not known.
    tuple(
        f"ALTER TABLE measurements ADD COLUMN {column}"
        for column in ("rounds INTEGER", "late INTEGER", "clock_mhz INTEGER")
    ),
)

_PROFILES = Migration(
    "profiles",
    # ncu's counters of a winner: JSON, as tunedb/store/profile.py writes it. Kernel, hash and config say of what; a record that has another
    # winner since has no profile.
    (
        """CREATE TABLE profiles (
            problem_id INTEGER NOT NULL REFERENCES problems (id),
            device TEXT NOT NULL REFERENCES devices (slug),
            kernel TEXT NOT NULL, config TEXT NOT NULL, kernel_hash TEXT NOT NULL,
            launches TEXT NOT NULL, ncu TEXT NOT NULL, profiled_at TEXT NOT NULL,
            PRIMARY KEY (problem_id, device))""",
    ),
)

MIGRATIONS = (_ANSWERS, _DISTRIBUTIONS, _TIMING, _PROFILES)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] | None = None) -> list[str]:
    """Run the migrations that a database lacks, and return their names.

    The connection must be in autocommit mode (isolation_level None). If a migration fails, the database keeps the
    version before it. Raises DatabaseError: for a newer version than this code knows.
    """
    steps = MIGRATIONS if migrations is None else migrations
    ran: list[str] = []
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read the version inside the transaction: another process may have migrated the file in the meantime.
            version = version_of(connection)
            if version > len(steps):
                raise DatabaseError(
                    f"the schema version must be at most {len(steps)}, but the file has {version}: update tunedb."
                )
            if version == len(steps):
                return ran
            for statement in steps[version].statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
            ran.append(steps[version].name)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def mismatch(connection: sqlite3.Connection, *, for_writing: bool = False) -> str:
    """Return why this code cannot use a file, or an empty string. A file of an older version can be used.

    Every table must be declared exactly as the migrations up to the file's version declare it. This keeps a file from
    passing off a view, a virtual table or a generated column as one of our tables. For writing, the views must be ours
    too, and triggers are refused because they would run with each write. Raises sqlite3.Error: for a damaged file.
    """
    why = _foreign(connection)
    if why:
        return why
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, name, sql in connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type <> 'index'"
    ):
        if for_writing and kind == "trigger":
            return f"it must have no triggers, but it has {name!r:.80}: drop that or name another file"
        found.setdefault(name, []).append((kind, sql))
    for name, (kind, sql) in definitions(version_of(connection)).items():
        if (kind == "table" or for_writing) and found.get(name) != [(kind, sql)]:
            return f"its {kind} {name} must be declared as tunedb declares it, but is not: name another file"
    return ""


def definitions(version: int | None = None) -> dict[str, tuple[str, str]]:
    """Return the type and SQL text of each table and view of a version, by name; by default of the newest."""
    return _definitions(MIGRATIONS[:version])


def views_of_newest(version: int) -> tuple[str, ...]:
    """Return statements that let one connection read an older file as if it had the newest tables.

    They create temporary views, which SQLite keeps outside the file. Each view has the name of a table: SQLite finds
    it before the file's own table. A column that the file lacks has its default, as it would after a migration, and a
    table that the file lacks has no rows.
    """
    return _views(MIGRATIONS[:version], MIGRATIONS)


def is_new(connection: sqlite3.Connection) -> bool:
    """Return whether a file is an empty SQLite database, in which tunedb may create its tables."""
    tables, application = (
        connection.execute(sql).fetchone()[0]
        for sql in ("SELECT count(*) FROM sqlite_master", "PRAGMA application_id")
    )
    return not tables and not application and not version_of(connection)


def is_older(connection: sqlite3.Connection) -> bool:
    """Return whether a file lacks migrations."""
    return version_of(connection) < len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of a file: how many migrations it has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _foreign(connection: sqlite3.Connection) -> str:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        return "it must be a tunedb database, but another program made it: name another file"
    version, newest = version_of(connection), len(MIGRATIONS)
    if version > newest:
        return f"its schema version must be at most {newest}, but it is {version}: update tunedb"
    if version < 1:
        return f"its schema version must be from 1 to {newest}, but it is {version}: name another file"
    return ""


@functools.cache
def _definitions(migrations: tuple[Migration, ...]) -> dict[str, tuple[str, str]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, migrations)
        rows = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')")
        return {name: (kind, sql) for name, kind, sql in rows}
    finally:
        connection.close()


@functools.cache
def _views(older: tuple[Migration, ...], newest: tuple[Migration, ...]) -> tuple[str, ...]:
    known, statements = _columns(older), []
    for table, columns in _columns(newest).items():
        there = known.get(table, {})
        if there == columns:
            continue
        values = ", ".join(
            name if name in there else f"{default} AS {name}" for name, default in columns.items()
        )
        origin = f"FROM main.{table}" if there else "WHERE 0"
        statements.append(f"CREATE TEMP VIEW {table} AS SELECT {values} {origin}")
    return tuple(statements)


def _columns(migrations: tuple[Migration, ...]) -> dict[str, dict[str, str]]:
    """Return the columns of each table with their defaults as SQL text."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, migrations)
        tables = [name for name, (kind, _) in _definitions(migrations).items() if kind == "table"]
        return {
            table: {row[1]: row[4] or "NULL" for row in connection.execute(f"PRAGMA table_info({table})")}
            for table in tables
        }
    finally:
        connection.close()
