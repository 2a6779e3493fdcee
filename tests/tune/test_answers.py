"""What databases tell a search to try first: the answers of this problem, then the winners of similar ones, here and elsewhere."""

import landscape
import pytest

from tunedb.device import by_slug
from tunedb.dispatch.usable import Answer
from tunedb.record import Choice, Measurement, Record, Tried
from tunedb.store import files
from tunedb.store.write import Store
from tunedb.suite import load_suite
from tunedb.tune import answers as module
from tunedb.tune.answers import Answers
from tunedb.tune.messages import Finished
from tunedb.tune.settings import Settings
from tunedb.tune.workers import Parts

ASKED = landscape.problem("conv2d", in_w=64, n=1)
NEAR, FAR = ASKED._replace(in_w=96), ASKED._replace(in_w=4096)


def config(number):
    return f'{{"BLOCK_M":{16 * number},"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":1}}'


def record(problem, kernel, number, device="h200"):
    text = "{}" if kernel == "aten" else config(number)
    return Record(
        problem, device, kernel, text, 10.0, 9.0, 11.0, 30.0, 1.0, 1e-4, 1e-4, "measured", 40, "old", "", "", "", "", "2026-11-27T00:00:00+00:00",
    )  # fmt: skip


@pytest.fixture
def answers(tmp_path):
    """The answers of a sweep that writes to a database of its own."""
    made = []

    def answers():
        settings = Settings(by_slug("h200"), "measured", 40, "", tmp_path / "answers.sqlite", parts=Parts("landscape", "", "", "landscape:expected", ""))  # fmt: skip
        made.append(Answers(settings, landscape))
        return made[-1]

    yield answers
    for one in made:
        one.close()


@pytest.mark.filterwarnings(
    "ignore:.*kernel must be one of"
)  # of a lookup, which knows no kernel of the landscape
def test_the_candidates_of_earlier_sweeps_are_recommended(shelf, tmp_path, answers):
    """Whatever their version: the winner and four of its rivals, of the database that is written and then of the shipped file."""
    good = [Tried("alpha", config(number), Measurement("ok", 10.0 + number)) for number in (2, 3, 4, 5)]
    bad = Tried("alpha", config(9), Measurement("wrong"))
    with Store(tmp_path / "answers.sqlite") as own:
        own.put(record(ASKED, "alpha", 1), [bad, good[0]])
    with Store(shelf.shipped.setdefault("h200", tmp_path / "h200.sqlite")) as shipped:
        shipped.put(record(ASKED, "alpha", 6), good)
    files.reload()
    _, found = answers().recommended(ASKED)
    assert found[0] == Choice("alpha", config(1))
    assert set(found) == {Choice("alpha", config(number)) for number in (1, 2, 3, 4, 5)}


@pytest.mark.filterwarnings("ignore:.*kernel must be one of")
def test_what_other_gpus_of_the_generation_have_timed_is_recommended(tmp_path, shelf, answers):
    """The winner of an H100 and its rivals, on an H200; not those of older code, of another generation or problem, or that nobody measured."""
    rivals = [Tried("alpha", config(number), Measurement("ok", 10.0 + number)) for number in (2, 3)]
    for slug, first in (("h100", 1), ("4090", 5), ("h100-sm89", 7)):
        with Store(shelf.shipped.setdefault(slug, tmp_path / f"{slug}.sqlite")) as shipped:
            shipped.put(record(ASKED, "alpha", first, slug), rivals if slug == "h100" else [])
    with Store(shelf.shipped.setdefault("h100-pcie", tmp_path / "pcie.sqlite")) as shipped:
        guessed = [Tried("alpha", config(6), Measurement("ok", 9.0))]
        shipped.put(record(ASKED, "alpha", 8, "h100-pcie")._replace(provenance="predicted"), guessed)
    files.reload()
    _, found = answers().recommended(ASKED)
    assert set(found) == {Choice("alpha", config(number)) for number in (1, 2, 3)}
    assert answers().recommended(FAR)[1] == []


