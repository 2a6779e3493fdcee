"""Saving a captured suite never loses the file that was there."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tunedb.errors import SuiteError
from tunedb.model.layers import Layers

BEFORE = b"[]\n"
# Kills itself at the named function's call; what is written is longer than any buffer.
KILLED = """
import os, signal, sys
from pathlib import Path
from tunedb.suites.replace_file import replace_file
place, name = {"fchmod": (os, "fchmod"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[sys.argv[2]]
setattr(place, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
replace_file(sys.argv[1], b"x" * 1_000_000)
"""


@pytest.fixture
def layers(problem):
    found = Layers()
    found.fill({problem: 3}, {problem: ("up.0",)}, {}, 0)
    return found


@pytest.fixture
def path(tmp_path):
    """A file that is there already."""
    found = tmp_path / "net.json"
    found.write_bytes(BEFORE)
    return found


@pytest.mark.parametrize(("place", "step"), [(os, "open"), (os, "fchmod"), (os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stop"])  # fmt: skip
def test_a_save_that_fails_leaves_what_was_there(layers, path, monkeypatch, place, step, error):
    """A full disk or Ctrl-C at any step leaves the old file and no other; the first ends in a SuiteError."""

    def fails(*_, **__):
        raise error

    with monkeypatch.context() as patch, pytest.raises((SuiteError, KeyboardInterrupt)) as raised:
        patch.setattr(place, step, fails)
        layers.save(path)
    assert isinstance(error, KeyboardInterrupt) or "No space left on device" in str(raised.value)
    assert path.read_bytes() == BEFORE
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("step", ["fchmod", "fsync", "replace"])
def test_a_kill_leaves_what_was_there(path, step):
    """`kill -9` at any step leaves the old file whole."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), step], check=False)
    assert done.returncode == -9
    assert path.read_bytes() == BEFORE


def test_the_data_reaches_the_disk_before_the_name(layers, path, monkeypatch):
    """The file is synced before it takes the name: a power cut cannot leave an empty one."""
    steps = []
    for place, name in ((os, "fsync"), (Path, "replace")):
        real = getattr(place, name)
        monkeypatch.setattr(
            place, name, lambda *given, name=name, real=real: (steps.append(name), real(*given))[1]
        )
    layers.save(path)
    assert steps == ["fsync", "replace", "fsync"]


def test_a_link_is_followed(layers, path):
    """A symbolic link stays, and the file that it names is replaced, also where that is not there yet."""
    for target in (path, path.with_name("new.json")):
        link = path.parent / "folder" / f"{target.stem}.json"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
        layers.save(link)
        assert link.is_symlink()
        assert len(Layers.load(target)) == 1
        assert not target.is_symlink()
    assert {one.name for one in link.parent.iterdir()} == {"net.json", "new.json"}


def test_what_is_no_regular_file_is_refused(layers, tmp_path):
    """A device, a pipe, a folder and a circle of links are refused and stay: `--save /dev/null` must not replace it."""
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for found in (pipe, loop, tmp_path):
        with pytest.raises(SuiteError, match="must be written to a file"):
            layers.save(found)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert loop.is_symlink()
    for name in ("a\0b", "x" * 5000, tmp_path / "none" / "a.json"):
        with pytest.raises(SuiteError, match="in a folder that exists"):
            layers.save(name)
    assert {one.name for one in tmp_path.iterdir()} == {"pipe", "loop"}


def test_permissions_are_kept(layers, path, tmp_path):
    """A file that only its owner may read stays so, and a new one has the permissions that any new file has."""
    path.chmod(0o600)
    layers.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    layers.save(tmp_path / "new.json")
    (tmp_path / "usual").touch()
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_long_name_is_written(layers, tmp_path):
    """A name as long as a file's may be leaves room for the file beside it."""
    path = tmp_path / ("x" * 250 + ".json")
    layers.save(path)
    assert len(Layers.load(path)) == 1
