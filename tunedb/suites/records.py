"""The objects of a JSON list, each with its line; a broken one is named and the rest still read."""

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["records"]

_BEGINNING = re.compile(r"\n[ \t\r\n]*(?=\{)")


def records(text: str, errors: list[tuple[int, str]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the objects of a JSON list with their lines, going on after a broken one where the next line begins one."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    at = _blank(text, 0)
    mark = text[at : at + 1]
    if mark != "[":
        errors.append((_line(text, at), f"a suite must begin with '[', but got {mark!r}."))
        return found
    at = _blank(text, at + 1)
    mark = text[at : at + 1]  # an empty list ends here
    while mark != "]":
        begin = at
        try:
            value, at = _DECODER.raw_decode(text, begin)
            at = _blank(text, at)
            mark = text[at : at + 1]
            if mark not in {",", "]"}:
                raise json.JSONDecodeError("expecting ',' or ']' after a record", text, at)
        except (RecursionError, ValueError) as error:
            where = error.pos if isinstance(error, json.JSONDecodeError) else begin
            what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            errors.append((_line(text, min(where, len(text.rstrip()))), f"{what[:200]}."))
            following = _BEGINNING.search(text, max(where, begin + 1))
            if following is None:
                return found
            at, mark = following.end(), ","
            continue
        if isinstance(value, dict):
            found.append((_line(text, begin), value))
        else:
            errors.append((_line(text, begin), f"a record must be a JSON object, but got {value!r:.80}."))
        at = _blank(text, at + 1) if mark == "," else at
    at = _blank(text, at + 1)
    if at < len(text):
        errors.append((_line(text, at), f"nothing may follow the list, but got {text[at : at + 20]!r}."))
    return found


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"a record must have each field once, but {next(n for n in names if names.count(n) > 1)!r:.80} stands twice"
        )
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
