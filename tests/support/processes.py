"""What a process has started, and what of it lives; used by scripts/fuzz/kills.py too."""

from pathlib import Path

__all__ = ["alive", "descendants"]


def descendants(pid):
    """Every process that a process has started, directly or not."""
    found, new = set(), {pid}
    parents = {child: fields[1] for child, fields in _running()}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def alive(pids):
    """Those of the processes that still run; one that only waits to be asked for its status does not."""
    return {pid for pid, _ in _running()} & set(pids)


def _running():
    """Yield the id of each process, with its state and its parent's id."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            yield int(path.parent.name), (state, int(parent))
