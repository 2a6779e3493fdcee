"""The shipped answers: one SQLite file a device."""
