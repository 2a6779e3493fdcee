"""Capture the convolutions of some hundreds of public models, and write one suite of them, the most common first.

    python scripts/capture_zoo.py --out zoo.json --jobs 2
    python scripts/capture_zoo.py --out zoo.json --models 'timm/resnet*' --models 'diffusers/*'
    python scripts/capture_zoo.py --suite zoo.json --cover 300 --out cover.json
    tunedb sweep --suite cover.json --dtype float16

The models come from packages that are installed here (timm, torchvision, diffusers, transformers, monai,
segmentation-models-pytorch), with random weights: nothing is downloaded. Each is called on meta tensors at sizes that people use,
or on the CPU if its package needs numbers. Each has a file in --cache, so that a run that was stopped goes on behind it; what
failed is not tried again without --failed. A page of statistics is written beside the suite, as zoo.md.

--cover N writes the N problems that stand best for all. The last line of stdout is one JSON object. A model that cannot be run
is skipped, with a line on stderr that says why. Status 1: no model has been captured.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gpu_shards import answer, dealt
from bench.items import command
from zoo.families import FAMILIES, chosen
from zoo.model import Model

GB = 2**30
YEAR = 31_536_000.0  # seconds: no deadline


def main() -> int:
    arguments = parsed(sys.argv[1:])
    if arguments.suite:
        return covered_suite(arguments)
    models, versions, missing = chosen(arguments.family, arguments.models)
    if arguments.work:
        return work([int(index) for index in arguments.work.split(",")], models, arguments)
    for name, why in missing.items():
        print(f"{name}: skipped: {why}", file=sys.stderr, flush=True)
    captured(models, arguments)
    return written(models, versions, missing, arguments)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the suite; its page goes beside it")
    parser.add_argument("--cache", type=Path, default=Path("out/zoo"), help="a file for each model (default: %(default)s)")  # fmt: skip
    parser.add_argument("--family", action="append", help=f"one of {', '.join(FAMILIES)}, or a Python file with PACKAGES and models(); may be repeated (default: all)")  # fmt: skip
    parser.add_argument("--models", action="append", metavar="GLOB", help="names, as in 'timm/resnet*'; may be repeated (default: all)")  # fmt: skip
    parser.add_argument("--jobs", type=_positive, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--memory", type=_positive, default=6, help="GB that a process may have; a model that needs more is skipped (default: %(default)s)")  # fmt: skip
    parser.add_argument("--timeout", type=_positive, default=300, help="seconds that a model may take (default: %(default)s)")  # fmt: skip
    parser.add_argument("--failed", action="store_true", help="try models again that failed before")
    parser.add_argument("--again", action="store_true", help="capture models again that have a file")
    parser.add_argument("--cover", type=_positive, metavar="N", help="write only the N problems that stand best for all")  # fmt: skip
    parser.add_argument("--suite", type=Path, help="capture nothing: --cover this suite")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # indices of models: what a child is started with
    arguments = parser.parse_args(argv)
    arguments.family = arguments.family or [*FAMILIES]
    arguments.models = arguments.models or ["*"]
    if arguments.suite and not arguments.cover:
        parser.error("--suite must have --cover N: a suite that is there needs no capture.")
    return arguments


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, but got {text}.")
    return int(text)


def captured(models: Sequence[Model], arguments: argparse.Namespace) -> None:
    """Capture what has no file yet, in processes that may die."""
    from zoo.captured import put, read

    left = [
        index
        for index, model in enumerate(models)
        if (found := read(arguments.cache, model.name)) is None
        or arguments.again
        or (arguments.failed and found["failure"])
    ]
    print(f"{len(models)} models, {len(left)} to capture", file=sys.stderr, flush=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each process computes on one core

    def take(found: dict[str, Any]) -> None:
        name, why = models[found["index"]].name, found.get("failure", "")
        if "died" in found:
            why = f"{found['died']}: it crashed, needed too much memory, or hung"
            put(arguments.cache, {"name": name, "failure": why})
        if why:
            print(f"{name}: skipped: {why}", file=sys.stderr, flush=True)

    if left:
        dealt([__file__, *sys.argv[1:]], left, range(arguments.jobs), time.monotonic() + YEAR, take)


def work(indices: Sequence[int], models: Sequence[Model], arguments: argparse.Namespace) -> int:
    """Capture models and answer each: the child's side. A model that hangs or takes too much memory ends with an error, or ends it."""
    import resource

    from zoo.captured import capture, put

    resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory * GB, arguments.memory * GB))
    for index in indices:
        found = capture(models[index], arguments.timeout)
        put(arguments.cache, found)
        answer(index, failure=found["failure"])
    return 0


def written(
    models: Sequence[Model], versions: dict[str, str], missing: dict[str, str], arguments: argparse.Namespace
) -> int:
    """Write the suite of all models that have a file, and its page."""
    from importlib.metadata import version

    from zoo.captured import kept
    from zoo.page import counts, page
    from zoo.suite_file import merged, write

    found = list(kept(arguments.cache, models))
    layers = merged(found)
    said = counts(found, layers) | {"missing": missing, "versions": {**versions, "torch": version("torch")}}
    if layers:
        if arguments.cover:
            said |= _cover(layers, said["versions"], arguments)
        else:
            write(arguments.out, layers, said["versions"])
            text = page(found, layers, said["versions"], command(sys.argv))
            arguments.out.with_suffix(".md").write_text(text, encoding="utf-8")
        said["out"] = str(arguments.out)
    print(json.dumps(said))
    return int(not layers)


def covered_suite(arguments: argparse.Namespace) -> int:
    from zoo.suite_file import read

    layers, versions = read(arguments.suite)
    print(json.dumps({**_cover(layers, versions, arguments), "problems": len(layers), "out": str(arguments.out)}))  # fmt: skip
    return 0


def _cover(layers: Sequence[Any], versions: dict[str, str], arguments: argparse.Namespace) -> dict[str, Any]:
    from zoo.cover import covering
    from zoo.page import covered
    from zoo.suite_file import write

    chosen = covering(layers, arguments.cover)
    write(arguments.out, [layers[index] for index in chosen], versions)
    shares = covered(layers, chosen)
    return {"chosen": len(chosen), "covered": {name: round(share, 4) for name, share in shares.items()}}


if __name__ == "__main__":
    sys.exit(main())
