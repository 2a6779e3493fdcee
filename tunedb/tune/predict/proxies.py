"""What was timed in the place of a GPU that is not here: on another one that runs code of its kind."""

import functools
from importlib.resources import files as resources
from pathlib import Path
from typing import NamedTuple

from tunedb.device import Device, by_slug
from tunedb.errors import DeviceError
from tunedb.problem import Problem
from tunedb.record import Choice
from tunedb.store import files
from tunedb.store.read import Database

__all__ = ["PROXY", "Timed", "timed"]

PROXY = "by proxy on "  # how the detail of a candidate begins whose time was moved from another GPU


class Timed(NamedTuple):
    """A time on a proxy, in microseconds of one call."""

    device: Device
    us: float


def timed(problem: Problem, device: Device) -> dict[Choice, Timed]:
    """Return the candidates of a problem that databases hold of proxies, the fastest first.

    A proxy multiplies with the same instructions: an H100 or H200 that runs sm_89 code for an RTX 4090, an H200 for an H100.
    """
    found: dict[Choice, Timed] = {}
    for file in [*_shipped(), *files.opened(device.slug), *files.opened_elsewhere(device.slug)]:
        for record in (one for one in file.sizes(problem) if one.problem == problem):
            proxy = _proxy(record.device, device)
            if proxy is None or record.provenance != "measured":
                continue
            if record.kernel != "aten":
                found.setdefault(Choice(record.kernel, record.config), Timed(proxy, record.time_us))
            for tried in file.top(problem, record.device):
                us = tried.measurement.time_us
                if tried.measurement.status == "ok" and us is not None and tried.kernel != "aten":
                    found.setdefault(tried.choice, Timed(proxy, us))
    return dict(sorted(found.items(), key=lambda pair: pair[1].us))


def _proxy(slug: str, device: Device) -> Device | None:
    try:
        other = by_slug(slug)
    except DeviceError:  # a GPU that this machine does not know
        return None
    same = (other.wgmma, other.mma_sync) == (device.wgmma, device.mma_sync)
    return other if same and slug != device.slug else None


@functools.cache
def _shipped() -> tuple[Database, ...]:
    """Return the files of GPUs that ran an older generation's code, which answer no call: they come with tunedb for this."""
    folder = Path(str(resources("tunedb.db"))) / "proxies"
    return tuple(Database(path, immutable=True) for path in sorted(folder.glob("*.sqlite")))
