"""What a sweep is asked to do: which problems, for which GPU, and whether that is here to be timed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tunedb.describe import describe
from tunedb.device import CATALOGUE, Device, by_slug, current
from tunedb.errors import DeviceError, ProblemError, SuiteError, printable, quoted
from tunedb.problem import DTYPES, LAYOUTS, OPS, Problem
from tunedb.suite import Entry, load_suite, problems, shipped_suites

__all__ = ["Selection", "Target", "add_suites", "gpus_here", "history_beside", "select", "target"]

ABSENT = "4090"  # what a machine without a GPU sweeps for


class Selection(NamedTuple):
    """Problems without repetition, with a name for people, the calls in one forward pass, and the suites that they belong to."""

    problems: list[Problem]
    labels: dict[Problem, str]
    calls: dict[Problem, int]
    suites: dict[str, list[Entry]]


class Target(NamedTuple):
    device: Device
    provenance: str  # measured where the device is here, else predicted
    gpus: tuple[int, ...]  # CUDA indices; empty where it is not here


def select(
    op: str,
    suites: Sequence[str] = (),
    *,
    shape: Entry | None = None,
    only: Sequence[str] = (),
    batch: int | None = None,
    dtypes: Sequence[str] = (),
    layouts: Sequence[str] = (),
    precision: str | None = None,
) -> Selection:
    """Return the problems of an operation, or of "all", in some suites (all that are shipped, by default) or of one shape.

    Without `dtypes`, `layouts` or `precision` a captured entry has its own, and any other is asked for in float32 and float16,
    in all layouts, in tf32. `only` keeps the entries of these ids, `batch` those of this n.
    Raises ProblemError, SuiteError: for an unknown name, for a shape beside suites, or where nothing is left to do.
    """
    if op != "all" and op not in OPS:
        raise ProblemError(f"op must be one of {', '.join(OPS)} or all, but got {quoted(op)}.")
    for name, values, allowed in (("dtype", dtypes, DTYPES), ("layout", layouts, LAYOUTS)):
        for value in values:
            if value not in allowed:
                raise ProblemError(f"{name} must be among {', '.join(allowed)}, but got {quoted(value)}.")
    if shape is not None:
        given = (("suite", bool(suites)), ("only", bool(only)), ("n", batch is not None))
        if beside := [name for name, there in given if there]:
            raise ProblemError(
                f"a shape must be given alone, but got {', '.join(beside)} too, which choose{'' if len(beside) > 1 else 's'} from suites: leave out either --x and --w, or --suite, --only and --n."
            )
        return _selection([shape], {}, dtypes, layouts, precision)
    loaded = _loaded(suites or shipped_suites())
    known = {entry.id for entries in loaded.values() for entry in entries}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SuiteError(
            f"an id must stand in one of the suites {', '.join(map(printable, loaded))}, but got {printable(', '.join(unknown))}."
        )
    kept = [
        entry
        for entries in loaded.values()
        for entry in entries
        if op in {"all", entry.op} and (not only or entry.id in only) and batch in {None, entry.n}
    ]
    if not kept:
        filters = [
            f"op {op}",
            *(f"id {name}" for name in only),
            *([] if batch is None else [f"n {batch}"]),
        ]
        raise SuiteError(
            f"at least one problem must be left, but {', '.join(loaded)} have none with {', '.join(filters)}."
        )
    return _selection(kept, loaded, dtypes, layouts, precision)


def target(slug: str | None = None, gpus: str = "all") -> Target:
    """Return the GPU to sweep for: the one at hand by default, and without one the 4090, predicted.

    "h200-sm89" is measured on an H200 that runs Ada's code. `gpus` is "all" or CUDA indices, "0,1"; only those of
    the device are used.
    Raises DeviceError: for an unknown device, or an index that is not one of the device's GPUs here.
    """
    here = gpus_here()
    if slug is None and not here and gpus != "all":
        raise DeviceError(f"gpus must be all on a machine without a CUDA GPU, but got {quoted(gpus)}.")
    device = by_slug(slug) if slug is not None else here[_first(gpus, here)] if here else by_slug(ABSENT)
    mine = [index for index, found in enumerate(here) if found.slug == device.gpu]
    if not mine and gpus != "all":
        raise DeviceError(
            f"gpus must be all for a device that is not here, but got gpus {gpus!r} with device {device.slug}: leave --gpus out, and its times are predicted."
        )
    if not mine:
        return Target(device, "predicted", ())
    if gpus == "all":
        return Target(device, "measured", tuple(mine))
    wanted = _indices(gpus)
    if not set(wanted) <= set(mine):
        raise DeviceError(
            f"gpus must be all or among {','.join(map(str, mine))}, the {device.gpu} GPUs here, but got {quoted(gpus)}."
        )
    return Target(device, "measured", wanted)


def add_suites(db: Path, suites: Mapping[str, Sequence[Entry]]) -> None:
    """Note in a database, made if it is not there, which problems the suites are made of.

    Raises DatabaseError: where it cannot be written, before any time is spent on a sweep.
    """
    from tunedb.store.write import Store

    with Store(db) as store:
        for name, entries in suites.items():
            store.add_suite(name, entries)


def history_beside(db: Path) -> str:
    """Return where the search history of a database lies by default."""
    return str(db.with_name(f"{db.stem}.history.log"))


def _selection(
    entries: Sequence[Entry],
    suites: dict[str, list[Entry]],
    dtypes: Sequence[str],
    layouts: Sequence[str],
    precision: str | None,
) -> Selection:
    labels: dict[Problem, str] = {}
    calls: dict[Problem, int] = {}
    sizes: dict[str, Entry] = {}
    for entry in entries:
        # An id that means another layer in a second suite is told apart by its shapes.
        same = sizes.setdefault(entry.id, entry)[2:] == entry[2:]
        name = entry.id if same else f"{entry.id} {describe(entry.problem())}"
        found = problems([entry], dtypes, layouts, precision)
        for problem in found:
            # A captured layer that stands for one problem needs no more than its name.
            full = name if entry.captured and len(found) == 1 else f"{name} {problem.dtype} {problem.layout}"
            labels.setdefault(problem, full)
            calls[problem] = calls.get(problem, 0) + entry.calls
    if not labels:
        raise ProblemError(
            "at least one layout must apply, but channels_last is for two and three dimensions only."
        )
    return Selection(list(labels), labels, calls, suites)


def _loaded(suites: Sequence[str]) -> dict[str, list[Entry]]:
    loaded: dict[str, list[Entry]] = {}
    for suite in dict.fromkeys(suites):
        name = suite if suite in shipped_suites() else Path(suite).stem
        if name in loaded:
            raise SuiteError(
                f"suites must have different names, but {name!r} is given twice: rename {suite}."
            )
        loaded[name] = load_suite(suite)
    return loaded


def gpus_here() -> list[Device]:
    """Return the CUDA GPUs of this machine by index; none where torch cannot use them."""
    import torch

    # A ROCm build answers to torch.cuda too, but is not what the kernels are compiled for.
    if not torch.cuda.is_available() or not torch.version.cuda:
        return []
    return [current(index) for index in range(torch.cuda.device_count())]


def _first(gpus: str, here: list[Device]) -> int:
    first = 0 if gpus == "all" else min(_indices(gpus))
    if first >= len(here):
        known = ", ".join(device.slug for device in CATALOGUE)
        raise DeviceError(
            f"gpus must be all or below {len(here)}, but got {quoted(gpus)}; a GPU that is elsewhere is named by --device ({known})."
        )
    return first


def _indices(gpus: str) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(part) for part in gpus.split(",")))
    except ValueError:
        found = ()
    if not found or min(found) < 0:
        raise DeviceError(f"gpus must be all or indices such as 0,1, but got {quoted(gpus)}.")
    return found
