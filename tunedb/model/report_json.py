"""A report as JSON data: stable names, all times in microseconds, described in docs/report.md."""

from collections.abc import Mapping
from typing import Any

from tunedb.describe import as_data
from tunedb.model.database_report import DatabaseReport
from tunedb.model.report import SCHEMA, Report, Row
from tunedb.record import Record

__all__ = ["as_json"]


def as_json(found: Report | DatabaseReport) -> dict[str, Any]:
    """Return a report as what json.dumps takes; what is not known is None."""
    if isinstance(found, Report):
        return {
            "schema": SCHEMA,
            "kind": "suite",
            "title": found.title,
            "device": found.device.slug,
            "device_name": found.device.name,
            "device_here": found.here,
            "date": found.date,
            "totals": found.totals._asdict(),
            "versions": list(found.versions),
            "layers": [_row(row) for row in found.rows],
        }
    return {
        "schema": SCHEMA,
        "kind": "databases",
        "title": found.title,
        "date": found.date,
        "files": [str(path) for path in found.paths],
        "totals": found.totals._asdict(),
        "versions": list(found.versions),
        "groups": [group._asdict() for group in found.groups],
        "best": [_record(one.record, one.names) for one in found.best],
        "worst": [_record(one.record, one.names) for one in found.worst],
    }


def _row(row: Row) -> dict[str, Any]:
    values = row._asdict()
    del values["problem"]
    return {
        **values,
        "modules": list(row.modules),
        **as_data(row.problem),
        "torch_pass_us": row.torch_pass_us,
        "tunedb_pass_us": row.tunedb_pass_us,
    }


def _record(record: Record, names: tuple[str, ...]) -> dict[str, Any]:
    values: Mapping[str, Any] = record._asdict()
    kept = ("device", "kernel", "config", "time_us", "aten_us", "floor_us", "provenance", "tuned_at")
    return {"names": list(names), **{name: values[name] for name in kept}, **as_data(record.problem)}
