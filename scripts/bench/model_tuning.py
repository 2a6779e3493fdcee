"""What tunes a model before it is measured: its captured suite, the sweep of it, and which database then answers."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.model_modes import Cpu, Gpu, Meta
from bench.model_pair import Subject

__all__ = ["answered_by", "captured", "swept_command", "tuned"]


def captured(
    models: Sequence[Any], dtypes: Sequence[str], layouts: Sequence[str], folder: Path, place: Gpu | Cpu
) -> list[Path]:
    """Return a suite for each model, in all these dtypes and layouts; it is captured where the folder has none yet.

    A bfloat16 problem is answered by float16's record, so float16 stands for it. On meta tensors channels_last is left out:
    which layers see it there is not what they see on a GPU. The name of a file says what was captured, so that another choice
    is another file.
    """
    asked = [*dict.fromkeys("float16" if name == "bfloat16" else name for name in dtypes)]
    real = [layout for layout in layouts if layout == "channels_first" or not isinstance(place, Meta)]
    paths = []
    for model in models:
        own = [layout for layout in model.layouts if layout in real]
        if not own:
            continue
        path = folder / f"{'-'.join([model.name, *asked, *own])}.json"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            _capture(Subject(model, place), asked, own, path)
            place.free()
        paths.append(path)
    return paths


def _capture(subject: Subject, dtypes: Sequence[str], layouts: Sequence[str], path: Path) -> None:
    import tunedb

    with torch.no_grad(), tunedb.capture() as layers:
        for dtype in dtypes:
            for layout in layouts:
                made, inputs = subject.copied(dtype, layout)
                made(*inputs)
    layers.save(path)
    print(f"{path}: {len(layers.entries)} problems", file=sys.stderr, flush=True)


def swept_command(
    suites: Sequence[Path], db: Path, minutes: float, gpus: str, *, together: bool
) -> list[list[str]]:
    """Return the sweeps: one a suite, or one of all for as long as all of them would take.

    -P keeps the working directory off the path: a checkout's folders are not the package as it is installed.
    """
    groups = [list(suites)] if together else [[suite] for suite in suites]
    return [
        [sys.executable, "-P", "-c", "from tunedb.cli import main; main()", "sweep", *(word for suite in group for word in ("--suite", str(suite))),
         "--minutes", f"{minutes * len(group):g}", "--db", str(db), "--gpus", gpus]
        for group in groups
    ]  # fmt: skip


def tuned(commands: Sequence[Sequence[str]], deadline: float) -> int:
    """Run sweeps one after another until the deadline (of time.monotonic); return the worst status.

    A sweep that the deadline ends gets SIGTERM, which it takes as Ctrl-C: what it found stays, and the next one goes on
    there. (Ctrl-C itself is ignored by what a shell runs in the background.)
    """
    worst = 0
    for given in commands:
        left = deadline - time.monotonic()
        if left <= 0:
            return max(worst, 1)
        child = subprocess.Popen(list(given))  # noqa: S603 (tunedb's own command)
        try:
            worst = max(worst, child.wait(left))
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
            worst = max(worst, 1)
    return worst


def answered_by(db: Path | None, without: str | None = None) -> None:
    """Let a database answer in front of the shipped ones; None: the shipped ones alone, whatever this user has swept.

    `without` names a device whose shipped file then stays closed: one that holds these models' own layers, as H100's does.
    """
    if db is not None:
        os.environ["TUNEDB_PATH"] = str(db.absolute())
        return
    os.environ.pop("TUNEDB_PATH", None)
    os.environ["XDG_DATA_HOME"] = str(Path(tempfile.gettempdir()) / "no-database-of-a-user")
    from tunedb.store import files

    shipped = files.shipped_files
    files.shipped_files = lambda: {slug: path for slug, path in shipped().items() if slug != without}
