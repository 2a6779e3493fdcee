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


def test_a_layer_is_unseen_at_every_size(scripts, module):
    """A network's problems are its own and those of its layers at other sizes, whichever network has them there; nothing else."""
    models, row = scripts("trials.models"), module._trials()[0]
    own, wide = row.problem, row.problem._replace(in_w=row.problem.in_w + 16)
    other = own._replace(c_out=own.c_out + 16)
    rows = [
        row._replace(problem=own, models=("resnet50",)),
        row._replace(problem=wide, models=("unet",)),
        row._replace(problem=other, models=("unet",)),
    ]
    assert models.of_networks(rows, ["resnet18"]) == {own, wide}
    assert models.of_networks(rows, []) == set()


def test_what_nothing_launches_is_not_learned_from(scripts, module):
    """Configs that overwrite their operands are in the tables of trials, and in no fit; torch and other kernels stay."""
    rows = module._trials()
    kept = scripts("predictor.fitting").launchable(rows)
    gone = set(rows) - set(kept)
    assert {(row.kernel, row.problem.precision) for row in gone} == {("implicit_gemm", "tf32"), ("kn2row", "tf32"), ("packed", "tf32")}  # fmt: skip
    assert len(kept) == len(rows) - len(gone)
