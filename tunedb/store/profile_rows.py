"""How profiles become rows of a database and come back, checked both times."""

from collections.abc import Sequence
from typing import Any

from tunedb.problem import Problem
from tunedb.store.checks import CONFIG_LENGTH, TEXT_LENGTH, RowError, check_text
from tunedb.store.profile import Profile, from_json, to_json
from tunedb.store.rows import LONG, PROBLEM_COLUMNS, columns, printable_line, problem_from_row

__all__ = ["PROFILE_SELECT", "profile_from_row", "profile_row"]

_PROBLEM = len(Problem._fields)
PROFILE_SELECT = (
    f"SELECT {PROBLEM_COLUMNS}, {columns('f', Profile._fields[1:])} FROM profiles AS f "  # noqa: S608 (column names of our own)
    "JOIN problems AS p ON p.id = f.problem_id"
)


def profile_from_row(row: Sequence[Any]) -> Profile:
    """Return the profile of a row of PROFILE_SELECT.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    device, kernel, config, code, launches, ncu, profiled_at = row[_PROBLEM:]
    check_text("launches", launches, CONFIG_LENGTH)
    try:
        found = from_json(launches)
    except (ValueError, RecursionError) as error:
        raise RowError(printable_line(str(error))) from error
    profile = Profile(problem_from_row(row[:_PROBLEM]), device, kernel, config, code, found, ncu, profiled_at)
    profile_row(profile)
    return profile


def profile_row(profile: Profile) -> dict[str, str]:
    """Return a profile's columns beside its problem.

    Raises RowError: where a value has the wrong type or is out of range.
    """
    row = {**profile._asdict(), "launches": to_json(profile.launches)}
    del row["problem"]
    for name, value in row.items():
        check_text(name, value, CONFIG_LENGTH if name in LONG else TEXT_LENGTH)
    return row
