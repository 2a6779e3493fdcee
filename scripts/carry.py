"""Carry the records of a database over a change of code that leaves the machine code as it was.

    python scripts/carry.py --before 9709495 db/h200.sqlite db/4090.sqlite

A record is stale once the code of its kernel has changed (tunedb/kernel_hash.py), also where the change only moved or renamed
things. This compiles every record of the files with the code of a git revision and with the working tree's, and compares all
that decides its result: the PTX of every launch, to the byte, its grid and run-time arguments, and what the kernel makes of a
weight. Records for which all of it is the same get the new code's hash; nothing else of them changes. The others are listed
and stay stale. Torch's own kernel has no code of ours to compare: its records are carried, and counted apart.
No GPU is needed. The last line of stdout is one JSON object; the exit status is 1 where a record was not carried.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.describe:
        return describe_all()
    jobs = wanted(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = [revision_tree(arguments.before, folder / "before"), working_tree(folder / "after")]
        before, after = (described(tree, jobs, arguments, folder / f"cache{tree.name}") for tree in trees)
    same = {job: before[job] == after[job] and "failed" not in after[job] for job in jobs}
    for job in jobs:
        if not same[job]:
            print(f"not carried: {job}\n  before {before[job]}\n  after  {after[job]}")
    counts: Counter[str] = Counter()
    for path in arguments.files:
        counts.update(carry(path, same, write=not arguments.dry_run and not arguments.sample))
    print(json.dumps({"before": arguments.before, "triton": triton_version(), **counts}))
    return 0 if all(same.values()) else 1


def parsed(words: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--before", metavar="REV", help="the git revision whose code made the records")
    parser.add_argument("--kernel", action="append", help="only records of this kernel; repeatable")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="only every N-th record of a kernel, and write nothing"
    )
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes that compile"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep what REV gave there, and use it the next time"
    )
    parser.add_argument("--dry-run", action="store_true", help="compare only")
    parser.add_argument(
        "--describe", action="store_true", help=argparse.SUPPRESS
    )  # how the program calls itself
    found = parser.parse_args(words)
    if not found.describe and not (found.files and found.before):
        parser.error("--before and at least one FILE are needed")
    return found


def wanted(arguments: Any) -> list[str]:
    """Return what to compile, as JSON texts: kernel, config, problem and device of each record, without repetition."""
    from tunedb.store.read import Database

    found: dict[str, list[str]] = {}
    for path in arguments.files:
        for record in Database(path).records():
            job = job_of(record)
            if not arguments.kernel or record.kernel in arguments.kernel:
                found.setdefault(f"{record.kernel} {record.device}", []).append(job)
    step = arguments.sample or 1
    return list(dict.fromkeys(job for jobs in found.values() for job in jobs[::step]))


def job_of(record: Any) -> str:
    return json.dumps([record.kernel, record.config, record.problem, record.device])


def revision_tree(revision: str, place: Path) -> Path:
    """Lay out the packages of a git revision as they are installed, and return their folder."""
    source = place.with_name("source")
    source.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=True)  # noqa: S603, S607
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)  # noqa: S603, S607
    return laid_out(source, place)


def working_tree(place: Path) -> Path:
    return laid_out(ROOT, place)


def laid_out(source: Path, place: Path) -> Path:
    """Copy packages to where pyproject.toml installs them."""
    packages = tomllib.loads((source / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    for package, folder in sorted(packages.items()):
        target = place.joinpath(*package.split("."))
        shutil.copytree(
            source / folder,
            target,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.sqlite"),
        )
    return place


def described(tree: Path, jobs: Sequence[str], arguments: Any, cache: Path) -> dict[str, Any]:
    """Return what the code of a tree makes of each job, in several processes."""
    kept = None
    if arguments.keep and tree.name == "before":
        arguments.keep.mkdir(parents=True, exist_ok=True)
        kept = arguments.keep / f"{arguments.before}-{triton_version()}.json"
    known: dict[str, Any] = json.loads(kept.read_text()) if kept and kept.exists() else {}
    todo = [job for job in jobs if job not in known]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH")))), "TRITON_CACHE_DIR": str(cache),
        "TRITON_DISABLE_LINE_INFO": "1",  # lines and file names are in the PTX otherwise
    }  # fmt: skip
    environment.pop("TRITON_INTERPRET", None)

    def share(part: Sequence[str]) -> Iterable[tuple[str, Any]]:
        command = [sys.executable, str(Path(__file__).resolve()), "--describe"]
        done = subprocess.run(  # noqa: S603 (this program itself)
            command, env=environment, input="\n".join(part), capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"the code {tree.name} the change could not be run:\n{done.stderr[-2000:]}")
        return zip(part, map(json.loads, done.stdout.splitlines()), strict=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        parts = [todo[start : start + 40] for start in range(0, len(todo), 40)]
        for number, found in enumerate(pool.map(share, parts), 1):
            known |= dict(found)
            if kept:
                kept.write_text(json.dumps(known))
            print(f"{tree.name}: {min(40 * number, len(todo))} of {len(todo)}", file=sys.stderr, flush=True)
    return known


def describe_all() -> int:
    """Answer each line of standard input, a job, with a line of what its code comes to."""
    from triton.backends.nvidia.compiler import CUDABackend

    # The assembler is a function of the PTX: half the time for nothing.
    CUDABackend.make_cubin = lambda *_: b""
    for line in sys.stdin:
        try:
            found = describe(*json.loads(line))
        except Exception as error:  # noqa: BLE001 (said of this record; the others go on)
            found = {"failed": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(found), flush=True)
    return 0


def describe(name: str, config: str, sizes: Sequence[Any], slug: str) -> dict[str, Any]:
    """Return all that decides the result of a config: its launches and its packed weight, as digests."""
    import torch

    from tunedb.compile import compiled
    from tunedb.device import by_slug
    from tunedb.kernel import config_from_json, load
    from tunedb.problem import Problem

    module, problem, device = load(name), Problem(*sizes), by_slug(slug)
    parsed_config = config_from_json(module, config)
    launches: list[dict[str, Any]] = []

    def launcher(signature: Any) -> Any:
        ptx = compiled(signature, device).asm["ptx"]
        arguments = [(name, kind) for name, kind in signature.types.items() if kind != "constexpr"]
        launches.append({
            "ptx": digest(ptx.encode()), "grid": signature.grid, "scalars": signature.scalars, "arguments": arguments,
            "aligned": sorted(signature.aligned), "num_warps": signature.num_warps,
        })  # fmt: skip
        return lambda *_: None

    run = module.plan(problem, parsed_config, launcher)
    found: dict[str, Any] = {"valid": module.valid(problem, parsed_config, device), "launches": launches}
    if launches:
        weight = torch.randn(problem.weight_shape, generator=torch.Generator().manual_seed(0))
        packed = run.packer(weight.to(getattr(torch, problem.dtype)))
        found["weight"] = [
            list(packed.shape),
            digest(packed.contiguous().view(torch.uint8).numpy().tobytes()),
        ]
    return json.loads(json.dumps(found))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def carry(path: Path, same: dict[str, bool], *, write: bool) -> Counter[str]:
    """Give the carried records of a file the new code's hash, on a copy that takes the file's place when it is whole."""
    from tunedb.kernel import source_hash
    from tunedb.store.read import Database
    from tunedb.store.write import Store

    counts: Counter[str] = Counter()
    fresh = path.with_suffix(".carried")
    if write:
        shutil.copy(path, fresh)
    source = Database(path)
    with Store(fresh) if write else contextlib.nullcontext() as store:
        for record in source.records():
            if job_of(record) not in same:
                continue
            carried = same[job_of(record)]
            counts["records"] += 1
            counts["carried" if carried else "not carried"] += 1
            counts["of them torch's own kernel"] += carried and record.kernel == "aten"
            if carried and store:
                top = source.top(record.problem, record.device)
                new = source_hash(record.kernel)
                store.put(record._replace(kernel_hash=new), top)
                if profile := source.profile(record):
                    store.put_profile(profile._replace(kernel_hash=new))
    source.close()
    if write:
        fresh.replace(path)
    return counts


def triton_version() -> str:
    from importlib.metadata import version

    return version("triton")


if __name__ == "__main__":
    sys.exit(main())
