"""Runs calls under NVIDIA Nsight Compute (ncu), and reads what the GPU's counters say of their launches."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunedb.errors import DeviceError
from tunedb.measure.counted_calls import MARK
from tunedb.problem import Problem
from tunedb.store.profile import COUNTERS, Launch

__all__ = ["counted", "found", "parsed", "version"]

Job = tuple[str, Problem, str]  # kernel, problem, config as JSON

# Which unit is the base unit of a time depends on ncu's version.
NANOSECONDS = {"s": 1e9, "second": 1e9, "ms": 1e6, "msecond": 1e6, "us": 1e3, "usecond": 1e3}

START_S, EACH_S = 120.0, 30.0  # for a process to begin, and for each of its jobs


def found() -> str:
    """Return the path of ncu. Raises DeviceError: where it is not installed."""
    path = shutil.which("ncu")
    if path is None:
        raise DeviceError(
            "ncu must be on the PATH, since it reads the GPU's counters, but it is not: install NVIDIA Nsight Compute, which comes with the CUDA toolkit."
        )
    return path


def version() -> str:
    """Return ncu's version, such as "2025.3.1.0"; empty where it does not say it."""
    said = subprocess.run([found(), "--version"], check=False, capture_output=True, text=True).stdout  # noqa: S603
    words = said.split()
    return words[words.index("Version") + 1] if "Version" in words[:-1] else ""


def counted(jobs: Sequence[Job], gpu: int) -> list[tuple[Launch, ...]]:
    """Return the launches of each job's call on the GPU of that CUDA index, none for a job that failed.

    Each launch is counted with the clocks as they are and cold caches, several times over, since a GPU has fewer counters than are
    asked for. Raises DeviceError: where ncu is missing, may not read counters, or counted nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, log = Path(folder) / "jobs.json", Path(folder) / "ncu.csv"
        asked.write_text(json.dumps(jobs), encoding="utf-8")
        command = [
            found(), "--csv", "--page", "raw", "--print-units", "base", "--profile-from-start", "off", "--clock-control", "none",
            "--metrics", ",".join(COUNTERS.values()), "--log-file", str(log),
            sys.executable, "-P", "-m", "tunedb.measure.counted_calls", str(asked),
        ]  # fmt: skip
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": _visible(gpu), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # fmt: skip
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=START_S + EACH_S * len(jobs))  # noqa: S603  # fmt: skip
            said = done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            said = f"it took longer than {error.timeout:g} s"
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    launches = parsed(text)
    if not launches:
        raise DeviceError(_why(text + said))
    return [*launches, *[()] * len(jobs)][: len(jobs)]


def parsed(text: str) -> list[tuple[Launch, ...]]:
    """Return the launches behind each mark of ncu's CSV: a line a launch, a column a counter, units in the second line."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    groups: list[list[Launch]] = []
    scales: dict[str, float] = {}
    for row in csv.DictReader(lines):
        name = row.get("Kernel Name") or ""
        if not name:
            scales = {counter: NANOSECONDS.get(row.get(counter) or "", 1.0) for counter in COUNTERS.values()}
        elif MARK in name:
            groups.append([])
        elif groups:
            groups[-1].append(Launch(_short(name), *_values(row, scales)))
    return [tuple(group) for group in groups]


def _values(row: dict[str, str | None], scales: dict[str, float]) -> Iterator[float]:
    for counter in COUNTERS.values():
        try:
            value = float((row.get(counter) or "0").replace(",", "")) * scales.get(counter, 1.0)
        except ValueError:  # "n/a": a unit that this GPU lacks
            value = 0.0
        yield max(0.0, value)


def _short(name: str) -> str:
    """Return a kernel's name without its template's and function's arguments."""
    return name.partition("<")[0].partition("(")[0].removeprefix("void ").strip() or name


def _visible(gpu: int) -> str:
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return given.split(",")[gpu] if given else str(gpu)


def _why(said: str) -> str:
    if "ERR_NVGPUCTRPERM" in said:
        return "ncu must be allowed to read the GPU's counters, but the driver refuses it: run as root, or load the nvidia module with NVreg_RestrictProfilingToAdminUsers=0."
    last = " ".join(said.split())[-400:]
    return f"ncu must count at least one launch, but counted none: {last or 'it said nothing'}"
