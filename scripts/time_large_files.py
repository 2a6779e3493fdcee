"""Time lookups in database files that are made to keep them busy; prints one JSON object last.

    python scripts/time_large_files.py [--rows N]

Each file answers before the shipped ones. Three lookups each: the problem that the file has, one near it, and one of another layer.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

from fuzz.large_files import ATTACKS


def main() -> int:
    """Write each file, look up in it, and print the seconds of each lookup in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", type=int, help="problems of the layer in each file (default: as in ground.md)"
    )
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, write) in enumerate(ATTACKS.items()):
            path = Path(folder) / f"{number}.sqlite"
            write(path, example(), **({} if given.rows is None else {"rows": given.rows}))
            found[name] = {"megabytes": round(path.stat().st_size / 1e6, 1), **_in_a_child(path)}
            print(f"{name}: {found[name]}", flush=True)
    print(json.dumps(found))
    return 0


def example():  # noqa: ANN201 (a Record, which is imported late)
    """Return a measured record of the H200's shipped file, as torch's own kernel won it."""
    from tunedb.kernel import source_hash
    from tunedb.store.files import shipped_files
    from tunedb.store.read import Database

    records = Database(shipped_files()["h200"], immutable=True).records()
    record = next(
        one
        for one in records
        if one.problem.op == "conv_transpose2d" and one.problem.dtype == "float16" and one.aten_us
    )
    return record._replace(kernel="aten", config="{}", kernel_hash=source_hash("aten"), trials=4321)


def _in_a_child(path: Path) -> dict[str, object]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(_times(path)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return dict(json.loads(text))


def _times(path: Path) -> dict[str, object]:
    from tunedb.device import by_slug
    from tunedb.dispatch.lookup import answer

    os.environ["TUNEDB_PATH"] = str(path)
    device, problem = by_slug("h200"), example().problem
    asked = {
        "known": problem,
        "near": problem._replace(n=1100, in_h=1100, in_w=problem.in_w + 1),
        "bfloat16 near": problem._replace(
            n=1100, in_h=1100, in_w=problem.in_w + 1, dtype="bfloat16", precision="ieee"
        ),
        "other layer": problem._replace(c_out=problem.c_out * 2),
    }
    found: dict[str, object] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, one in asked.items():
            start = time.perf_counter()
            tier = answer(one, device)
            where = "file" if tier.record is not None and tier.record.trials == 4321 else ""
            found[name] = f"{time.perf_counter() - start:.2f} s, {tier.tier} {where}".strip()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {**found, "peak MB": peak, "warnings": len(caught)}


if __name__ == "__main__":
    sys.exit(main())
