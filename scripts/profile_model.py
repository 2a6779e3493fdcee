"""Where the GPU's time goes in a real model: torch's copy beside the one that tunedb answers, kernel by kernel.

    python scripts/profile_model.py --model unet3d --dtype float16 --db out/h100.sqlite
    python scripts/profile_model.py --model hifigan,convnext_base --layout channels_last --json out/profile.json

Each side is called in eager mode under torch's profiler, when everything has been searched for and compiled; a kernel's own time does not
depend on the host. The table has what differs between the two sides, most first: kernels that only one side launches, and those
that take longer beside other neighbours (a batch norm after another kernel, say). Times are microseconds of one call. "promised" is what
`tunedb report` expects the model to save, "arrived" what its GPU saves. The last line of stdout is one JSON object.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.model_rows import DTYPES, LAYOUTS
from bench.model_tuning import answered_by
from bench.model_work import promised_us
from bench_models import chosen

from tunedb.describe import table

CALLS = 5
SHOWN, NAME = 25, 70  # kernels of the table, and letters of a name


class Spent(NamedTuple):
    """What one kernel took in one call of a model."""

    launches: float
    us: float


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=lambda text: tuple(text.split(",")), required=True, help="names, as in hifigan,unet3d")  # fmt: skip
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="(default: %(default)s)")
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_first", help="(default: %(default)s)")
    parser.add_argument("--db", type=Path, help="answers before the shipped databases")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--fake", action="store_true", help="tiny models on the CPU, to try the script")
    given = parser.parse_args(argv)
    answered_by(given.db)
    import torch
    from bench.model_modes import Cpu, Gpu
    from bench.model_pair import Subject
    from bench.real_models import FAKE, MODELS

    torch.backends.cudnn.benchmark = True
    figures = {}
    for model in chosen(FAKE if given.fake else MODELS, given.model):
        with torch.no_grad():
            pair = Subject(model, Cpu() if given.fake else Gpu()).pair(given.dtype, given.layout)
            sides = {name: spent(call, gpu=not given.fake) for name, call in pair.calls().items()}
        figures[model.name] = compared(sides["torchs"], sides["tunedbs"], promised_us(pair.entries, fake=given.fake))  # fmt: skip
        print(f"{model.name}: {said(figures[model.name])}")
    if given.json:
        given.json.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    print(json.dumps({name: {key: one[key] for key in ("torch_us", "tunedb_us", "promised_us")} for name, one in figures.items()}))  # fmt: skip
    return 0


def spent(call: Any, *, gpu: bool) -> dict[str, Spent]:
    """Return what each kernel takes in one call, by its name without template arguments; on a CPU what each operator takes."""
    from torch.profiler import DeviceType, ProfilerActivity, profile

    for _ in range(2):
        call()
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as found:
        for _ in range(CALLS):
            call()
    taken: dict[str, list[float]] = defaultdict(list)
    for event in found.events():
        if gpu and event.device_type == DeviceType.CUDA:
            taken[short(event.name)].append(event.self_device_time_total)
        elif not gpu:
            taken[short(event.name)].append(event.self_cpu_time_total)
    return {name: Spent(len(times) / CALLS, sum(times) / CALLS) for name, times in taken.items()}


def short(name: str) -> str:
    """Return a kernel's name without the arguments of its templates, of which a C++ name has hundreds of letters."""
    return re.sub(r"<.*|\(.*", "", name.removeprefix("void "))[:NAME]


def compared(torchs: Mapping[str, Spent], tunedbs: Mapping[str, Spent], promised: float) -> dict[str, Any]:
    """Return the sums of both sides, and each kernel whose time differs, most first."""
    none = Spent(0.0, 0.0)
    rows = [(name, torchs.get(name, none), tunedbs.get(name, none)) for name in {*torchs, *tunedbs}]
    rows.sort(key=lambda row: (-abs(row[2].us - row[1].us), row[0]))
    return {
        "torch_us": round(sum(one.us for one in torchs.values()), 1),
        "tunedb_us": round(sum(one.us for one in tunedbs.values()), 1),
        "promised_us": round(promised, 1),
        "kernels": [[name, *(round(part, 2) for side in sides for part in side)] for name, *sides in rows],
    }


def said(figures: Mapping[str, Any]) -> str:
    saved = figures["torch_us"] - figures["tunedb_us"]
    rows = [
        (
            name,
            f"{torch_launches:g}",
            f"{torch_us:.1f}",
            f"{launches:g}",
            f"{us:.1f}",
            f"{us - torch_us:+.1f}",
        )
        for name, torch_launches, torch_us, launches, us in figures["kernels"][:SHOWN]
    ]
    heads = ("kernel", "torch's launches", "us", "tunedb's launches", "us", "difference")
    return (
        f"torch {figures['torch_us']:.0f} us, tunedb {figures['tunedb_us']:.0f} us: promised {figures['promised_us']:.0f} us, arrived {saved:.0f} us\n"
        f"{table(heads, rows)}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
