"""Random suites: each is read or refused with a SuiteError, quickly, in words that a terminal can show."""

import json
import random
import time
import traceback
from pathlib import Path
from typing import Any

from tunedb.errors import SuiteError
from tunedb.problem import DTYPES, LAYOUTS, OPS, PRECISIONS, checked
from tunedb.suite import load_suite, problems
from tunedb.suites.fields import FIELDS, NOTES

__all__ = ["run"]

LONGEST_S = 5.0  # processor time for a file of some kilobytes
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31 - 1, 2**31, 2**63, 10**19, 10**99, 1.0, 1e400, -0.0, float("nan"), "", "1", "\x1b[31m", "\ud800", "a" * 300, [], [1],
    [0, 0], [[1]], [True], [1.0], {}, {"a": 1}, [2**31 - 1] * 3, "conv2d", "\u202e", "\x00",
)  # fmt: skip
PIECES = (
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    '"',
    "\n",
    "\\u0000",
    "1e999",
    "-",
    "0",
    "9" * 5000,
    "NaN",
    "\ufeff",
    "[" * 2000,
    "null",
    "é",
    "\x00",
    "//",
)


def run(random: random.Random, folder: Path) -> str:
    """Write a random suite into `folder` and read it. Returns what is wrong with how that went, or an empty text."""
    path = folder / "suite.json"
    data = _text(random).encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        at = random.randrange(len(data) + 1)
        data = data[:at] + bytes(random.randrange(256) for _ in range(random.randrange(4))) + data[at:]
    path.write_bytes(data)
    start = time.process_time()
    try:
        entries = load_suite(path)
        for problem in problems(entries):
            checked(problem)
    except SuiteError as error:
        text = str(error)
        if (
            not all(line.isprintable() and len(line) < 1000 for line in text.splitlines())
            or len(text) > 30_000
        ):
            return f"a message that is long or not printable: {text[:300]!r}"
    except Exception:  # noqa: BLE001 (whatever escapes is what is looked for)
        return traceback.format_exc()
    seconds = time.process_time() - start
    return f"{len(data)} bytes took {seconds:.1f} s" if seconds > LONGEST_S else ""


def _text(random: random.Random) -> str:
    records = [_record(random, f"id{number}") for number in range(random.randrange(1, 5))]
    layout = random.choice(({"indent": 2}, {"separators": (",\n", ": ")}, {}))
    text = json.dumps(records, ensure_ascii=random.random() < 0.5, **layout)
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        at = random.randrange(len(text) + 1)
        text = text[:at] + random.choice(PIECES) + text[at + random.choice((0, 0, 1, 20)) :]
    return text


def _record(random: random.Random, name: str) -> dict[str, Any]:
    """Return a sound record in three of ten cases or so, and one with some mistakes otherwise."""
    op = random.choice(OPS)
    axes = int(op[-2])
    groups = random.choice((1, 1, 2, 3))

    def sizes(least: int, most: int) -> Any:
        one = random.randint(least, most)
        return (
            one if random.random() < 0.3 else [one, *(random.randint(least, most) for _ in range(axes - 1))]
        )

    record: dict[str, Any] = {
        "id": name, "op": op, "n": random.choice((0, 1, 16)), "c_in": 4 * groups, "spatial_in": sizes(9, 64), "c_out": 8 * groups, "kernel": sizes(1, 3),
        "stride": sizes(1, 3), "padding": sizes(0, 2), "dilation": sizes(1, 3), "groups": groups, "bias": random.random() < 0.5,
    }  # fmt: skip
    if random.random() < 0.3:
        dtype = random.choice(DTYPES)
        precision = random.choice(PRECISIONS) if dtype == "float32" else "ieee"
        record |= {
            "dtype": dtype,
            "precision": precision,
            "layout": random.choice(LAYOUTS),
            "calls": 3,
            "modules": ["a.b"],
        }
    for _ in range(random.choice((0, 0, 0, 1, 1, 3))):
        field = random.choice((*FIELDS, *NOTES, "dilations", "\x1b", "x" * 300))
        record[field] = random.choice(ODD)
    for _ in range(random.choice((0, 0, 1, 4))):
        record.pop(random.choice(sorted(record)), None)
    return record
