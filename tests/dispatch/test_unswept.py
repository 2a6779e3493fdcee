"""What answers a problem that no record is near to: the config that the predictor expects to win, or torch."""

import types

import pytest
from awkward import problem

pytest.importorskip("triton")

from tunedb.device import by_slug
from tunedb.dispatch import unswept
from tunedb.dispatch.explanation import explain_problem
from tunedb.dispatch.lookup import answer
from tunedb.dispatch.unseen import shipped
from tunedb.dispatch.unseen.choose import Guess
from tunedb.errors import TunedbWarning
from tunedb.kernel import load
from tunedb.store import files

H100 = by_slug("h100")
ASKED = problem("conv2d", c=(48, 56), extents=(30, 30), k=3, p=1, dtype="float16", bias=1)


@pytest.fixture
def predictor(shelf, record, monkeypatch):
    """A predictor of the H100 whose guess a test sets, beside a file of the H200 that says nothing of the problem."""
    kernel = load("implicit_gemm")
    played = types.SimpleNamespace(
        guess=Guess("implicit_gemm", kernel.default(ASKED, H100), 10.0, 30.0), asked=[]
    )
    shelf.put(record._replace(kernel="aten", config="{}", kernel_hash="aten"), ship="h200")

    def choose(_, asked, device, kin):
        played.asked.append((asked, list(kin)))
        if isinstance(played.guess, Exception):
            raise played.guess
        return played.guess

    known = played.predictor = types.SimpleNamespace(
        devices=("h100",), facts={"trials": 9000, "whole": ["h100"]}
    )
    monkeypatch.setattr(unswept, "shipped_predictor", lambda: known)
    monkeypatch.setattr(unswept, "choose", choose)
    return played


def test_a_sure_guess_answers(predictor):
    """The tier says that it is expected, and the reason what it expects, how sure it is and what it rests on."""
    found = answer(ASKED, H100)
    assert (found.tier, found.kernel, found.config) == ("expected", "implicit_gemm", predictor.guess.config)
    for text in ("expected to take 10.0 us where torch takes 30.0 us", "with a probability of 99 %", "9,000 trials on h100", "untimed"):  # fmt: skip
        assert text in found.reason


def test_explain_says_what_is_expected(predictor):
    """Both times, called predicted; where torch answers its own."""
    found = explain_problem(ASKED, H100)
    assert (found.expected_us, found.aten_us) == (10.0, 30.0)
    assert "expects  10.0 us, predicted by trials of other problems, untimed" in str(found)
    assert "aten     30.0 us expected" in str(found)
    predictor.guess = predictor.guess._replace(torch_us=11.0)
    files.reload()
    found = explain_problem(ASKED, H100)
    assert (found.answer.kernel, found.expected_us, found.aten_us) == ("aten", 11.0, 11.0)


@pytest.mark.parametrize("change", [{"torch_us": 13.0}, {"kernel": "gone"}])
def test_an_unsure_guess_leaves_it_to_torch(predictor, change):
    """Below the limit, and where its kernel is not installed."""
    predictor.guess = predictor.guess._replace(**change)
    found = answer(ASKED, H100)
    assert (found.tier, found.kernel, found.config) == ("aten", "aten", None)
    assert "at least 90 % are asked for" in found.reason


@pytest.mark.parametrize(("torch_us", "whole", "tier"), [(13.2, True, "expected"), (14.0, False, "aten"), (15.0, False, "expected")])  # fmt: skip
def test_more_is_asked_where_only_finalists_are_known(predictor, torch_us, whole, tier):
    """A predictor that has seen no config of a device lose expects too much of it."""
    predictor.predictor.facts = {"trials": 9000, "whole": ["h100"] if whole else []}
    predictor.guess = predictor.guess._replace(torch_us=torch_us)
    assert answer(ASKED, H100).tier == tier


