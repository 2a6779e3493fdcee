"""Counting the instructions of kept trials: each machine code once, in an order that is the same everywhere."""

import json

import pytest

from tunedb.tune.predict.instructions import TOLD

pytest.importorskip("triton")


@pytest.fixture
def module(scripts):
    return scripts("count_instructions")


@pytest.fixture
def rows(module):
    table = module.Path(__file__).parents[2] / "benchmarks" / "trials" / "h100-sm89.csv.gz"
    return list(module.wanted([table]))


def test_a_kept_trial_is_compiled_and_counted(module, rows, scripts):
    """The line of a real trial: its code for sm_89 multiplies by mma.sync in a loop; what does not compile has none."""
    row = next(one for one in rows if one.kernel == "implicit_gemm" and one.problem.dtype == "float16")
    found = json.loads(module.line_of(row))
    assert (found["device"], found["kernel"], found["config"]) == ("h100-sm89", row.kernel, row.config)
    assert found["loop"]["mma"] > 0
    assert found["all"]["products"] >= found["loop"]["products"] > 0
    assert len(scripts("instructions.lines").told_of(row, found)) == TOLD
    assert module.line_of(row._replace(config='{"no":1}')) is None


def test_each_machine_code_is_counted_once(module, rows):
    """What two GPUs of a kind run is one code, older code is another; parts are disjoint and leave nothing out."""
    few = rows[:40]
    twins = [row._replace(device="h200-sm89") for row in few]
    every = module.drawn([*few, *twins], 0, 1)
    assert len(every) == len({module.key_of_row(row) for row in few})
    assert module.drawn([row._replace(device="h100") for row in few[:1]] + few[:1], 0, 1).__len__() == 2
    halves = [module.drawn(few, part, 2) for part in (0, 1)]
    assert sorted(map(module.key_of_row, halves[0] + halves[1])) == sorted(map(module.key_of_row, every))
    assert [module.key_of_row(row) for row in module.drawn(few[::-1], 0, 1)] == [
        module.key_of_row(row) for row in every
    ]


def test_the_kept_lines_are_of_kept_trials(module, scripts):
    """benchmarks/instructions.jsonl.gz has no code twice, of trials of the tables, both of Hopper's own and of older code."""
    lines = scripts("instructions.lines")
    root = module.Path(__file__).parents[2] / "benchmarks"
    codes = lines.read_codes(root / "instructions.jsonl.gz")
    known = {lines.key_of_row(row) for row in module.wanted(sorted((root / "trials").glob("*.csv.gz")))}
    assert set(codes) <= known
    assert {key[0] for key in codes} == {89, 90}
