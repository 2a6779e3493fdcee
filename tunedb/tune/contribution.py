"""The text that a user may send after a confirmation: device, versions and ratios, and nothing about user or machine beyond that."""

from collections.abc import Sequence
from pathlib import Path

from tunedb.describe import describe, versions
from tunedb.device import Device
from tunedb.errors import printable
from tunedb.suites.replace_file import replace_file
from tunedb.tune.confirmed import Confirmed, Outcome, ratios

__all__ = ["add_text", "contribution", "text_beside"]

_HEAD = (
    "problem\tstored as\tstored kernel\tstored us\tmeasured us\tratio\tkernel now\tus now\ttorch us\trefused"
)


def text_beside(db: Path, device: Device) -> Path:
    """Return where the text of a database lies."""
    return db.with_name(f"{db.stem}.confirmed.{device.slug}.txt")


def contribution(confirmed: Confirmed, device: Device) -> str:
    """Return the text of one run.

    A problem is named by its sizes: the ids of a captured suite are names of the user's own. Of a refusal the status is told and
    not the detail, which may hold paths.
    """
    import tunedb

    refused = ", ".join(f"{count} {status}" for status, count in confirmed.refused.most_common())
    lines = [
        f"tunedb {tunedb.__version__}, device {device.slug} ({device.name}), {versions(**confirmed.versions)}",
        *(
            f"{one.provenance}: {one.problems} compared, measured / stored median {one.median:.3f}, worst {one.worst:.3f}"
            for one in ratios(confirmed.outcomes)
        ),
        f"confirmed {len(confirmed.outcomes)}, changed {confirmed.changed}, to torch {confirmed.demoted}, candidates refused: {refused or 'none'}",
        _HEAD,
        *map(_row, confirmed.outcomes),
    ]
    return "\n".join(lines) + "\n"


def add_text(path: Path, text: str) -> None:
    """Add the text of a run to those of earlier runs. Raises OSError: where the file cannot be written."""
    before = path.read_bytes() + b"\n" if path.exists() else b""
    replace_file(path, before + text.encode())


def _row(one: Outcome) -> str:
    cells: Sequence[str] = (
        describe(one.problem),
        one.stored.provenance,
        one.stored.kernel,
        _number(one.stored.time_us),
        _number(one.again_us),
        _number(one.ratio),
        one.record.kernel,
        _number(one.record.time_us),
        _number(one.record.aten_us),
        ", ".join(tried.measurement.status for tried in one.refused) or "-",
    )
    return "\t".join(map(printable, cells))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
