"""A database file of schema version 1, and what a file of any version holds."""

import sqlite3
from pathlib import Path

from tunedb.store.read import Database

VERSION1 = Path(__file__).parents[1] / "store" / "data" / "version1.sqlite"


def version(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def everything(path, *, immutable=False):
    file = Database(path, immutable=immutable)
    try:
        records = {record: tuple(file.top(record.problem, record.device)) for record in file.records()}
        return records, file.devices(), sorted(file.suites())
    finally:
        file.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())
