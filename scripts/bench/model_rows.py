"""The rows of bench_models and their JSON file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["DTYPES", "LAYOUTS", "MODES", "SWEPT", "Key", "Row", "read", "wanted", "write"]

DTYPES = ("float16", "bfloat16", "float32")
LAYOUTS = ("channels_first", "channels_last")
MODES = ("graph", "eager", "compiled_graph", "compiled")  # in the order in which they are measured
SWEPT = ("no", "yes")


class Key(NamedTuple):
    """What is measured: one row."""

    model: str
    swept: bool
    dtype: str
    layout: str
    mode: str


class Row(NamedTuple):
    """One model in one dtype, layout and mode; None is what was not measured.

    Times are milliseconds a forward pass (median; `_spread`: 20th and 80th percentile), memory is in MB (1e6 bytes),
    errors are relative to float32 without TF32. `noise` is torch's time over torch's, from two series in the same turns.
    `paired` is the median over the turns of torch's time over tunedb's: of a busy host it sees less than the two medians do.
    """

    model: str
    kind: str
    decoder: bool
    dtype: str
    layout: str
    mode: str
    swept: bool
    torch_ms: float | None
    tunedb_ms: float | None
    torch_ms_spread: tuple[float, float] | None
    tunedb_ms_spread: tuple[float, float] | None
    noise: float | None
    expected_saved_ms: float | None
    layers: int | None
    layers_tunedb: int | None
    first_call_s: float | None
    torch_first_call_s: float | None
    peak_mb: float | None
    torch_peak_mb: float | None
    error: float | None
    torch_error: float | None
    notes: list[str]  # warnings of tunedb
    failure: str
    device: str
    versions: dict[str, str]
    date: str
    command: str
    paired: float | None = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Row":
        spreads = {
            name: given[name] and tuple(given[name]) for name in ("torch_ms_spread", "tunedb_ms_spread")
        }
        return cls(**{**given, **spreads})

    @property
    def key(self) -> Key:
        return Key(self.model, self.swept, self.dtype, self.layout, self.mode)

    @property
    def ratio(self) -> float | None:
        """Torch's time over tunedb's: turn by turn, where that is known."""
        return self.paired or (self.torch_ms / self.tunedb_ms if self.torch_ms and self.tunedb_ms else None)

    @property
    def achieved(self) -> float | None:
        """The saving that arrived over the expected one."""
        if not (self.torch_ms and self.tunedb_ms and self.expected_saved_ms):
            return None
        return (self.torch_ms - self.tunedb_ms) / self.expected_saved_ms


def wanted(
    models: Iterable[Any],
    dtypes: Sequence[str],
    layouts: Sequence[str],
    modes: Sequence[str],
    swept: Sequence[str],
) -> list[Key]:
    """Return the keys of what was chosen, those of one process beside each other, in the same order in every process."""
    return [
        Key(model.name, tuned == "yes", dtype, layout, mode)
        for model in models
        for tuned in SWEPT
        for dtype in DTYPES
        for layout in model.layouts
        for mode in MODES
        if tuned in swept and dtype in dtypes and layout in layouts and mode in modes
    ]


def read(path: Path) -> list[Row]:
    """Return the rows of a file; none where there is no file."""
    if not path.is_file():
        return []
    return [Row.of(given) for given in json.loads(path.read_text(encoding="utf-8"))]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a line a row, which makes differences between runs readable; a reader never sees half a file."""
    lines = ",\n".join(json.dumps(row._asdict(), allow_nan=False) for row in sorted(rows, key=_place))
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.new")
    half.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    half.replace(path)


def _place(row: Row) -> tuple[str, bool, int, int, int]:
    key = row.key
    return (
        key.model, key.swept, DTYPES.index(key.dtype), LAYOUTS.index(key.layout), MODES.index(key.mode)
    )  # fmt: skip
