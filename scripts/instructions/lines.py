"""By what a line of count_instructions.py and a row of the table of trials are known to be the same machine code."""

from collections.abc import Mapping
from typing import Any

from trials.table import Row

from tunedb.device import by_slug

__all__ = ["key_of_line", "key_of_row"]


def key_of_row(row: Row) -> tuple[Any, ...]:
    return *_code_of(row.device), tuple(row.problem), row.kernel, row.config


def key_of_line(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return *_code_of(found["device"]), tuple(found["problem"]), found["kernel"], found["config"]


def _code_of(slug: str) -> tuple[int, int]:
    """Return what says for which GPUs machine code is made: an H100 and an H200 run the same."""
    device = by_slug(slug)
    return device.capability, device.own_capability
