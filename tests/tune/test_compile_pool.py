import pytest

from tunedb.tune.compile_pool import Bug, CompilePool
from tunedb.tune.workers import Parts


@pytest.fixture(scope="module")
def pool():
    opened = CompilePool(2, compiler="compile_tasks:work", timeout_s=60.0)
    yield opened
    opened.close()


def drained(pool):
    found = {}
    while pool.outstanding:
        tag, outcome = pool.next()
        found[tag] = outcome
    return found


def test_tasks_run_side_by_side(pool, tmp_path):
    """Two processes take two tasks at a time, never three."""
    for tag in range(6):
        pool.submit(tag, "meet", (str(tmp_path), str(tag), 2))  # no task ends before two have begun
    spans = [[float(moment) for moment in outcome.detail.split()] for outcome in drained(pool).values()]
    under_way = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert max(under_way) == 2, spans


def test_each_task_ends_once_whatever_the_others_do(pool, monkeypatch):
    """A dying and a hanging task cost themselves only; a programming error is told as one."""
    monkeypatch.setattr(pool, "_timeout_s", 2.0)
    for tag, args in enumerate([("a",), ("die",), ("hang", 600.0), ("raise",), ("b",), ("c",)]):
        pool.submit(tag, *args)
    assert pool.outstanding == 6
    found = drained(pool)
    assert [found[tag].detail for tag in (0, 4, 5)] == ["a", "b", "c"]
    assert (found[1].status, found[2].status) == ("compile-error", "timed-out")
    assert "exit status 9" in found[1].detail
    assert isinstance(found[3], Bug)
    assert "wrongly written" in found[3].traceback


def test_children_see_no_gpu_and_no_interpreter(pool, monkeypatch):
    """A compile process has no visible GPU and compiles for real although the tests interpret."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    fresh = CompilePool(1, compiler="compile_tasks:work")
    fresh.submit(0, "environment")
    assert fresh.next().outcome.detail == "'' None"
    fresh.close()


def test_waiting_for_nothing_is_an_error(pool):
    """`next` without an outstanding task raises instead of hanging."""
    with pytest.raises(LookupError, match="submit one"):
        pool.next()


def test_parts_name_what_exists():
    """The parts of a real sweep can be found by their names."""
    from tunedb.tune.workers import resolve

    assert all(resolve(part) is not None for part in Parts())
