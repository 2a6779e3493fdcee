"""The rows of a report as a compiled model has them: the bias of torch's own convolutions costs nothing there."""

from typing import TYPE_CHECKING

from tunedb.device import Device
from tunedb.dispatch.fused import bias_us

if TYPE_CHECKING:
    from tunedb.model.report import Row

__all__ = ["compiled_row"]


def compiled_row(row: "Row", device: Device) -> "Row":
    """Return a row with torch's time without its pass for the bias; torch answers where it is faster so."""
    if row.torch_us is None or row.tunedb_us is None:
        return row
    torch_us = max(row.floor_us, row.torch_us - bias_us(row.problem, device))
    if row.state == "answered" and row.tunedb_us <= torch_us:
        return row._replace(torch_us=torch_us, saved_pass_us=row.calls * (torch_us - row.tunedb_us))
    return row._replace(
        state="torch", kernel="aten", torch_us=torch_us, tunedb_us=torch_us, saved_pass_us=0.0,
        why=row.why if row.state == "torch" else f"compiled, torch takes {torch_us:.1f} us without its pass for the bias",
    )  # fmt: skip
