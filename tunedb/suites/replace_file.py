"""A file is written whole or not at all."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: str | Path, data: bytes) -> None:
    """Write a file, or replace it whole: neither a kill nor a full disk loses what was there.

    The data goes to a new file in the same folder, reaches the disk, and takes the file's name. A symbolic link is followed:
    the file that it names is replaced and the link stays. The file keeps its permissions. After a kill a file named
    `.NAME.….tmp` may be left over, which nothing reads.
    Raises OSError: where that cannot be done, or for what exists and is no regular file, such as /dev/null.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (of the target; a circle of links is an error here)
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        raise OSError(0, "it is no regular file")
    target = Path(os.path.realpath(path))
    # A name that nobody can foresee, and one that must not exist yet: a link that lies there would be followed.
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(number, "wb") as file:
            if mode is not None:
                os.fchmod(number, stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(number)
        beside.replace(target)
    except BaseException:  # Ctrl-C too
        beside.unlink(missing_ok=True)
        raise
    # The name reaches the disk with the folder. Some file systems cannot do that, and the file is whole without it.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
