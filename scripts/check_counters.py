"""Hold what the time model assumes of memory, L2 and matrix units against what ncu counted of winners.

    python scripts/check_counters.py out/kb.sqlite --suite kernelbench --out benchmarks/h100/counters.md

A row is the longest launch of a winner's call. Counted are per cents of the hardware's peaks; assumed is the time that the formula of
tunedb/dispatch/unseen/features.py gives each part, in per cent of the time that was counted: all bytes once at the bandwidth of long copies,
what programs read and write at 20 bytes a clock and multiprocessor, products at the rate of long ones.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunedb.describe import table
from tunedb.device import by_slug
from tunedb.device.sustained import sustained
from tunedb.dispatch.unseen.features import CONFIG, config_features, floor_log
from tunedb.kernel import config_from_json, load
from tunedb.store.profile import Launch, Profile, limit
from tunedb.store.read import Database
from tunedb.suite import load_suite

HEADS = (
    "layer",
    "dtype",
    "kernel",
    "DRAM, assumed",
    "DRAM",
    "L2, assumed",
    "L2",
    "products, assumed",
    "SM",
    "L2 hits",
    "warps",
    "registers",
    "limit",
)


class Row(NamedTuple):
    """A winner's longest launch: counted, and (memory, L2, products) as assumed, in per cent."""

    layer: str
    profile: Profile
    launch: Launch
    assumed: tuple[float, float, float]

    def cells(self, sm_count: int) -> tuple[str, ...]:
        one, (memory, l2, products) = self.launch, self.assumed
        shares = (memory, one.dram, l2, one.l2, products, one.sm, one.l2_hits, one.warps, one.registers)
        said = limit(one, sm_count).removeprefix("limited by ")
        return (
            self.layer,
            self.profile.problem.dtype,
            self.profile.kernel,
            *(f"{value:.0f}" for value in shares),
            said,
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("db", type=Path, help="a database with profiles")
    parser.add_argument(
        "--suite", default="kernelbench", help="whose layers are named (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the page, Markdown")
    given = parser.parse_args(argv)
    found = list(rows(Database(given.db, immutable=True), given.suite))
    given.out.write_text(page(found, given.suite))
    print(
        table(
            ("kernel", "winners", "memory off by", "L2 off by"),
            [tuple(map(str, line)) for line in summary(found)],
        )
    )
    return 0


def rows(file: Database, suite: str) -> Iterator[Row]:
    """Yield the profiles of a suite's layers, in the order of the suite."""
    places = {entry.problem(dtype, precision): (place, entry.id) for place, entry in enumerate(load_suite(suite))
              for dtype, precision in (("float32", "tf32"), ("float16", "ieee"))}  # fmt: skip
    known = [one for one in file.profiles() if one.problem in places]
    for one in sorted(known, key=lambda one: (places[one.problem][0], one.problem.dtype)):
        device, launch = sustained(by_slug(one.device)), one.longest
        config = config_from_json(load(one.kernel), one.config)
        parts = dict(zip(CONFIG, config_features(one.problem, device, one.kernel, config), strict=True))
        floor = 2 ** floor_log(one.problem, device)
        taken = launch.time_ns / 1e3
        memory = 1e6 * one.problem.bytes / device.bandwidth
        products = floor * 2 ** parts["busy"]
        yield Row(
            places[one.problem][1],
            one,
            launch,
            tuple(100 * us / taken for us in (memory, floor * 2 ** parts["l2"], products)),
        )  # type: ignore[arg-type]


def summary(found: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """Yield by kernel how far assumed shares are above counted ones, in the median, in points."""
    of: dict[str, list[Row]] = defaultdict(list)
    for one in found:
        of[one.profile.kernel].append(one)
    for kernel, some in sorted(of.items()):
        memory = statistics.median(one.assumed[0] - one.launch.dram for one in some)
        l2 = statistics.median(one.assumed[1] - one.launch.l2 for one in some)
        yield kernel, len(some), f"{memory:+.0f}", f"{l2:+.0f}"


def page(found: Sequence[Row], suite: str) -> str:
    device = by_slug(found[0].profile.device)
    first = found[0].profile
    lines = [
        f"# What limits the winners of `{suite}` on the {device.slug.upper()}", "",
        f"{device.name}, ncu {first.ncu}, {first.profiled_at[:10]}: the counters of {len(found)} winners that are not torch's, by `tunedb profile --suite {suite}",
        f"--dtype float16,float32 --layout channels_first`, beside what the time model assumes; `python scripts/check_counters.py DB --suite {suite}` made this page.",
        "Counted are per cents of the peaks, assumed ones of the time: for L2 at 20 bytes a clock and multiprocessor, which is not its peak. Caches are cold.", "",
        "| kernel | winners | memory, assumed less counted, median points | L2, likewise |", "| --- | --- | --- | --- |",
        *("| " + " | ".join(map(str, line)) + " |" for line in summary(found)), "",
        "| " + " | ".join(HEADS) + " |", "| --- " * len(HEADS) + "|",
        *("| " + " | ".join(one.cells(device.sm_count)) + " |" for one in found),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