@pytest.mark.filterwarnings("ignore:.*kernel must be one of")
def test_a_record_that_is_too_unsure_to_answer_is_tried(monkeypatch, shelf, answers):
    """A predicted winner that torch answers for is still the first guess; a neighbour's record is none."""
    unsure = record(ASKED, "alpha", 3)
    for known, choices in ((unsure, [Choice("alpha", config(3))]), (unsure._replace(problem=FAR), [])):
        found = Answer("aten", "aten", None, known, "too little")
        monkeypatch.setattr(module, "answer", lambda *_, found=found: found)
        assert answers().recommended(ASKED)[1] == choices


def test_torch_is_no_candidate(shelf, answers):
    """It is timed anyway; its time is passed on."""
    shelf.put(record(ASKED, "aten", 0), ship="h200")
    assert answers().recommended(ASKED) == (30.0, [])


def test_winners_of_similar_problems_are_kin(shelf, answers):
    """Those of this GPU first, the most similar in front, then of others; torch's own kernel is none."""
    shelf.put(record(FAR, "alpha", 2), record(NEAR, "alpha", 1), record(ASKED, "aten", 0), ship="h200")
    shelf.put(record(ASKED, "alpha", 7, "h100"), ship="h100")
    assert answers().kin(ASKED) == [Choice("alpha", config(number)) for number in (1, 2, 7)]


def test_a_few_winners_of_each_gpu_come_before_many_of_one(shelf, answers):
    """Three of this GPU, two of others, and then the rest, each once."""
    here = [record(ASKED._replace(c_in=64 + 8 * number), "alpha", number) for number in range(1, 6)]
    away = [
        record(ASKED._replace(c_in=64 + 8 * number), "alpha", 10 + number, "h100") for number in range(1, 6)
    ]
    shelf.put(*here, ship="h200")
    shelf.put(*away, ship="h100")
    numbers = [1, 2, 3, 11, 12, 4, 5, 13, 14, 15]
    assert answers().kin(ASKED) == [Choice("alpha", config(number)) for number in numbers]


def test_the_users_winner_comes_before_the_shipped_one(shelf, answers):
    """Of one problem the database that answers first tells."""
    shelf.put(record(NEAR, "alpha", 3))
    shelf.put(record(NEAR, "alpha", 1), ship="h200")
    assert answers().kin(ASKED) == [Choice("alpha", config(3))]


def final(*finalists):
    return Finished(ASKED, 8, list(finalists), None, 40.0, None, {"triton": "3.7.1"}, complete=True)


def expects(number, us, high, detail=""):
    return Tried("alpha", config(number), Measurement("ok", us, us / 2, high, detail=detail))


def test_a_sweep_without_the_gpu_says_what_its_times_rest_on(tmp_path):
    """The surest candidate wins, by proxy or predicted, beside torch's expected time; a measured sweep asks no proxy."""
    settings = Settings(by_slug("4090"), "predicted", 8, "", tmp_path / "ada.sqlite", parts=Parts("landscape", "", "", "landscape:expected", ""))  # fmt: skip
    predicted = Answers(settings, landscape)
    proxied = expects(1, 10.0, 12.0, "by proxy on h100-sm89, which takes 4 us")
    found, top = predicted.record(final(expects(2, 9.5, 13.0), proxied))
    assert (found.provenance, found.config, found.aten_us, found.error) == ("proxy", config(1), 40.0, None)
    assert [one.config for one in top] == [config(2), config(1)]
    found, _ = predicted.record(final(expects(2, 6.0, 8.0), proxied))
    assert (found.provenance, found.config) == (
        "proxy",
        config(1),
    )  # a guess must be expected to take less than half
    found, _ = predicted.record(final(expects(2, 4.9, 8.0), proxied))
    assert (found.provenance, found.config) == ("predicted", config(2))
    kernelbench = next(entry for entry in load_suite("kernelbench") if entry.id == "kb57").problem(
        "float32", "tf32"
    )
    assert len(predicted.proxied(kernelbench)) == 4
    predicted.close()
    measured = Answers(settings._replace(provenance="measured"), landscape)
    assert measured.proxied(kernelbench) == []
    measured.close()
