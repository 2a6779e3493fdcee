"""Counters of a winner in a database: what version 4 of the schema added."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tunedb.errors import TunedbWarning
from tunedb.store.listing import show, shown_text
from tunedb.store.profile import Launch, Profile, to_json
from tunedb.store.read import Database
from tunedb.store.write import Store

LAUNCHES = (Launch("packed", 120_000.0, 45.0, 83.2, 40.0, 61.5, 25.0, 528.0, 168.0, 49152.0),)
VERSION3 = Path(__file__).parent / "data" / "version3.sqlite"


@pytest.fixture
def profile(record):
    own = (record.problem, record.device, record.kernel, record.config, record.kernel_hash)
    return Profile(*own, LAUNCHES, "2025.3.1.0", "2026-11-27T20:00:00+00:00")


@pytest.fixture
def path(tmp_path, record, profile):
    """A database with a record and its counters."""
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.put(record)
        assert store.put_profile(profile)
    return path


def test_counters_are_kept_and_shown(path, record, profile):
    """They are read with their record, and `show` says in a line what limits it."""
    file = Database(path)
    assert file.profile(record) == profile
    assert file.profiles() == [profile]
    file.close()
    (shown,) = show(record.problem, [path])
    assert "limited by memory, at 83 % of the peak (ncu, 2026-11-27T20:00:00+00:00)" in shown_text(shown)


def test_another_winner_has_none(path, tmp_path, record, profile):
    """Counters are not stored beside another winner or without a record, and a new winner leaves the old ones behind."""
    with Store(path) as store:
        assert not store.put_profile(profile._replace(config="{}"))
        store.put(record._replace(config='{"BLOCK":64,"ORDER":"n"}', time_us=90.0))
    file = Database(path)
    assert file.profile(file.records()[0]) is None
    file.close()
    with Store(tmp_path / "empty.sqlite") as store:
        assert not store.put_profile(profile)


def test_a_merge_brings_them(path, tmp_path, record, profile):
    """With the records that are taken, and with no others."""
    other, better = tmp_path / "other.sqlite", tmp_path / "better.sqlite"
    with Store(other) as store:
        store.merge(path)
    newer = record._replace(config="{}", tuned_at="2099-01-01T00:00:00+00:00")
    with Store(better) as store:
        store.put(newer)
        store.merge(path)
    for merged, own, expected in ((other, record, profile), (better, newer, None)):
        file = Database(merged)
        assert file.profile(own) == expected
        file.close()


def test_they_go_with_their_record(path, fake_kernel):
    """Pruning stale records takes their counters."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE kernels SET hash = 'older'")
    connection.commit()
    connection.close()
    with Store(path) as store:
        assert store.prune_stale() == 1
    file = Database(path)
    assert file.profiles() == []
    file.close()


@pytest.mark.parametrize(
    "value", ["'[]'", "x'00ff'", "printf('%.*c', 9000, '[')", "char(27)", "'[[\"a\",1]]'"]
)
def test_hostile_counters(path, record, value):
    """What is no list of launches is left aside with one warning; the record still answers."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"UPDATE profiles SET launches = {value}")
    connection.close()
    file = Database(path)
    assert file.record(record.problem, record.device) == record
    with pytest.warns(TunedbWarning, match="launch"):
        assert file.profile(record) is None
    file.close()


def test_a_file_of_version_3_has_none(tmp_path):
    """It is read as it is, and takes counters when it is next written."""
    path = Path(shutil.copy(VERSION3, tmp_path / "old.sqlite"))
    file = Database(path)
    record = next(one for one in file.records() if one.device == "h100")
    assert file.profile(record) is None
    assert file.profiles() == []
    file.close()
    own = (record.problem, record.device, record.kernel, record.config, record.kernel_hash)
    with Store(path) as store:
        assert store.put_profile(Profile(*own, LAUNCHES, "", "2026-11-27"))
    file = Database(path)
    assert to_json(file.profiles()[0].launches) == to_json(LAUNCHES)
    file.close()
