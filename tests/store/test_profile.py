"""What counters say of a launch, and their text in a database."""

import json

import pytest

from tunedb.store.profile import (
    COUNTERS,
    LAUNCHES,
    NAME_LENGTH,
    Launch,
    Profile,
    from_json,
    limit,
    of_record,
    to_json,
)

ONE = Launch("packed", 120_000.0, 45.0, 83.2, 40.0, 61.5, 25.0, 528.0, 168.0, 49152.0)


def test_launches_are_read_back():
    """Each with a digit behind the point, a long name cut, and no more launches than are kept."""
    kept = from_json(to_json((ONE, ONE._replace(name="n" * 200, sm=45.04))))
    assert kept == (ONE, ONE._replace(name="n" * NAME_LENGTH))
    assert len(from_json(to_json((ONE,) * 99))) == LAUNCHES


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[1]", '[["a"]]', json.dumps([["a", *[-1] * len(COUNTERS)]]), json.dumps([[7, *[1] * len(COUNTERS)]]),
     json.dumps([["\x1b[2J", *[1] * len(COUNTERS)]]), json.dumps([["a", *[True] * len(COUNTERS)]]),
     f'[["a", {", ".join(["NaN"] * len(COUNTERS))}]]', json.dumps([["a", *[1] * len(COUNTERS)]] * (LAUNCHES + 1))],
)  # fmt: skip
def test_other_text_is_refused(text):
    """A file may hold anything: what is no list of launches raises ValueError and nothing else."""
    with pytest.raises(ValueError):
        from_json(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "limited by memory, at 83 % of the peak"),
        ({"sm": 91.0}, "limited by multiprocessors, at 91 % of the peak"),
        ({"dram": 20.0, "l2": 71.0}, "limited by L2, at 71 % of the peak"),
        ({"dram": 20.0, "grid": 64.0}, "limited by its 64 blocks on 132 multiprocessors"),
        ({"dram": 20.0}, "limited by waiting: nothing is busier than multiprocessors at 45 %, with 25 % of the warps resident"),
    ],
)  # fmt: skip
def test_what_limits_a_launch(change, said):
    """The busiest unit where one is busy, else a grid that leaves multiprocessors idle, else what is waited for."""
    assert limit(ONE._replace(**change), 132) == said


def test_a_profile_is_of_one_winner(record):
    """Of another config, kernel or code of the same problem it says nothing; its longest launch is what is told."""
    found = Profile(record.problem, record.device, record.kernel, record.config, record.kernel_hash, (ONE, ONE._replace(name="b", time_ns=2e5)), "2025.3", "2026-11-27T20:00:00+00:00")  # fmt: skip
    assert of_record(found, record) is found
    assert found.longest.name == "b"
    assert of_record(None, record) is None
    for change in ({"config": "{}"}, {"kernel": "other"}, {"kernel_hash": "newer"}):
        assert of_record(found, record._replace(**change)) is None
