"""Every kernel module computes every awkward problem that it applies to, under configs that cover its space."""

import itertools
import random

import pytest

pytest.importorskip("triton")

from awkward import AWKWARD

from tunedb.device import by_slug
from tunedb.kernel import config_to_json, load, names

DEVICE = by_slug("h200")
OLDER = by_slug("4090")  # for kernels that multiply otherwise there
# Where even the smallest tiles are large.
LARGER = {"shared_rows": {"limit": 3, "largest": 2**16}}
# Products in TF32 keep 11 bits; float16 and bfloat16 results are rounded to 11 and 8 bits.
TOLERANCE = {"tf32": 1e-3, "ieee": 3e-6, "float16": 1e-3, "bfloat16": 8e-3}


def covering(module, problem, device=DEVICE, limit=4, largest=2**14):
    """The default, then valid configs in which every choice of every field appears, as far as the limit goes."""
    dims = module.space(problem, device)
    rng = random.Random(0)
    found = [module.default(problem, device)]
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
            config
            for config in drawn
            if not module.valid(problem, config, device) and size(config) <= largest
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
    if name == "aten":
        configs = [module.default(problem, DEVICE)]
    elif name in LARGER:
        configs = [*covering(module, problem, **LARGER[name]), *covering(module, problem, OLDER, limit=2)]
    else:
        configs = covering(module, problem)
    for config in configs:
        assert "" in {module.valid(problem, config, device) for device in (DEVICE, OLDER)}
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
