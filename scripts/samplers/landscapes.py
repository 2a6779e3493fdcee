"""A recorded landscape: every config that was tried of one kernel on one problem, and what it took.

The file is JSON, compressed: problem, device, versions, date, the values of each field, and a row a config, which is the
fields' values and then microseconds or a status. It depends on no kernel's code, so that an old one stays
readable; `space` makes Spaces of landscapes in which only what was recorded is valid.
"""

import collections
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunedb.device import Device, by_slug
from tunedb.problem import Problem
from tunedb.record import STATUSES, Choice, Measurement
from tunedb.tune.space import Space

__all__ = ["Landscape", "file_name", "outcomes", "read", "space", "together", "write"]

Value = int | str
Row = tuple[Any, ...]  # the values of the fields, then microseconds or a status


class Landscape(NamedTuple):
    """What was recorded of one kernel on one problem, in the order in which it was timed."""

    id: str  # of the problem in its suite
    kernel: str
    kernel_hash: str
    problem: Problem
    device: str
    environment: dict[str, str]
    date: str
    aten_us: float | None
    valid: int | None  # configs of these values that the kernel calls valid, where it could be asked
    default: tuple[Value, ...] | None  # the kernel's own, where it is recorded
    values: dict[str, tuple[Value, ...]]
    rows: list[Row]

    @property
    def label(self) -> str:
        return f"{self.id} {self.problem.dtype} {self.problem.layout}"

    @property
    def density(self) -> float | None:
        """The part of the valid configs that was recorded; None where nobody knows."""
        return min(1.0, len(self.rows) / self.valid) if self.valid else None

    @property
    def times(self) -> dict[tuple[Value, ...], float]:
        """The configs that were right, with microseconds."""
        return {row[:-1]: row[-1] for row in self.rows if not isinstance(row[-1], str)}


def file_name(landscape: Landscape) -> str:
    one = landscape.problem
    return f"{landscape.kernel}-{landscape.id}-{one.dtype}-{one.layout}.json.gz"


def write(landscape: Landscape, folder: Path) -> Path:
    """Write a landscape under its own name. The same landscape gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(landscape)
    facts = {**landscape._asdict(), "problem": landscape.problem._asdict()}
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in facts.pop("rows"))
    text = f'{json.dumps(facts)[:-1]}, "rows": [\n{rows}\n]}}\n'
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return path


def read(path: Path) -> Landscape:
    """Read a landscape. Raises ValueError: where the file is none."""
    try:
        facts = json.loads(gzip.decompress(path.read_bytes()))
        found = Landscape(
            **{
                **facts,
                "problem": Problem(**facts["problem"]),
                "default": None if facts["default"] is None else tuple(facts["default"]),
                "values": {field: tuple(values) for field, values in facts["values"].items()},
                "rows": [tuple(row) for row in facts["rows"]],
            }
        )
        sound = all(
            len(row) == len(found.values) + 1
            and (row[-1] in STATUSES if isinstance(row[-1], str) else row[-1] > 0)
            for row in found.rows
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"a landscape must be a file that record_landscape.py wrote, but {path} gives {error}."
        ) from error
    if not sound:
        raise ValueError(
            f"a row must have {len(found.values)} values and microseconds or a status, but {path} has others."
        )
    return found


def together(landscapes: Iterable[Landscape]) -> dict[str, list[Landscape]]:
    """Return the landscapes of each problem: a sweep searches all its kernels at once."""
    found: dict[tuple[str, Problem], list[Landscape]] = collections.defaultdict(list)
    for one in landscapes:
        found[one.device, one.problem].append(one)
    several = len({device for device, _ in found}) > 1
    return {
        f"{f'{group[0].device} ' if several else ''}{group[0].label} {'+'.join(sorted(one.kernel for one in group))}": group
        for group in found.values()
    }


def outcomes(landscapes: Iterable[Landscape]) -> dict[Choice, Measurement]:
    """Return what each config came to, as a sweep would be told."""
    found = {}
    for one in landscapes:
        for *values, outcome in one.rows:
            config = json.dumps(dict(zip(one.values, values, strict=True)), separators=(",", ":"))
            found[Choice(one.kernel, config)] = (
                Measurement(outcome) if isinstance(outcome, str) else Measurement("ok", time_us=outcome)
            )
    return found


class _Recorded:
    """A kernel as the search sees it, of which only what was recorded is valid."""

    def __init__(self, landscape: Landscape) -> None:
        kinds = [(field, type(values[0])) for field, values in landscape.values.items()]
        self.OPS = (landscape.problem.op,)
        self.Config: Any = NamedTuple("Config", kinds)  # type: ignore[misc]  # the fields are data
        self._values = landscape.values
        self._default = landscape.default
        self._known = {row[:-1] for row in landscape.rows}

    def space(self, problem: Problem, device: Device) -> dict[str, Any]:
        del problem, device
        return self._values

    def valid(self, problem: Problem, config: Any, device: Device) -> str:
        del problem, device
        return "" if config in self._known else "it is not recorded"

    def default(self, problem: Problem, device: Device) -> Any:
        del problem, device
        return None if self._default is None else self.Config(*self._default)


def space(landscapes: Sequence[Landscape], *, seed: int = 0) -> Space:
    """Return the union of one problem's landscapes as a space. `seed` gives each replay a search of its own.

    A search draws its seed from its problem, so that a replay must be of a problem that differs: in its batch,
    which nothing here looks at.
    """
    problem = landscapes[0].problem
    device = by_slug(landscapes[0].device)
    kernels = {one.kernel: _Recorded(one) for one in landscapes}
    return Space(problem._replace(n=seed + 1), device, kernels)
