"""Whatever a file holds, a lookup never raises: the next tier answers, with one warning."""

import random
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunedb.device import by_slug
from tunedb.dispatch import usable
from tunedb.dispatch.lookup import TIERS, answer
from tunedb.errors import TunedbWarning
from tunedb.store import files

H200 = by_slug("h200")
pytestmark = pytest.mark.usefixtures("fake_kernel")


def near(record, **change):
    return record._replace(problem=record.problem._replace(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": "os"},
        {"kernel": "../evil"},
        {"config": "[" * 3000},
        {"config": '{"BLOCK":64,"ORDER":"m","evil":1}'},
        {"config": '{"BLOCK":1e999,"ORDER":"m"}'},
        {"config": '{"BLOCK":true,"ORDER":"m"}'},
        {"config": '{"BLOCK":-64,"ORDER":"m"}'},
        {"config": '{"BLOCK":' + "9" * 4000 + ',"ORDER":"m"}'},
        {"config": "__import__('os').system('true')"},
    ],
)
def test_hostile_record(shelf, record, change):
    """A record with an unknown kernel or an impossible config is left aside with one warning; the next tier answers."""
    shelf.put(record._replace(**change), near(record, n=17))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiers = [answer(record.problem, H200).tier for _ in range(3)]
    assert tiers == ["near"] * 3
    assert [warning.category for warning in caught] == [TunedbWarning]
    assert str(shelf.user) in str(caught[0].message)


def test_valid_that_stumbles(shelf, record, monkeypatch, fake_kernel):
    """A config that makes `valid` itself fail is left aside like any other impossible one."""
    shelf.put(record)
    monkeypatch.setattr(fake_kernel, "valid", lambda _, config, __: 1 // (config.BLOCK - 64))
    with pytest.warns(TunedbWarning, match="a row|A row"):
        assert answer(record.problem, H200).tier == "aten"


def test_missing_triton(shelf, record, monkeypatch):
    """Where a kernel cannot be imported, torch answers without a word."""

    def load(name):
        raise ImportError(name)

    monkeypatch.setattr(usable, "load", load)
    shelf.put(record, near(record, n=17), near(record, c_in=64))
    assert answer(record.problem, H200).tier == "aten"
    assert answer(record.problem._replace(c_in=128), H200).tier == "aten"


def test_bad_file_leaves_the_next_one(shelf, record):
    """A damaged user file gives one warning and the shipped file answers."""
    shelf.put(record, ship="h200")
    shelf.user.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    with pytest.warns(TunedbWarning, match="The next tier answers") as caught:
        tiers = [answer(record.problem, H200).tier for _ in range(3)]
    assert tiers == ["exact"] * 3
    assert len(caught) == 1


def test_file_that_fails_while_it_is_read(shelf, record):
    """A file whose pages are damaged behind a sound header gives one warning, and the next file answers."""
    shelf.put(record, ship="h200")
    shelf.put(record)
    data = bytearray(shelf.user.read_bytes())
    for page in range(1, len(data) // 4096):
        data[4096 * page : 4096 * page + 64] = b"\xff" * 64
    shelf.user.write_bytes(data)
    with pytest.warns(TunedbWarning, match="must be a sound SQLite file") as caught:
        assert [answer(record.problem, H200).tier for _ in range(3)] == ["exact"] * 3
    assert len(caught) == 1


@pytest.mark.filterwarnings("ignore::tunedb.errors.TunedbWarning")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_damaged_files_never_raise(shelf, record, seed):
    """Whatever bits of a file are flipped, a lookup answers from some tier."""
    if not shelf.user.exists():
        shelf.put(record, near(record, n=3), near(record, c_in=64), record._replace(device="4090"))
        shelf.sound = shelf.user.read_bytes()
    data, chance = bytearray(shelf.sound), random.Random(seed)
    for _ in range(chance.randrange(1, 60)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    shelf.user.write_bytes(data)
    files.reload()
    for problem in (record.problem, record.problem._replace(n=14), record.problem._replace(c_in=128)):
        assert answer(problem, H200).tier in TIERS


def test_a_new_file_is_seen(shelf, record):
    """A record that a sweep writes while a process runs answers there from then on."""
    assert answer(record.problem, H200).tier == "aten"
    from tunedb.store.write import Store

    with Store(shelf.user) as store:
        store.put(record)
        assert answer(record.problem, H200).tier == "exact"
        store.put(record._replace(time_us=55.0))
        assert answer(record.problem, H200).record.time_us == 55.0


@pytest.mark.parametrize("change", [{"n": 0}, {"in_w": 2**40}, {"n": 2**31}])
def test_extreme_problems(shelf, record, change):
    """Empty batches and sizes beyond every GPU are answered too."""
    shelf.put(record)
    assert answer(record.problem._replace(**change), H200).tier in TIERS
