"""Database files that are made to keep a lookup busy: small on the disk, long to read."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tunedb.record import Record
from tunedb.store.write import Store

__all__ = ["ATTACKS", "many_problems", "one_long_name", "valid_rows"]


def many_problems(path: Path, record: Record, rows: int = 100_000) -> Path:
    """Write problems of one layer, one of them with a config of 2 MB."""
    with _filled(path, record, rows) as connection:
        connection.execute("UPDATE records SET config = printf('%.*c', 2000000, 'x') WHERE problem_id = 2")
    return path


def one_long_name(path: Path, record: Record, rows: int = 10_000, length: int = 900_000) -> Path:
    """Write one kernel with a name of 900 KB, to which the records of all problems of a layer but one refer."""
    with _filled(path, record, rows) as connection:
        connection.execute(
            "INSERT INTO kernels (name, hash) VALUES (printf('%.*c', ?, 'x'), 'new')", (length,)
        )
        connection.execute(
            "UPDATE records SET kernel_id = (SELECT max(id) FROM kernels) WHERE problem_id > 1"
        )
    return path


def valid_rows(path: Path, record: Record, rows: int = 100_000) -> Path:
    """Write sound records of one layer, and nothing else."""
    with _filled(path, record, rows):
        return path


ATTACKS: dict[str, Callable[..., Path]] = {
    "many problems of one layer": many_problems,
    "a kernel name of 900 KB": one_long_name,
    "valid rows": valid_rows,
}


@contextmanager
def _filled(path: Path, record: Record, rows: int) -> Iterator[sqlite3.Connection]:
    """Copy a record to that many problems of its layer: batches 1, 2, 3 and so on, and images of 256 heights."""
    with Store(path) as store:
        store.put(record)
    with closing(sqlite3.connect(path)) as connection:
        for table, key in (("problems", "id"), ("records", "problem_id")):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            own = {key: "i.value + 2", "n": "i.value / 256 + 1000", "in_h": "i.value % 256 + 1000"}
            values = ", ".join(own.get(name, f"t.{name}") for name in names)
            connection.execute(
                f"WITH RECURSIVE i(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM i WHERE value + 1 < ?) "  # noqa: S608 (names of our own)
                f"INSERT INTO {table} SELECT {values} FROM i, {table} AS t WHERE t.{key} = 1",
                (rows - 1,),
            )
        yield connection
        connection.commit()