@pytest.mark.parametrize(
    ("slug", "whole", "tier"),
    [("h100-pcie", ["h100"], "expected"), ("h100-pcie", [], "aten"), ("4090", ["h100"], "aten"), ("h100-sm89", ["h100"], "aten")],
)  # fmt: skip
def test_a_gpu_of_the_same_kind(predictor, slug, whole, tier):
    """One of the same capability is answered where searches are known whole, and not where finalists are, nor for older code."""
    predictor.predictor.facts = {"trials": 9000, "whole": whole}
    assert answer(ASKED, by_slug(slug)).tier == tier


def test_a_gpu_of_the_same_kind_must_be_surer(predictor):
    """The limit is that of a device of which no loser is known."""
    predictor.guess = predictor.guess._replace(torch_us=14.0)
    assert [answer(ASKED, by_slug(slug)).tier for slug in ("h100", "h100-pcie")] == ["expected", "aten"]


def test_a_config_that_is_not_valid_here_is_not_run(predictor):
    """What was chosen for a length like this one may not fit it."""
    predictor.guess = predictor.guess._replace(config=predictor.guess.config._replace(num_warps=3))
    assert "not valid here" in answer(ASKED, H100).reason


@pytest.mark.parametrize("failure", [ImportError("no triton"), ZeroDivisionError(), None])
def test_where_nothing_can_be_expected_torch_answers(predictor, failure):
    """Without Triton, for sizes that no kernel was made for, and where no kernel applies."""
    predictor.guess = failure
    assert answer(ASKED, H100)[:2] == ("aten", "aten")


def test_other_gpus_keep_the_rule_of_the_nearest_winner(predictor):
    """The predictor knows nothing of them."""
    answer(ASKED, by_slug("4090"))
    assert not predictor.asked


def test_a_decision_is_kept_until_the_files_change(predictor, shelf, record):
    """The lengths of a layer that are alike are decided once, by the same one whichever comes first."""
    layer = problem("conv1d", c=(48, 56), extents=(4001,), k=3, dtype="float16")
    lengths = (4001, 4099, 3889)
    for length in lengths:
        assert answer(layer._replace(in_w=length), H100).tier == "expected"
    assert len(predictor.asked) == 1
    assert {unswept.like_length(layer._replace(in_w=length)).in_w for length in lengths} == {predictor.asked[0][0].in_w}  # fmt: skip
    shelf.put(record, ship="h200")
    answer(layer, H100)
    assert len(predictor.asked) == 2


@pytest.mark.parametrize("length", [1, 63, 65, 1000, 1024, 4001, 48000, 110_336])
def test_a_length_is_stood_for_by_one_alike(length):
    """At most 11 % away, with the same factor of 16; short ones and planes stand for themselves."""
    layer = problem("conv1d", c=(8, 8), extents=(length,), k=1)
    near = unswept.like_length(layer).in_w
    assert abs(near / length - 1) <= 0.11
    assert near % 16 == length % 16 == 0 or (near & -near) == (length & -length)
    assert unswept.like_length(ASKED) == ASKED


def test_the_shipped_predictor_answers_for_its_gpus(monkeypatch):
    """It can be read, knows the GPUs that were swept, and gives an unswept layer a kernel of tunedb."""
    monkeypatch.setattr(files, "user_files", list)
    files.reload()
    found = shipped.shipped_predictor()
    assert found is not None
    assert set(found.devices) == {"h100", "h200"}
    asked = problem("conv_transpose2d", c=(72, 40), extents=(52, 60), k=4, s=2, p=1, dtype="float16", bias=1)
    for slug in found.devices:
        answered = answer(asked, by_slug(slug))
        assert answered.tier == "expected"
        kernel = load(answered.kernel)
        assert not kernel.valid(asked, answered.config, by_slug(slug))


@pytest.mark.parametrize("text", [b"no gzip", b""])
def test_a_broken_predictor_is_left_aside(monkeypatch, tmp_path, text):
    """With one warning; the nearest winners decide in its place."""
    (tmp_path / shipped.FILE).write_bytes(text)
    monkeypatch.setattr(shipped, "files", lambda _: tmp_path)
    with pytest.warns(TunedbWarning, match="left aside"):
        assert shipped.shipped_predictor.__wrapped__() is None
    (tmp_path / shipped.FILE).unlink()
    assert shipped.shipped_predictor.__wrapped__() is None
