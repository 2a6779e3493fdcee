"""Every kernel module computes every awkward problem that it applies to, under configs that cover its space."""

import itertools
import random

import pytest

pytest.importorskip("triton")

from awkward import AWKWARD

from tunedb.device import by_slug
from tunedb.kernel import config_to_json, load, names

DEVICE = by_slug("h200")
# Products in TF32 keep 11 bits; float16 and bfloat16 results are rounded to 11 and 8 bits.
TOLERANCE = {"tf32": 1e-3, "ieee": 3e-6, "float16": 1e-3, "bfloat16": 8e-3}


def covering(module, problem, limit=4):
    """The default, then valid configs in which every choice of every field appears, as far as the limit goes."""
    dims = module.space(problem, DEVICE)
    rng = random.Random(0)
    found = [module.default(problem, DEVICE)]
    missing = {(field, choice) for field, choices in dims.items() for choice in choices}
    missing -= set(found[0]._asdict().items())
    for _ in range(300):
        if not missing or len(found) == limit:
            break
        drawn = [
            module.Config(**{field: rng.choice(choices) for field, choices in dims.items()})
            for _ in range(20)
        ]
        # Large tiles on tiny problems take the interpreter seconds and show nothing new.
        drawn = [
            config for config in drawn if not module.valid(problem, config, DEVICE) and size(config) <= 2**14
        ]
        best = max(drawn, key=lambda config: len(missing & set(config._asdict().items())), default=None)
        if best is not None and missing & set(best._asdict().items()):
            found.append(best)
            missing -= set(best._asdict().items())
    return found


def size(config):
    product = 1
    for field, value in config._asdict().items():
        product *= value if field.startswith("BLOCK_") else 1
    return product


def enrolled():
    for name, (reason, problem) in itertools.product(names(), AWKWARD.items()):
        if problem.op in load(name).OPS and (name == "aten" or load(name).space(problem, DEVICE)):
            yield pytest.param(name, problem, id=f"{name}-{reason}".replace(" ", "_"))


@pytest.mark.parametrize(("name", "problem"), list(enrolled()))
def test_agrees_with_float64(name, problem, run_kernel):
    """Every output is written, and is torch's in float64 within the precision of the problem."""
    module = load(name)
    configs = [module.default(problem, DEVICE)] if name == "aten" else covering(module, problem)
    for config in configs:
        assert not module.valid(problem, config, DEVICE)
        answer = run_kernel(name, problem, config_to_json(config))
        tolerance = TOLERANCE[problem.precision if problem.dtype == "float32" else problem.dtype]
        assert answer["unwritten"] == 0, config
        assert answer["error"] <= tolerance, (config, answer)


@pytest.mark.parametrize("name", [name for name in names() if name != "aten"])
def test_is_enrolled(name):
    """No kernel escapes: each applies to at least five awkward problems of forward and transposed operations."""
    applies = [problem for problem in AWKWARD.values() if load(name).space(problem, DEVICE)]
    assert sum(problem.transposed for problem in applies) >= 2
    assert len(applies) >= 5
