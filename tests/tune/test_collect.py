import landscape
from fake_sweep import DEVICE, LIMITS, PARTS, executed

from tunedb.store.read import Database
from tunedb.tune.journal import History, study_name
from tunedb.tune.settings import Settings
from tunedb.tune.space import searched
from tunedb.tune.sweep import sweep

DONE = [landscape.problem("conv2d", in_w=width) for width in (16, 32)]
OPEN = landscape.problem("conv2d", in_w=64)


def test_any_host_can_write_the_whole_result(tmp_path, monkeypatch):
    """Answers of other sweeps, also of a dead one that was going on with its problem, are written without searching."""
    monkeypatch.setenv("LANDSCAPE_LOG", str(tmp_path / "log"))
    storage = str(tmp_path / "history.journal")
    ours = Settings(
        DEVICE, "measured", 12, storage, tmp_path / "ours.sqlite", workers=1, parts=PARTS, limits=LIMITS
    )
    assert sweep(DONE, ours).complete
    name = study_name(
        searched(DONE[0], DEVICE, landscape, measured=True), "measured", landscape, PARTS.predictor
    )
    assert History(storage).past(name, {}).claim("elsewhere:1:2", 40)
    before = len(executed(tmp_path))

    summary = sweep([*DONE, OPEN], ours._replace(db=tmp_path / "whole.sqlite", trials=None, collect=True))
    whole = Database(tmp_path / "whole.sqlite")
    first = Database(tmp_path / "ours.sqlite")
    assert all(whole.record(problem, "h200") == first.record(problem, "h200") for problem in DONE)
    assert whole.record(OPEN, "h200") is None
    assert not summary.complete
    assert len(executed(tmp_path)) == before
    assert sweep(DONE, ours._replace(db=tmp_path / "whole.sqlite", collect=True)).complete
