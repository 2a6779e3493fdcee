"""What the check of unseen problems rests on: lookups that know nothing of the problems held out."""

from pathlib import Path

from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
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
