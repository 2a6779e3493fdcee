"""Mutated search histories: each is read, or refused in words and left as it was; what is appended to it is read again."""

import functools
import random
import sys
import time
import traceback
import warnings
from pathlib import Path

from tunedb.device import by_slug
from tunedb.errors import StorageError
from tunedb.record import Measurement, Tried
from tunedb.tune.journal import History
from tunedb.tune.owner import owner
from tunedb.tune.space import Space

__all__ = ["run"]

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
LONGEST_S = 5.0  # processor time for a history of some kilobytes
PIECES = (
    b"\n",
    b"{",
    b"}",
    b'"',
    b"\x00",
    b"\xff",
    b"null",
    b'{"op_code":4',
    b'{"op_code":99,"worker_id":"x"}\n',
    b"[" * 3000,
    b"9" * 5000,
)


def run(random: random.Random, folder: Path) -> str:
    """Mutate a history, open it, read it, append to it. Returns what gave way, or an empty text."""
    path = folder / "history.journal"
    data = _mutated(random, _sound(folder))
    path.write_bytes(data)
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            past = History(str(path)).past("a", {})
            before = past.tried()
            if not past.claim(owner(), 40):
                return ""  # as the mutated history says, somebody works on it
            past.append(_trial(99), _space())
            if History(str(path)).past("a", {}).tried() != [*before, _trial(99)]:
                return "what was appended is not read again"
    except StorageError as error:
        if len(str(error)) > 1000 or not str(error).isprintable():
            return f"the message is {len(str(error))} characters long, or cannot be printed"
        if path.read_bytes() != data:
            return f"it was refused, and changed: {error}"
    except Exception:  # noqa: BLE001 (whatever it is, it is what is looked for)
        return traceback.format_exc()
    seconds = time.process_time() - start
    return "" if seconds < LONGEST_S else f"it took {seconds:.1f} s"


@functools.cache
def _space() -> Space:
    sys.path.insert(0, str(SUPPORT))
    import landscape

    return Space(landscape.problem("conv2d"), by_slug("h200"), landscape.KERNELS)


def _trial(number: int) -> Tried:
    config = f'{{"BLOCK_M":16,"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":{number}}}'
    return Tried("alpha", config, Measurement("ok", float(number)))


_made: list[bytes] = []


def _sound(folder: Path) -> bytes:
    """Return a history of two problems, six trials and a few states."""
    if not _made:
        path = folder / "sound.journal"
        history = History(str(path))
        for name in "ab":
            past = history.past(name, {"device": "h200"})
            past.claim(owner(), 40)
            for number in (1, 2, 3):
                past.append(_trial(number), _space())
            past.finish("done", trials=3)
        _made.append(path.read_bytes())
    return _made[0]


def _mutated(random: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    for _ in range(random.randint(1, 3)):
        kind = random.randrange(6)
        at = random.randrange(len(data) + 1)
        line = random.randrange(len(lines)) if lines else 0
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + random.choice(PIECES) + data[at:]
        elif kind == 2 and data:
            place = min(at, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
        elif kind == 3 and lines:
            del lines[line]
            data = b"".join(lines)
        elif kind == 4 and lines:
            lines.insert(random.randrange(len(lines) + 1), lines[line])
            data = b"".join(lines)
        else:
            data = data[:at] + data[random.randrange(len(data) + 1) :]
        lines = data.splitlines(keepends=True)
    return data
