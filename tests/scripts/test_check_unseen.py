"""What the check of unseen problems rests on: lookups that know nothing of the problems held out."""

import types
from pathlib import Path

import numpy as np
import pytest
from awkward import problem

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.record import Choice
from tunedb.store import files
from tunedb.store.read import Database

SHIPPED = Path(__file__).parents[2] / "db" / "h200.sqlite"


def test_held_out_problems_are_unknown_and_the_shipped_file_is_as_it_was(scripts):
    """With a problem held out no record of it answers; afterwards, and on disk, it is known as before."""
    scripts("keep_trials")  # so that the scripts' own packages can be imported
    from predictor.tiers import without

    before, device = SHIPPED.read_bytes(), by_slug("h200")
    record = next(one for one in Database(SHIPPED).records() if one.kernel != "aten")
    assert answer(record.problem, device).tier == "exact"
    with without({"h200": SHIPPED}, {record.problem}):
        assert answer(record.problem, device).record != record
        assert answer(record.problem, device).tier != "exact"
    assert answer(record.problem, device).tier == "exact"
    assert SHIPPED.read_bytes() == before
    assert files.shipped_files()["h200"].samefile(SHIPPED)


def test_a_model_that_is_left_out_takes_its_layers_at_every_size(scripts):
    """Also where another model has them so, in another dtype, or on another device; what shares no weight stays."""
    module = scripts("check_unseen")
    mine = problem("conv2d", c=(8, 16), extents=(9, 9), k=3)
    larger, half, other = mine._replace(in_w=30), mine._replace(dtype="float16", precision="ieee"), mine._replace(c_out=32)  # fmt: skip
    keys = [("h100", mine), ("h100", larger), ("h200", half), ("h100", other)]
    data = types.SimpleNamespace(keys=keys, models=[("hifigan",), ("resnet50",), (), ("resnet50",)])
    parts = list(module.left_out(data, "model", 40))
    assert [part.use.tolist() for part in parts] == [
        [False, False, False, True],
        [False, False, False, False],
    ]
    assert parts[0].held == {mine, larger, half}
    by_device = list(module.left_out(data, "device", 40))
    assert [np.flatnonzero(~part.use).tolist() for part in by_device] == [[0, 1, 3], [2]]


def test_an_answer_that_was_wrong_is_counted(scripts):
    """It is neither fast nor slow, and stands beside those that were run."""
    module = scripts("check_unseen")
    from trials.table import Row

    asked = problem("conv2d", c=(8, 16), extents=(9, 9), k=3)

    def row(config, status, time_us):
        return Row("h100", asked, "direct", config, "", status, time_us, 10.0, "final", (), "x")

    times = module.Times([row("a", "ok", 5.0), row("b", "wrong", None), row("c", "ok", 12.5)])
    key = ("h100", asked)
    said = [module.Said("rule", key, Choice("direct", config)) for config in "abcd"]
    found = module.told(times, said)
    assert (found["wrong"], found["slower"], found["unknown"]) == ("1 of 3", "1 of 2", 2)
    assert found["worst"] == pytest.approx(0.8)
