"""Ways in which a database file may be wrong: its bytes, its rows, and the journal beside it."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

__all__ = ["MUTATIONS", "mutate"]

PAGE = 4096
VALUES = (
    "NULL", "0", "-1", "9223372036854775807", "281474976710656", "4e-320", "1e-300", "1e308", "9e999", "-9e999", "''", "'x'", "'0'",
    "'{}'", "'[[[['", "char(0)", "char(27) || '[2J'", "char(55296)", "CAST(x'ff' AS TEXT)", "x''", "x'00ff'", "zeroblob(5000)",
    "printf('%.*c', 300, 'x')", "printf('%.*c', 100000, 'x')", "printf('%.*c', 2000000, '9')", "'measured'", "'predicted'", "'aten'",
    "'fake'", "'../evil'", "'conv2d'", "'bfloat16'", "'channels_last'", "'h201'", "'h200-sm89'", "'2026-11-20'",
)  # fmt: skip
TABLES = ("devices", "problems", "kernels", "records", "measurements", "suites")


def mutate(path: Path, chance: random.Random) -> str:
    """Spoil a file in one of the MUTATIONS and return its name."""
    name = chance.choice([*sorted(MUTATIONS), "rows", "rows", "rows"])
    MUTATIONS[name](path, chance)
    return name


def _bits(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 60)):
        # The header, the beginning of a page, or anywhere.
        at = chance.choice([chance.randrange(100), PAGE * chance.randrange(len(data) // PAGE) + chance.randrange(24), chance.randrange(len(data))])  # fmt: skip
        data[at] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _pages(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 6)):
        one, other = (PAGE * chance.randrange(1, len(data) // PAGE) for _ in range(2))
        page = chance.choice(
            [data[other : other + PAGE], bytes(PAGE), b"\xff" * PAGE, chance.randbytes(PAGE)]
        )
        data[one : one + PAGE] = page
    path.write_bytes(data)


def _length(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    cut = data[: chance.randrange(len(data))]
    path.write_bytes(chance.choice([cut, cut + bytes(len(data) - len(cut)), data + chance.randbytes(5000)]))


def _rows(path: Path, chance: random.Random) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for _ in range(chance.randrange(1, 40)):
            table = chance.choice(TABLES)
            column = chance.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
            # One row at a time, mostly: a row that is wrong twice is left aside for the first reason.
            one = f"LIMIT 1 OFFSET {chance.randrange(99)} % (SELECT count(*) FROM {table})"  # noqa: S608 (names of our own)
            one = f"rowid IN (SELECT rowid FROM {table} {one})"  # noqa: S608 (names of our own)
            some = chance.choice([one] * 9 + [f"rowid % {chance.randrange(1, 9)} = 0"])
            with suppress(sqlite3.Error):  # a constraint that keeps a file from being that wrong
                connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {chance.choice(VALUES)} WHERE {some}")  # noqa: S608 (names of our own)  # fmt: skip


def _insertions(path: Path, chance: random.Random) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for _ in range(chance.randrange(1, 12)):
            table = chance.choice(TABLES)
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = [
                chance.choice([name, name, chance.choice(VALUES)]) if name != "id" else "NULL"
                for name in names
            ]
            with suppress(sqlite3.Error):
                connection.execute(f"INSERT OR IGNORE INTO {table} SELECT {', '.join(values)} FROM {table}")  # noqa: S608 (names of our own)  # fmt: skip


def _schema(path: Path, chance: random.Random) -> None:
    statements = (
        f"PRAGMA user_version = {chance.choice([-1, 0, 1, 3, 2**31 - 1])}", f"PRAGMA application_id = {chance.randrange(9)}",
        f"DROP TABLE {chance.choice(TABLES)}", f"ALTER TABLE {chance.choice(TABLES)} ADD COLUMN more", "DROP VIEW winners",
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END", "CREATE TABLE more (x)",
        "CREATE VIEW more AS SELECT load_extension('evil')",
    )  # fmt: skip
    with closing(sqlite3.connect(path, isolation_level=None)) as connection, suppress(sqlite3.Error):
        connection.execute(chance.choice(statements))


def _journal(path: Path, chance: random.Random) -> None:
    """Leave a journal beside the file, as a killed writer does: sound, cut, or with wrong bits."""
    journal = path.with_name(path.name + "-journal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE records SET trials = trials + 1")
        connection.execute("CREATE TABLE more AS SELECT a.* FROM measurements AS a, measurements AS b")
        written, left = path.read_bytes(), bytearray(journal.read_bytes())
    for _ in range(chance.choice([0, 1, 30])):
        left[chance.randrange(len(left))] ^= 1 << chance.randrange(8)
    path.write_bytes(written)
    journal.write_bytes(left[: chance.choice([len(left), chance.randrange(len(left))])])


MUTATIONS: dict[str, Callable[[Path, random.Random], None]] = {
    "bits": _bits,
    "pages": _pages,
    "length": _length,
    "rows": _rows,
    "insertions": _insertions,
    "schema": _schema,
    "journal": _journal,
}
