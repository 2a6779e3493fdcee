"""The fuzzing of kernels: its problems, its judge, and its loop, on a CPU."""

import json
import random
from collections import Counter

import pytest
from adversaries import ADVERSARIES
from fake_bench import exact

from tunedb.device import by_slug
from tunedb.problem import OPS, checked
from tunedb.record import Measurement

DEVICE = by_slug("h100")


@pytest.fixture
def problems(scripts):
    return scripts("fuzz.random_problems")


def test_random_problems_are_valid_small_and_of_every_kind(problems):
    """Every operation, dtype and layout comes up, depthwise layers too; the same seed gives the same problems."""
    found = [problems.random_problem(random.Random(seed)) for seed in range(400)]
    assert found == [problems.random_problem(random.Random(seed)) for seed in range(400)]
    assert all(one == checked(one) and one.flops <= problems.MOST for one in found)
    for field, values in {"op": OPS, "dtype": ("float16", "bfloat16", "float32"), "layout": ("channels_first", "channels_last"), "precision": ("ieee", "tf32")}.items():  # fmt: skip
        assert {getattr(one, field) for one in found} == set(values)
    assert any(one.groups == one.c_in > 1 for one in found)


def test_a_relative_is_the_same_layer(problems):
    """Only the batch and the extents differ."""
    rng = random.Random(3)
    problem = problems.random_problem(rng)
    found = [one for _ in range(50) if (one := problems.relative(problem, rng)) is not None]
    assert len(set(found)) > 5
    same = {"n": 1, "in_d": 1, "in_h": 1, "in_w": 1}
    assert {one._replace(**same) for one in found} == {problem._replace(**same)}


def test_an_honest_launch_is_right(launches):
    """What torch computes in float64 passes, three times over."""
    assert launches(exact) == Measurement("ok")


@pytest.mark.parametrize(
    "name",
    [
        "wrong in 25 % of calls",
        "lazier",
        "writes behind its output",
        "reads behind its input",
        "changes its input",
    ],
)
def test_a_wrong_launch_is_seen(launches, name):
    """Wrong once in four is seen in a few launches, the others in the first."""
    statuses = [
        launches(ADVERSARIES[name](random.Random(seed))).status for seed in range(12 if "25" in name else 1)
    ]
    assert "wrong" in statuses


class Pool:
    """Compiles nothing; every third candidate cannot be compiled."""

    size = 2

    def __init__(self):
        self.tasks, self.given = [], 0

    @property
    def outstanding(self):
        return len(self.tasks)

    def submit(self, tag, *_):
        self.tasks.append(tag)

    def next(self):
        self.given += 1
        return self.tasks.pop(0), Measurement("spilled" if self.given % 3 == 0 else "ok")


class Runner:
    def prepare(self, problem, *, look):
        assert look
        self.problem = problem

    def trial(self, *_):
        return Measurement("wrong" if self.problem.n == 5 else "ok", detail="five")


def test_the_loop_counts_every_launch_and_keeps_failures(scripts, tmp_path):
    """Relatives share a compilation; a failure is kept with what repeats it."""
    script = scripts("fuzz_kernels")
    noted = []
    rng = random.Random(0)
    tasks = script.drawn(DEVICE, rng, "implicit_gemm", samples=False)
    script.fuzz(
        tasks, DEVICE, rng, Pool(), Runner(), lambda *one: noted.append(one), lambda: len(noted) < 60, 8
    )
    assert len(noted) == 60
    statuses = {found.status for *_, found in noted}
    assert statuses >= {"ok", "spilled"}
    assert all(found.status == ("wrong" if problem.n == 5 else "ok") for problem, _, found in noted if found.status != "spilled")  # fmt: skip
    path = tmp_path / "failures.jsonl"
    problem, choice, _ = noted[0]
    path.write_text(json.dumps({"problem": list(problem), "kernel": choice.kernel, "config": choice.config}))
    assert list(script.repeated(path)) == [(problem, choice)]


def test_a_refused_launch_is_counted_and_is_no_failure(scripts):
    """The summary has it by kernel, among the launches; what makes a failure of a run does not hold it."""
    script = scripts("fuzz_kernels")
    counts = Counter({("packed", "refused"): 3, ("packed", "ok"): 4, ("direct", "spilled"): 2})
    found = script.summary(counts)
    assert found == {
        "launches": 7,
        "by_kernel": {"direct": {"spilled": 2}, "packed": {"ok": 4, "refused": 3}},
    }
    assert "refused" not in script.BAD
    assert "wrong" in script.BAD


def test_relatives_share_the_machine_code(scripts):
    """What is launched on a relative was compiled for the problem."""
    script = scripts("fuzz_kernels")
    rng = random.Random(2)
    problem, choice = next(script.drawn(DEVICE, rng, "implicit_gemm", samples=False))
    kernel = script.load(choice.kernel)
    config = script.config_from_json(kernel, choice.config)
    found = script.sharing(problem, choice, rng, 10)
    assert found
    signatures = [kernel.signature(one, config) for one in (problem, *found)]
    assert len({repr((one.types, one.constexprs, one.aligned)) for one in signatures}) == 1
