"""What a process of test_ownership does: a spawned one must find it outside of the test's own module."""

from tunedb.tune.journal import History


def claim(storage, name, barrier, results):
    """Open a storage that may be empty, and claim a problem at the same moment as the others."""
    past = History(storage).past("a", {})
    barrier.wait()
    results.put(past.claim(f"elsewhere:{name}:1", 40))
