"""The results of a run of bench_kernels, and their JSON file; where and when a run was made."""

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Results", "Row", "Spread", "heading", "heading_here"]

Spread = tuple[float, float, float]


class Row(NamedTuple):
    """One problem. `times` are GPU microseconds by column: median, 20th and 80th percentile; `kernels` what answered."""

    id: str
    op: str
    dtype: str
    layout: str
    floor_us: float | None
    times: dict[str, Spread]
    kernels: dict[str, str]
    notes: list[str]
    failures: list[str]

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Row":
        """Return a row from JSON, rounded to nanoseconds: pages are the same from a run and from its file."""
        times = {
            name: (round(one[0], 3), round(one[1], 3), round(one[2], 3))
            for name, one in given["times"].items()
        }
        floor = given["floor_us"] and round(given["floor_us"], 3)
        return cls(**{**given, "times": times, "floor_us": floor})

    @property
    def key(self) -> tuple[str, str, str]:
        return self.id, self.dtype, self.layout

    @property
    def stands_in(self) -> bool:
        """Whether what was dispatched, one of tunedb's own kernels, stands for the fastest of them: no sweep had it."""
        return "triton" not in self.times and self.kernels.get("dispatched", "aten") != "aten"

    def spread(self, column: str) -> Spread | None:
        return self.times.get("dispatched" if column == "triton" and self.stands_in else column)

    def time(self, column: str) -> float | None:
        """Return a median; the floor is a column too."""
        if column == "floor":
            return self.floor_us
        found = self.spread(column)
        return None if found is None else found[0]


class Results(NamedTuple):
    """A run, as its JSON file has it."""

    device: str
    environment: dict[str, str]
    date: str
    command: str
    suite: str
    rows: list[Row]

    @classmethod
    def read(cls, path: Path) -> "Results":
        given = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**given, "rows": [Row.of(row) for row in given["rows"]]})

    def write(self, path: Path) -> None:
        """Write a line a row, which makes differences between runs readable."""
        rows = ",\n".join(json.dumps(row._asdict()) for row in self.rows)
        head = json.dumps({**self._asdict(), "rows": []}, indent=1)
        path.write_text(head.removesuffix("[]\n}") + f"[\n{rows}\n]\n}}\n", encoding="utf-8")

    @property
    def heading(self) -> str:
        return heading(self.device, self.environment, self.date)


def heading(device: str, environment: Mapping[str, str], date: str) -> str:
    """Return where and when a run was made, as a page says it."""
    names = {"triton": "Triton", "cudnn": "cuDNN"}
    versions = ", ".join(f"{names.get(name, name)} {version}" for name, version in environment.items())
    return f"{device}, {versions}, {date}"


def heading_here() -> str:
    """Return the heading of a run on the GPU at hand, today."""
    import torch

    from tunedb.measure.versions import environment

    return heading(torch.cuda.get_device_name(), environment(), f"{dt.datetime.now(dt.UTC):%Y-%m-%d}")
