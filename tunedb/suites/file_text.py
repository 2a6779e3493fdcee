"""The text of a suite's file, or in one message why it has none."""

import os
import stat
from pathlib import Path

from tunedb.errors import SuiteError, printable, quoted

__all__ = ["MOST_BYTES", "file_text"]

MOST_BYTES = 16 << 20  # about 60,000 layers, which are read in seconds
_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def file_text(path: str | Path, known: str) -> str:
    """Return what a file holds.

    Raises SuiteError: where there is no file (`known` names what could have been given instead), where it is no regular file,
    too large, or not in UTF-8.
    """
    name = printable(str(path), 400)
    try:
        kind = os.stat(path).st_mode  # noqa: PTH116 (a Path refuses some names with other errors)
        # A pipe would be waited for, and a device may never end.
        data = _data(path) if stat.S_ISREG(kind) else None
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        # A name with a null byte, or one that is no text, is the name of no file.
        raise SuiteError(
            f"suite must be one of {known} or a JSON file, but got {quoted(str(path), 400)}."
        ) from error
    except OSError as error:
        raise SuiteError(
            f"a suite must be a readable UTF-8 file, but reading {name} gives: {error.strerror}."
        ) from error
    if data is None:
        what = "folder" if stat.S_ISDIR(kind) else "pipe or device"
        raise SuiteError(f"suite must be one of {known} or a JSON file, but {name} is a {what}.")
    if len(data) > MOST_BYTES:
        raise SuiteError(
            f"a suite must have at most {MOST_BYTES >> 20} MiB, but {name} has more: split it into several."
        )
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            raise SuiteError(
                f"a suite must be a readable UTF-8 file without a byte order mark, but {name} begins with that of {encoding}: save it as plain UTF-8."
            )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SuiteError(
            f"a suite must be a readable UTF-8 file, but line {line} of {name} has the byte {data[error.start]:#04x}, which is none: save it as UTF-8."
        ) from error


def _data(path: str | Path) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MOST_BYTES + 1)
