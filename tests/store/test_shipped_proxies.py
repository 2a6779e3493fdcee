"""The databases of GPUs that ran older code: measured as that, current, and never asked for an answer."""

from pathlib import Path

import pytest

from tunedb.device import by_slug
from tunedb.kernel import is_stale
from tunedb.store import files
from tunedb.store.read import Database

pytest.importorskip("triton")

PROXIES = sorted((Path(__file__).parents[2] / "db" / "proxies").glob("*.sqlite"))


@pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.stem)
def test_what_stands_in_for_other_cards(path):
    """Each holds measured records of one GPU with an older generation's code, of today's kernels."""
    device = by_slug(path.stem)
    assert device.arch is not None
    file = Database(path, immutable=True)
    found = file.records()
    file.close()
    assert {(one.device, one.provenance) for one in found} == {(device.slug, "measured")}
    assert not [one for one in found if is_stale(one.kernel, one.kernel_hash)]
    assert len({one.problem for one in found}) == len(found) >= 74


def test_no_call_is_answered_by_them():
    """They are none of the files that a lookup reads."""
    assert PROXIES
    assert not {path.stem for path in PROXIES} & set(files.shipped_files())
