"""The fields of a suite's record: which there are, what each may be, and what a missing one means."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from tunedb.arguments import AXIS_SIZES
from tunedb.errors import printable, quoted
from tunedb.problem import OPS, rank

__all__ = ["FIELDS", "LONGEST_TEXT", "MOST_CALLS", "NOTES", "filled", "mistakes"]

LONGEST_TEXT = 200
MOST_CALLS = 10**9
_LISTS = {
    "spatial_in": 1,
    "kernel": 1,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
}  # least value
_COUNTS = {"n": 0, "c_in": 1, "c_out": 1, "groups": 1}
_REQUIRED = ("id", "op", "c_in", "spatial_in", "c_out", "kernel")
# A record is a layer, so that what it leaves out is what torch.nn.Conv2d and its like take.
_DEFAULTS: dict[str, Any] = {"n": 1, **AXIS_SIZES, "groups": 1, "bias": True}
_VARIANT = ("dtype", "precision", "layout")
FIELDS = (*_REQUIRED, *_DEFAULTS, *_VARIANT, "calls", "modules")
NOTES = ("model", "layer", "note")  # what a person writes down; it may be anything
# Torch's names of what difflib would not find.
_TORCHS = {"in_channels": "c_in", "out_channels": "c_out", "batch_size": "n", "input_size": "spatial_in"}
LONGEST_NAME = 40  # of a field that is compared with the known ones, which takes quadratic time
NAMED = 3  # unknown fields of a record that are named; the rest is counted


def mistakes(record: Mapping[str, Any]) -> Iterable[str]:
    """Yield what is wrong with a record, whatever its values are; sizes that contradict each other are not seen here."""
    unknown = [field for field in record if field not in FIELDS and field not in NOTES]
    yield from map(_unknown, unknown[:NAMED])
    if len(unknown) > NAMED:
        yield f"and {len(unknown) - NAMED} more fields that are none."
    missing = [field for field in _REQUIRED if field not in record]
    if missing:
        has = ", ".join(field for field in FIELDS if field in record)
        yield f"a record must have {', '.join(missing)}, but has only {has or 'nothing'}."
        return
    given = {**_DEFAULTS, **record}
    name, op = given["id"], given["op"]
    if not isinstance(name, str) or not name or len(name) > LONGEST_TEXT or not name.isprintable():
        yield f"id must be printable text of 1 to {LONGEST_TEXT} characters, but got {quoted(name)}."
    known_op = isinstance(op, str) and op in OPS
    if not known_op:
        yield f"op must be one of {', '.join(OPS)}, but got {quoted(op)}."
    for field, least in _COUNTS.items():
        if not _is_size(given[field], least):
            yield f"{field} must be an integer of at least {least}, but got {quoted(given[field])}."
    if type(given["bias"]) is not bool:
        yield f"bias must be true or false, but got {quoted(given['bias'])}."
    for field, least in _LISTS.items():
        if known_op and not _is_list(value := given[field], rank(op), least):
            yield f"{field} must be a list of {rank(op)} integers of at least {least}, but got {quoted(value)}; an integer alone stands for every axis."
    variant = [field for field in _VARIANT if given.get(field) is not None]
    if variant and len(variant) < len(_VARIANT):
        yield f"a record must have all of {', '.join(_VARIANT)} or none, but has only {', '.join(variant)}."
    for field in variant:
        if not isinstance(given[field], str):
            yield f"{field} must be text, but got {quoted(given[field])}."
    calls, modules = given.get("calls", 1), given.get("modules", [])
    if type(calls) is not int or not 1 <= calls <= MOST_CALLS:
        yield f"calls must be an integer of 1 to {MOST_CALLS}, but got {quoted(calls)}."
    if not isinstance(modules, list) or not all(
        isinstance(name, str) and name.isprintable() for name in modules
    ):
        yield f"modules must be a list of names in printable text, but got {quoted(modules)}."


def filled(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record without mistakes: a missing one has its default, a list is a tuple of a size for each axis."""
    values = {**_DEFAULTS, **{name: value for name, value in record.items() if name in FIELDS}}
    for name in _LISTS:
        values[name] = (
            (values[name],) * rank(record["op"]) if type(values[name]) is int else tuple(values[name])
        )
    if "modules" in values:
        values["modules"] = tuple(values["modules"])
    return values


def _is_size(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_list(value: object, length: int, least: int) -> bool:
    """Return whether a value is a size for each axis, or an integer for all."""
    if not isinstance(value, list):
        return _is_size(value, least)
    return len(value) == length and set(map(type, value)) == {int} and min(value) >= least


def _unknown(field: str) -> str:
    low = field[:LONGEST_NAME].lower()
    near = [_TORCHS[low]] if low in _TORCHS else get_close_matches(low, (*FIELDS, *NOTES), 1)
    advice = f"did you mean {near[0]}?" if near else f"the fields are {', '.join((*FIELDS, *NOTES))}."
    return f"a record must have known fields only, but has '{printable(field, LONGEST_NAME)}': {advice}"
