"""Make db/<device>.sqlite of the databases that sweeps wrote.

    python scripts/ship.py --device h200 --provenance measured out/kernelbench.sqlite out/models.sqlite

Takes the records of that device and provenance whose kernels are unchanged since, the last file's where two have
the same problem, each with its candidates best first, and the suites that come with tunedb. Ties go to the config that
wins most often in the whole file, so that it does not depend on the order of the sweeps. What the installed Triton compiles to wrong
machine code (tunedb/device/assembler.py) is left aside, and the next best of its final wins in its place. The file is written
beside the old one and takes its place only when it is whole. The last line of stdout is one JSON object.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb import kernel
from tunedb.compile import compile_candidate
from tunedb.device import Device, by_slug
from tunedb.record import PROVENANCES, Choice, Measurement, Record, Tried
from tunedb.store.read import Database
from tunedb.store.write import Store
from tunedb.suite import load_suite, shipped_suites
from tunedb.tune.choose_winner import ATEN, settled, winner, won_by
from tunedb.tune.predict.formula import runs_as

if TYPE_CHECKING:
    from tunedb.problem import Problem
    from tunedb.store.profile import Profile

SHIPPED = Path(__file__).resolve().parents[1] / "db"


def main() -> int:
    arguments = parsed(sys.argv[1:])
    target = arguments.out or SHIPPED / f"{arguments.device}.sqlite"
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    finals: dict[Problem, tuple[Record, list[Tried]]] = {}
    profiles: list[Profile] = []
    left: Counter[str] = Counter()
    with Store(fresh) as store, tempfile.TemporaryDirectory() as folder:
        for name in sorted(shipped_suites()):
            store.add_suite(name, load_suite(name))
        for path in arguments.sources:
            source = Database(pruned(path, Path(folder), left))
            for record in sorted(source.records(), key=lambda record: record.problem):
                if record.device != arguments.device:
                    left["other device"] += 1
                elif record.provenance not in arguments.provenance:
                    left[record.provenance] += 1
                else:
                    top = sorted(source.top(record.problem, record.device), key=rank)
                    finals[record.problem] = right(record, top, left)
            profiles += source.profiles()
            source.close()
        timed = {problem: one for problem, one in finals.items() if one[0].provenance == "measured"}
        # Expected times have no ties: each says how sure it is.
        kept = [
            *settled(timed, kernel.source_hash),
            *(record for problem, (record, _) in finals.items() if problem not in timed),
        ]
        for record in kept:
            store.put(record, finals[record.problem][1])
        for profile in profiles:
            if profile.problem in finals:
                store.put_profile(profile)  # where it is of the winner
    if not kept:
        fresh.unlink()
        sys.exit(
            f"no {' or '.join(arguments.provenance)} record for {arguments.device} is worth shipping: left aside {dict(left)}."
        )
    fresh.replace(target)
    print(
        json.dumps(
            {
                "file": target.name,
                "records": len(kept),
                "by_kernel": Counter(record.kernel for record in kept),
                "ties_decided_otherwise": sum(record != finals[record.problem][0] for record in kept),
                "left_aside": left,
            }
        )
    )
    return 0


def pruned(path: Path, folder: Path, left: Counter[str]) -> Path:
    """Return a copy without the records and candidates whose kernels have changed since."""
    copy = Path(shutil.copy(path, folder))
    with Store(copy) as store:
        left["stale"] += store.prune_stale()
    return copy


def right(record: Record, top: list[Tried], left: Counter[str]) -> tuple[Record, list[Tried]]:
    """Return a final without what would be wrong machine code or is not the device's, and its record, won by the best of the rest."""
    device = by_slug(record.device)
    every = {Choice(record.kernel, record.config), *(one.choice for one in top)} - {ATEN}
    wrong = {
        one for one in every if device.wgmma and suspect(one) and miscompiled(record.problem, one, device)
    }
    foreign = {one for one in every if device.arch and not runs_as(kernel.load(one.kernel), device)}
    refused = wrong | foreign
    rest = [one for one in top if one.choice not in refused]
    left.update({name: len(some) for name, some in (("miscompiled", wrong), ("torch's", foreign)) if some})
    if Choice(record.kernel, record.config) not in refused:
        return record, rest
    us = record.aten_us  # a database keeps no spread of torch's time
    torch = None if us is None else Measurement("ok", us, us, us, record.aten_error)
    best = winner(rest, torch, {})
    if best is None:
        sys.exit(
            f"{record.problem} has no answer whose machine code is right, and none by torch: sweep it again."
        )
    return won_by(record, best, kernel.source_hash), rest


def suspect(choice: Choice) -> bool:
    """Return whether a config is worth compiling again: inputs of wgmma that are rounded on their way are what Triton overwrites."""
    config = json.loads(choice.config)
    return str(config.get("DOT")).startswith("tf32") and config.get("SWAP") == 0


def miscompiled(problem: "Problem", choice: Choice, device: Device) -> bool:
    return compile_candidate(choice.kernel, problem, choice.config, device).status == "compile-error"


def rank(candidate: Tried) -> tuple[bool, float]:
    return candidate.measurement.status != "ok", candidate.measurement.time_us or 0.0


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+", help="databases that sweeps wrote")
    parser.add_argument("--device", required=True, help="slug of the GPU")
    parser.add_argument(
        "--provenance",
        required=True,
        action="append",
        choices=PROVENANCES,
        help="may be given more than once",
    )
    parser.add_argument("--out", type=Path, help="the file to write (default: db/<device>.sqlite)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
