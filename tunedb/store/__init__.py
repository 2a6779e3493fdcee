"""Answers on disk: SQLite files, read with the standard library, written with sqlite-utils."""
