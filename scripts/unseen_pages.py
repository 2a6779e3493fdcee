"""Write a page for each device: what would answer problems that nobody has swept, from the figures of scripts/check_unseen.py.

    python scripts/unseen_pages.py benchmarks/unseen/*.json --out benchmarks

It writes <device>/unseen.json and <device>/unseen.md under --out: for what was left out (models, families, the device) the problems, torch's time over the
answers' (`over_torch`: where each answer that was never timed gave nothing, and where each was the best ever timed), that over
what sweeps found (`of_swept`), the answers known to be more than 3 % slower than torch and how many were timed (`below_0_97`),
the `lowest` of them, the share of `own_kernels`, and of those that were run the answers outside of the error contract (`over_contract`). The last line of stdout is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import table

RULE = "today's tiers"
LEFT_OUT = {"model": "models left out", "family": "families left out", "device": "the device left out"}
ABOUT = """What tunedb answers problems that it has no record of, by leaving out what is known of them: `python scripts/check_unseen.py
benchmarks/trials/*.csv.gz --by model|family|device`. Bounds of *over torch*: each answer that was never timed on its problem gave nothing, or the best ever timed there."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, nargs="+", help="what check_unseen.py --json wrote")
    parser.add_argument("--out", type=Path, required=True, help="a folder for each device is made there")
    given = parser.parse_args(argv)
    found: dict[str, dict[str, Any]] = {}
    for path in given.figures:
        figures = json.loads(path.read_text(encoding="utf-8"))
        for rule in figures["rules"]:
            if rule["rule"] == RULE:
                found.setdefault(rule["device"], {})[LEFT_OUT[figures["by"]]] = figured(rule)
    if not found:
        sys.exit(
            f"at least one file must have figures of {RULE}, but none has: run scripts/check_unseen.py --json."
        )
    for device, tables in found.items():
        folder = given.out / device
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: tables[name] for name in LEFT_OUT.values() if name in tables}
        (folder / "unseen.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        (folder / "unseen.md").write_text(page(device, kept), encoding="utf-8")
    print(json.dumps({"devices": sorted(found)}))
    return 0


def figured(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a rule under the names of the page."""
    slower, timed = map(int, rule["slower"].split(" of "))
    wrong, run = map(int, rule["wrong"].split(" of "))
    over = [rule["fewest"], rule["most"]]
    return {
        "problems": rule["problems"],
        "over_torch": over,
        "of_swept": [round(one / rule["best"], 3) for one in over],
        "below_0_97": {"answers": slower, "timed": timed},
        "lowest": rule["worst"],
        "own_kernels": rule["own"],
        "over_contract": {"answers": wrong, "run": run},
    }


def page(device: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (name, str(one["problems"]), _bounds(one["over_torch"]), _bounds(one["of_swept"]), f"{one['own_kernels']:.0%}",
         f"{one['below_0_97']['answers']} of {one['below_0_97']['timed']}", f"{one['lowest']:.2f}",
         f"{one['over_contract']['answers']} of {one['over_contract']['run']}")
        for name, one in tables.items()
    ]  # fmt: skip
    heads = (
        "",
        "problems",
        "over torch",
        "of what sweeps found",
        "own kernels",
        "below 0.97, of those timed",
        "lowest",
        "outside of the error contract, of those run",
    )
    return f"# Problems that nobody has swept, on {device}\n\n{ABOUT}\n\n{table(heads, rows)}\n"


def _bounds(pair: Sequence[float]) -> str:
    return f"{pair[0]:.2f} to {pair[1]:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
