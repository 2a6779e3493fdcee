import os

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
