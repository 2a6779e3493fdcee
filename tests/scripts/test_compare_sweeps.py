"""The script that holds two sweeps of the same problems against each other."""

import json

import pytest

from tunedb.record import Measurement, Tried
from tunedb.store.write import Store


@pytest.fixture
def compared(scripts, tmp_path, capsys):
    """Compare two sweeps, each a list of records with their candidates; return the status and what the last line says."""
    module = scripts("compare_sweeps")

    def run(*sweeps):
        sweeps, options = (
            [one for one in sweeps if isinstance(one, list)],
            [one for one in sweeps if isinstance(one, str)],
        )
        paths = [tmp_path / f"{number}.sqlite" for number in range(2)]
        for path, found in zip(paths, sweeps, strict=True):
            with Store(path) as store:
                for record, candidates in found:
                    store.put(record, candidates)
        status, lines = module.main([*map(str, paths), *options]), capsys.readouterr().out.splitlines()
        assert len(lines) == 2 + len(sweeps[0])
        return status, json.loads(lines[-1])

    return run


def tried(config, time, low):
    return Tried("fake", config, Measurement("ok", time, low, time + 1))


A, B = '{"BLOCK":16,"ORDER":"n"}', '{"BLOCK":32,"ORDER":"n"}'


def test_the_same_winner_within_the_limits(compared, record, fake_kernel):
    """One problem, one winner, 1 % apart: the sweeps agree."""
    one = record._replace(config=A, time_us=100.0)
    status, said = compared([(one, [])], [(one._replace(time_us=101.0), [])])
    torch = {"timed": 2, "median": 0.005, "worst": 0.01}  # the winner, and torch, whose time is the same
    assert (status, said) == (0, {"problems": 1, "same": 1, "median": 0.01, "worst": 0.01, "configs": torch})


@pytest.mark.parametrize(("low", "kind", "status"), [(99.0, "tie", 0), (100.5, "other", 1)])
def test_another_winner_is_a_tie_or_a_failure(compared, record, fake_kernel, low, kind, status):
    """It is a tie where one sweep could not tell the other's winner from its own."""
    first = record._replace(config=A, time_us=100.0), [tried(A, 100.0, 99.0), tried(B, 101.0, low)]
    second = record._replace(config=B, time_us=100.5), [tried(B, 100.5, 100.1), tried(A, 105.0, 104.0)]
    found, said = compared([first], [second])
    assert (found, said[kind]) == (status, 1)


def test_a_winner_that_the_other_did_not_time_is_unmet(compared, record, fake_kernel):
    """The searches differ; how the clocks agree is said by what both timed."""
    first = record._replace(config=A, time_us=100.0), [tried(A, 100.0, 99.9), tried(B, 110.0, 109.0)]
    second = record._replace(config=B, time_us=110.0), [tried(B, 110.0, 109.0)]
    status, said = compared([first], [second])
    assert (status, said["unmet"]) == (1, 1)
    assert said["configs"] == {"timed": 2, "median": 0.0, "worst": 0.0}


def test_times_that_differ_are_a_failure(compared, record, fake_kernel):
    """More than 2 % in the median, or 5 % at worst."""
    one = record._replace(config=A, time_us=100.0)
    assert compared([(one, [])], [(one._replace(time_us=103.0), [])])[0] == 1


def test_sweeps_without_a_common_problem(compared, record, fake_kernel):
    """Ends in words."""
    with pytest.raises(SystemExit, match="no problem in common"):
        compared([(record, [])], [(record._replace(problem=record.problem._replace(n=9)), [])])


@pytest.mark.parametrize(("kind", "status"), [("tie", 0), ("apart", 1)])
def test_winners_that_differ_are_timed_together(
    compared, scripts, monkeypatch, record, fake_kernel, kind, status
):
    """What one run says of both stands in the place of two runs."""
    monkeypatch.setattr(scripts("compare_sweeps"), "in_turn", lambda *_: (kind, 0.01))
    first, second = record._replace(config=A, time_us=100.0), record._replace(config=B, time_us=110.0)
    found, said = compared([(first, [])], [(second, [])], "--together")
    assert (found, said[kind], said["worst"]) == (status, 1, 0.01)
