"""Compile kept trials again, without a GPU, and count what their machine code is made of (nvdisasm comes with Triton).

    python scripts/count_instructions.py benchmarks/trials/h100-sm89.csv.gz benchmarks/trials/h100.csv.gz --out out/instructions.jsonl --jobs 16 --minutes 9

A line a trial: device, problem, kernel, config, warps, grid, and the counts of the whole kernel and of the loop with the most products.
What runs as the same machine code is counted once: an H100's trial stands for an H200's. Code that the file has already is left out; the rest is taken in an
order that is drawn by chance and is the same everywhere, so that what has been counted is a fair sample at any time. --part 0/2 and 1/2 are halves for two
machines. Compiling one takes a second of a processor. The last line of stdout is one JSON object.
"""

import argparse
import json
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

from instructions.lines import key_of_line, key_of_row
from trials.table import Row, read

from tunedb.device import by_slug
from tunedb.kernel import config_from_json, load
from tunedb.tune.predict.instructions import instructions_of


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--part", default="0/1", help="K/N: the K-th of N parts, from 0 (default: all)")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing after so many")
    given = parser.parse_args(argv)
    end = time.monotonic() + 60 * given.minutes
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    known = {key_of_line(json.loads(line)) for line in lines}
    todo = drawn((row for row in wanted(given.tables) if key_of_row(row) not in known), *map(int, given.part.split("/")))  # fmt: skip
    count: Counter[str] = Counter()
    with get_context("spawn").Pool(given.jobs) as pool, given.out.open("a") as out:
        for line in pool.imap_unordered(line_of, todo, chunksize=4):
            count["failed" if line is None else "counted"] += 1
            if line is not None:
                print(line, file=out, flush=True)
            if time.monotonic() > end:
                pool.terminate()
                break
    print(json.dumps({"left": len(todo) - count.total(), **count}))
    return 0


def wanted(tables: Sequence[Path]) -> Iterator[Row]:
    """Yield the trials that ran, of kernels that Triton compiles."""
    for path in tables:
        yield from (row for row in read(path) if row.status == "ok" and row.kernel not in ("aten", "cudnn_last"))  # fmt: skip


def drawn(rows: Iterable[Row], part: int, parts: int) -> list[Row]:
    """Return one trial for each machine code of a part, in an order that only the code decides."""
    code = {zlib.crc32(repr(key_of_row(row)).encode()): row for row in rows}
    return [code[mark] for mark in sorted(code) if mark % parts == part]


def line_of(row: Row) -> str | None:
    """Return the line of a trial, None where it does not compile any more."""
    module = load(row.kernel)
    try:
        signature = module.signature(row.problem, config_from_json(module, row.config))
        counts = None if signature is None else instructions_of(signature, by_slug(row.device))
    except Exception:  # noqa: BLE001 (a compiler's crash of any kind costs one trial)
        return None
    if signature is None or counts is None:
        return None
    whole, loop = counts
    found = {"device": row.device, "problem": list(row.problem), "kernel": row.kernel, "config": row.config, "warps": signature.num_warps, "grid": list(signature.grid)}  # fmt: skip
    return json.dumps({**found, "all": whole, "loop": loop})


if __name__ == "__main__":
    raise SystemExit(main())
