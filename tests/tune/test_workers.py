import os
import subprocess
import sys
import time
from pathlib import Path

import landscape
import pytest

from tunedb.tune.workers import resolve, start


def test_a_child_talks_over_its_pipe(monkeypatch):
    """A child gets its arguments, answers, compiles for real GPUs, and its end is seen as EOF."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    child = start(landscape.echo, "hello")
    word, pid, interpreting = child.conn.recv()
    assert (word, pid, interpreting) == ("hello", child.process.pid, None)
    child.conn.send(21)
    assert child.conn.recv() == 42
    with pytest.raises(EOFError):
        child.conn.recv()
    assert child.process.wait(10) == 0
    assert child.kill() == 0


def test_a_killed_child_says_so():
    """Killing a child returns the signal that ended it."""
    child = start(landscape.echo, "hello")
    child.conn.recv()
    assert child.kill() == -9


def test_resolve_finds_modules_and_attributes():
    """A text names a module or an attribute of one."""
    assert resolve("os.path:join") is os.path.join
    assert resolve("os") is os


def test_a_child_dies_with_its_parent_while_it_still_imports(tmp_path):
    """A parent that is killed at once takes its children along, however long `import tunedb` takes them."""
    slow = tmp_path / "tunedb"
    slow.mkdir()
    (slow / "__init__.py").write_text("import time; time.sleep(60)")
    code = (
        "import sys, time; from tunedb.tune import workers; sys.path.insert(0, sys.argv[1]); "
        "print(workers.start(print).process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(1.0)  # it is importing now
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    parent.kill()
    parent.wait()
    end = time.monotonic() + 2.0
    while (
        Path(f"/proc/{pid}").exists()
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    ):
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.02)
