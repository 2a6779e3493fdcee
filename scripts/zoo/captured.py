"""Capture one model, and keep what it asks for in a file of its own: a run that is stopped goes on behind it."""

import json
import signal
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

import tunedb
from tunedb.suites.replace_file import replace_file
from zoo.model import Made, Model

__all__ = ["capture", "kept", "path_of", "put", "read"]

GRACE = 30  # seconds in which a model that is given up may end
LIMIT = 100_000  # different problems of one model
# What an entry of a suite says of a problem.
GEOMETRY = (
    "op", "n", "c_in", "spatial_in", "c_out", "kernel", "stride", "padding", "output_padding", "dilation", "groups", "bias",
    "dtype", "precision", "layout",
)  # fmt: skip


def capture(model: Model, seconds: int = 300) -> dict[str, Any]:
    """Return what a model's calls ask of convolutions, as its file has it, or why it fails.

    It is made and called on meta tensors. Where its package cannot do that, it is made on the CPU and called on meta tensors,
    or at last called on the CPU. After so many seconds it is given up; where it does not even notice, the process is ended.
    """
    start, failures, found = perf_counter(), list[str](), {}
    before = signal.signal(signal.SIGALRM, partial(_given_up, seconds))
    signal.alarm(seconds)
    for made_on, called_on in (("meta", "meta"), ("cpu", "meta"), ("cpu", "cpu")):
        try:
            with torch.device(made_on):
                made = model.make()
            found = _called(made, called_on)
        except Exception as error:  # noqa: BLE001 (whatever a package raises costs one model)
            failures.append(said_of(error))
            if isinstance(error, TimeoutError):
                break
        else:
            failures.clear()
            break
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    failure = "; then ".join(dict.fromkeys(failures))
    return {"name": model.name, "failure": failure, **found, "seconds": round(perf_counter() - start, 2)}


def _given_up(seconds: int, *_: Any) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(GRACE)
    raise TimeoutError(f"it took more than {seconds} s")


def _called(made: Made, device: str) -> dict[str, Any]:
    module = made.module.to(device).eval()
    with torch.device(device), torch.no_grad(), tunedb.capture(limit=LIMIT) as layers:
        for call in made.calls:
            call(module)
    entries = [
        {name: getattr(entry, name) for name in GEOMETRY}
        | {"calls": entry.calls, "module": next(iter(entry.modules), "")}
        for entry in layers
    ]
    return {"on": device, "entries": entries, "torch answers": dict(layers.skipped)}


def said_of(error: Exception) -> str:
    """Return an error in a line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def path_of(cache: Path, name: str) -> Path:
    """Return the file of a model; a slash in its name is a folder."""
    return cache / f"{name}.json"


def put(cache: Path, found: Mapping[str, Any]) -> None:
    """Write the file of a model."""
    path = path_of(cache, found["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(found, ensure_ascii=False).encode())


def read(cache: Path, name: str) -> dict[str, Any] | None:
    """Return what the file of a model has; None where there is none, or where it is broken."""
    try:
        found = json.loads(path_of(cache, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"name", "failure"} <= found.keys() else None


def kept(cache: Path, models: list[Model]) -> Iterator[dict[str, Any]]:
    """Yield what the files of models have, in the order of models."""
    for model in models:
        if (found := read(cache, model.name)) is not None:
            yield found
