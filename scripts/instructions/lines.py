"""By what a line of count_instructions.py and a row of the table of trials are known to be the same trial."""

from collections.abc import Mapping
from typing import Any

from trials.table import Row

__all__ = ["key_of_line", "key_of_row"]


def key_of_row(row: Row) -> tuple[Any, ...]:
    return row.device, tuple(row.problem), row.kernel, row.config


def key_of_line(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return found["device"], tuple(found["problem"]), found["kernel"], found["config"]
