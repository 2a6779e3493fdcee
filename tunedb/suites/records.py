"""The objects of a JSON list, each with its line; a broken one is named and the rest still read."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from tunedb.errors import printable, quoted

__all__ = ["records"]

LONGEST_NUMBER = 100  # digits; Python takes quadratic time for an integer of any length
_LONG_NUMBER = re.compile(rf"[0-9]{{{LONGEST_NUMBER}}}")
_BLANKS = re.compile(r"[ \t\r\n]*")
# Possessive, and tried once a line: a file of blank lines would take quadratic time otherwise.
_BEGINNING = re.compile(r"^[ \t\r]*+(?=\{)", re.MULTILINE)


def records(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Yield the objects of a JSON list with their lines, and for each mistake its line and what it is.

    It goes on after a broken record where the next line begins one. The time is linear in the text for each mistake, so
    whoever reads a file from elsewhere stops after some of them.
    """
    lines = _Lines(text)
    decoder = _SLOW_DECODER if _LONG_NUMBER.search(text) else _DECODER
    end = len(text.rstrip(" \t\r\n"))
    at = _after_blanks(text, 0)
    if at == len(text):
        yield 1, "a suite must begin with '[', but the file is empty."
        return
    if text[at] != "[":
        yield lines.of(at), f"a suite must begin with '[', but got {quoted(text[at])}."
        return
    at = _after_blanks(text, at + 1)
    mark = text[at : at + 1]  # an empty list ends here
    while mark != "]":
        begin = at
        try:
            value, at = decoder.raw_decode(text, begin)
            at = _after_blanks(text, at)
            mark = text[at : at + 1]
            if mark not in {",", "]"}:
                raise json.JSONDecodeError("expecting ',' or ']' after a record", "", at)
        except (RecursionError, ValueError) as error:
            where, what = _explained(error, begin)
            yield lines.of(min(where, end)), what
            following = _BEGINNING.search(text, max(where, begin + 1))
            if following is None:
                return
            at, mark = following.end(), ","
            continue
        if isinstance(value, dict):
            yield lines.of(begin), value
        else:
            yield lines.of(begin), f"a record must be a JSON object, but got {quoted(value)}."
        at = _after_blanks(text, at + 1) if mark == "," else at
    at = _after_blanks(text, at + 1)
    if at < len(text):
        yield lines.of(at), f"nothing may follow the list, but got {quoted(text[at : at + 20])}."


class _Lines:
    """Numbers of lines, counted on from the last one that was asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at, self._line = 0, 1

    def of(self, at: int) -> int:
        if at < self._at:
            self._at, self._line = 0, 1
        self._line += self._text.count("\n", self._at, at)
        self._at = at
        return self._line


def _after_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return at if blanks is None else blanks.end()


def _explained(error: Exception, begin: int) -> tuple[int, str]:
    """Return where a record is broken, and how, in words that do not depend on Python's version."""
    if isinstance(error, json.JSONDecodeError):
        return error.pos, f"{printable(error.msg)}."
    if isinstance(error, RecursionError):
        return (
            begin,
            "a record must be a flat JSON object, but lists or objects lie inside one another too deep.",
        )
    return begin, f"{printable(str(error))}."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names: set[str] = set()
        twice = next(name for name, _ in pairs if name in names or names.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"a record must have each field once, but {quoted(twice)} stands twice")
    return record


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number must have at most {LONGEST_NUMBER} digits, but got {quoted(text)}")
    return int(text)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"a number must be finite, but got {name}, which is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
# Three times as slow, so only for a text with a number of so many digits.
_SLOW_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number, parse_int=_integer)
