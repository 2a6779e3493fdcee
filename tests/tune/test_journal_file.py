"""The journal file under attack: foreign files, half lines, full disks, removal, and locks that are not given back."""

import errno
import fcntl
import os
import time
import warnings
from pathlib import Path

import landscape
import pytest

from tunedb.device import by_slug
from tunedb.errors import StorageError, TunedbWarning
from tunedb.record import Measurement, Tried
from tunedb.store import files
from tunedb.tune import file_lock
from tunedb.tune.file_lock import FileLock
from tunedb.tune.journal import History
from tunedb.tune.space import Space

SPACE = Space(landscape.problem("conv2d"), by_slug("h200"), landscape.KERNELS)
TRIED = [
    Tried("alpha", f'{{"BLOCK_M":16,"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":{stages}}}', Measurement("ok", 1.5))
    for stages in (1, 2, 3)
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.journal"


def past(path):
    return History(str(path)).past("a", {})


FOREIGN = {
    "a text whose last line has no end": b"my notes\nabout kernels",
    "a line without an end": b"my notes",
    "JSON that is no record": b'{"op_code": 99}\n{"half',
    "JSON of Optuna's keys, wrongly typed": b'{"op_code":"0","worker_id":"x"}\n',
    "a long line": b"x" * (3 << 20),
    "bytes": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_stays_as_it_is(path, content):
    """A file that is no journal is refused before anything is written to it."""
    path.write_bytes(content)
    with pytest.raises(StorageError, match="It was not changed"):
        History(str(path))
    assert path.read_bytes() == content


def test_a_shipped_database_stays_as_it_is(tmp_path):
    """`--storage db/4090.sqlite`, where sqlite:/// was left out, damages nothing, and the message says what to write."""
    copy = tmp_path / "4090.sqlite"
    copy.write_bytes(files.shipped_files()["4090"].read_bytes())
    before = copy.read_bytes()
    with pytest.raises(StorageError, match="sqlite:///"):
        History(str(copy))
    assert copy.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b'{"op_co', b'{"op_code":0,"worker_id":"a'])
def test_a_history_whose_first_write_was_cut_short(path, content):
    """An empty file, and one that a crash left with a part of its first line, are a history without trials."""
    path.write_bytes(content)
    past(path).append(TRIED[0], SPACE)
    assert past(path).tried() == TRIED[:1]


def test_a_half_line_of_another_sweep(path):
    """While a sweep lives, another one dies in the middle of a line: the next line does not run into it."""
    living = past(path)
    living.append(TRIED[0], SPACE)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"dead","study')
    living.append(TRIED[1], SPACE)
    living.append(TRIED[2], SPACE)
    assert living.tried() == TRIED
    assert past(path).tried() == TRIED


@pytest.mark.parametrize("written", [0, 30])
def test_a_full_disk_leaves_no_half_line(path, monkeypatch, written):
    """A write that fails is taken back, the error says what to do, and the next write, with room again, is read."""
    living = past(path)
    living.append(TRIED[0], SPACE)
    before, write = path.read_bytes(), os.write

    def full(file, text):
        if len(text) > written and written and not full.failed:
            full.failed = True
            return write(file, bytes(text[:written]))
        raise OSError(errno.ENOSPC, "No space left on device")

    full.failed = False
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match=r"No space left on device.*make room"):
            living.append(TRIED[1], SPACE)
    assert path.read_bytes() == before
    living.append(TRIED[1], SPACE)
    assert past(path).tried() == TRIED[:2]


@pytest.mark.parametrize(
    "broken", [b"\xff\xfe\n", b'{"op_code":4,"wor\n', b"[" * 100_000 + b"\n", b"17\n", b'{"op_code":4,"wor']
)
def test_a_broken_line_of_an_older_tunedb(path, broken):
    """A line that is no record is passed over with one warning; what stands before and behind it is read."""
    first = past(path)
    first.append(TRIED[0], SPACE)
    before = path.read_bytes()
    first.append(TRIED[1], SPACE)
    path.write_bytes(before + broken + path.read_bytes()[len(before) :])
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        again = past(path)
        assert again.tried() == TRIED[:2]
    # What was appended to half a line is found at its end.
    assert [one.category for one in given] == ([TunedbWarning] if broken.endswith(b"\n") else [])
    again.append(TRIED[2], SPACE)
    assert again.tried() == TRIED


@pytest.mark.parametrize("replaced", [False, True])
def test_a_history_that_is_taken_away(path, replaced):
    """A journal that is removed or replaced while it is used is an error that says so; the new file is not written to."""
    living = past(path)
    living.append(TRIED[0], SPACE)
    path.rename(path.with_suffix(".old"))
    if replaced:
        path.write_text("")
    for use in (lambda: living.append(TRIED[1], SPACE), lambda: living.state):
        with pytest.raises(StorageError, match="moved, removed or replaced"):
            use()
    assert not replaced or path.read_text() == ""


def test_a_folder(tmp_path):
    """A folder is named as what it is."""
    with pytest.raises(StorageError, match="directory"):
        History(str(tmp_path))


class Held:
    """A lock that another process holds and never gives back."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab")
        fcntl.flock(self.file, fcntl.LOCK_EX)


def test_a_lock_is_not_waited_for_without_limit(path, monkeypatch):
    """Who holds it for longer than a write can take is said to hang."""
    monkeypatch.setattr(file_lock, "PATIENCE_S", 0.2)
    held = Held(path)
    begin = time.monotonic()
    with pytest.raises(StorageError, match="another process has held"):
        FileLock(path).acquire()
    assert 0.2 < time.monotonic() - begin < 2
    held.file.close()
    with FileLock(path):
        pass


def test_a_sweep_that_is_to_end_waits_no_longer(path, monkeypatch):
    """After Ctrl-C or the time limit a lock is waited for two seconds more, in which a write would be done."""
    monkeypatch.setattr(file_lock, "LAST_PATIENCE_S", 0.2)
    held = Held(path)
    begin = time.monotonic()
    with pytest.raises(StorageError, match="another process has held"):
        FileLock(path, lambda: time.monotonic() > begin + 0.3).acquire()
    assert 0.4 < time.monotonic() - begin < 2
    held.file.close()


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_a_lock_that_is_no_file(tmp_path, kind):
    """A lock file follows no link, opens no pipe and makes nothing where a link points."""
    target, path = tmp_path / "target", tmp_path / "lock"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
        if kind == "link":
            target.write_text("mine")
    with pytest.raises(StorageError, match="remove it"):
        FileLock(path).acquire()
    assert target.exists() == (kind == "link")


def test_a_journal_behind_a_link(tmp_path):
    """A journal may be a link: it is the file behind it that is written, and locked beside, whoever opens it by which name."""
    real, link = tmp_path / "disk" / "real.journal", tmp_path / "link.journal"
    real.parent.mkdir()
    link.symlink_to(real)
    past(link).append(TRIED[0], SPACE)
    assert link.is_symlink()
    assert past(real).tried() == TRIED[:1]
    assert (real.parent / "real.journal.lock").exists()
    assert not (tmp_path / "link.journal.lock").exists()
