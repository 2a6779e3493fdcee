"""Which stored candidates are timed again, and which problems come first."""

import landscape
import pytest
from stored_answers import answer, config, put

from tunedb.store.read import Database
from tunedb.tune.stored import at_stake_us, gains_elsewhere, stored

PROBLEM = landscape.problem()
CHOICES = [("alpha", config(num_stages=stages)) for stages in (1, 2, 3, 4, 5)]
VERSIONS = landscape.ENVIRONMENT


@pytest.fixture
def look(tmp_path):
    """Say what two databases hold together; the first is the one to be written."""

    def look(candidates=5):
        own, other = Database(tmp_path / "own.sqlite"), Database(tmp_path / "other.sqlite")
        (found,) = stored(
            "h200", [own, other], own, wanted=None, candidates=candidates, versions=VERSIONS, source_hash=landscape.source_hash
        )  # fmt: skip
        return found

    look.own, look.other = tmp_path / "own.sqlite", tmp_path / "other.sqlite"
    return look


@pytest.mark.parametrize(("candidates", "expected"), [(1, [2, 4]), (3, [2, 4, 0]), (5, [2, 4, 0, 1, 3])])
def test_the_answers_of_all_files_come_first(look, candidates, expected):
    """Then their best candidates as far as there is room, each once."""
    put(look.own, answer(PROBLEM, CHOICES[2]), CHOICES[0], CHOICES[2])
    put(look.other, answer(PROBLEM, CHOICES[4]), CHOICES[4], CHOICES[1], CHOICES[3])
    assert list(look(candidates).choices) == [CHOICES[index] for index in expected]


def test_the_stored_answer_is_the_one_that_answers(look):
    """A measured one before a predicted one, a fresh one before a stale one, then that of the first file."""
    put(look.own, answer(PROBLEM, CHOICES[0]))
    put(look.other, answer(PROBLEM, CHOICES[1]))
    assert look().record.config == CHOICES[0][1]
    put(look.other, answer(PROBLEM, CHOICES[1], provenance="measured"))
    assert look().record.config == CHOICES[1][1]
    put(look.other, answer(PROBLEM, CHOICES[1], provenance="measured", kernel_hash="0" * 16))
    assert look().record.config == CHOICES[0][1]


def test_new_candidates_of_a_shipped_file_are_to_be_confirmed(look):
    """A problem is confirmed under the same versions until another file brings an answer that was not tried."""
    put(look.own, answer(PROBLEM, CHOICES[0], provenance="measured", **VERSIONS), CHOICES[0], CHOICES[1])
    put(look.other, answer(PROBLEM, CHOICES[1]), CHOICES[1])
    assert look().confirmed
    put(look.other, answer(PROBLEM, CHOICES[2]), CHOICES[2])
    assert not look().confirmed


@pytest.mark.parametrize("name", ["triton", "torch", "cudnn", "driver"])
def test_each_version_counts(look, name):
    """A record of another Triton, torch, cuDNN or driver is to be confirmed."""
    versions = {**VERSIONS, name: "0.1"}
    put(look.own, answer(PROBLEM, CHOICES[0], provenance="measured", **versions), CHOICES[0])
    put(look.other, answer(PROBLEM, CHOICES[0]), CHOICES[0])
    assert not look().confirmed


def test_what_may_be_saved(look, tmp_path):
    """Calls x (torch - answer); a prediction takes the factor of another device, else all the time above the floor."""

    def stake(calls=1, elsewhere=None, **changes):
        put(look.own, answer(PROBLEM, CHOICES[0]))
        put(look.other, answer(PROBLEM, CHOICES[0]))
        return at_stake_us(look()._replace(record=answer(PROBLEM, **changes)), calls, elsewhere or {})

    assert stake(3, aten_us=100.0) == (60.0, 240.0)
    assert stake(aten_us=70.0) == (10.0, 80.0)
    assert stake() == (79.0, 80.0)
    measured = tmp_path / "4090.sqlite"
    put(measured, answer(PROBLEM, device="4090", provenance="measured", aten_us=120.0))
    assert stake(elsewhere=gains_elsewhere([Database(measured)])) == (40.0, 80.0)
