"""A real model as nobody has swept it: what answers its layers while it is benchmarked so."""

import shutil
from pathlib import Path

import pytest

from tunedb.device import by_slug
from tunedb.dispatch import unswept
from tunedb.dispatch.lookup import answer
from tunedb.store.read import Database

DB = Path(__file__).parents[2] / "db"
SHIPPED = DB / "h100.sqlite"


@pytest.fixture
def module(scripts):
    return scripts("bench.unseen")


def test_layers_of_the_model_are_unknown_and_others_are_known(module, tmp_path):
    """No record of the model's network answers while it is unseen, on any device; those of other networks do, and afterwards all."""
    shutil.copy(DB / "predictor.json.gz", module.predictor_of("resnet50", tmp_path))
    device = by_slug("h100")
    own = {row.problem for row in module._trials() if "resnet50" in row.models}
    records = [one for one in Database(SHIPPED).records() if one.kernel != "aten"]
    mine = next(one.problem for one in records if one.problem in own)
    other = next(one.problem for one in records if one.problem not in own)
    assert answer(mine, device).tier == "exact"
    with module.unseen("resnet50", tmp_path):
        assert answer(mine, device).tier != "exact"
        assert answer(other, device).tier == "exact"
        assert unswept.shipped_predictor() is not None
    assert answer(mine, device).tier == "exact"


def test_a_model_without_a_predictor_of_its_own_is_refused(module, tmp_path):
    """The shipped predictor has seen its layers: it must not stand in."""
    with pytest.raises(FileNotFoundError, match=r"resnet50\.json\.gz"), module.unseen("resnet50", tmp_path):
        pass
