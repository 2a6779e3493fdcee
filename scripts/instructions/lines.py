"""The lines of count_instructions.py, and by what one and a row of the table of trials are known to be the same machine code."""

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trials.table import Row

from tunedb.device import by_slug
from tunedb.tune.predict.instructions import told

__all__ = ["Codes", "key_of_line", "key_of_row", "read_codes", "told_of"]

Codes = Mapping[tuple[Any, ...], Mapping[str, Any]]  # lines by `key_of_row`


def read_codes(path: Path) -> Codes:
    """Read what count_instructions.py wrote, compressed by gzip."""
    lines = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
    return {key_of_line(found): found for found in lines}


def told_of(row: Row, found: Mapping[str, Any]) -> list[float]:
    """Return what the time model's trees see of the instructions of a row's code."""
    device, programs = by_slug(row.device), math.prod(found["grid"])
    return told(row.problem, device, programs, found["warps"], found["all"], found["loop"])


def key_of_row(row: Row) -> tuple[Any, ...]:
    return *_code_of(row.device), tuple(row.problem), row.kernel, row.config


def key_of_line(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return *_code_of(found["device"]), tuple(found["problem"]), found["kernel"], found["config"]


def _code_of(slug: str) -> tuple[int, int]:
    """Return what says for which GPUs machine code is made: an H100 and an H200 run the same."""
    device = by_slug(slug)
    return device.capability, device.own_capability
