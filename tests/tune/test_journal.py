import json
import multiprocessing
import os
import subprocess
import sys
import time
import warnings

import landscape
import pytest

from tunedb.device import by_slug
from tunedb.errors import StorageError, TunedbWarning
from tunedb.record import Measurement, Tried
from tunedb.store.rows import RowError, from_result, to_result
from tunedb.tune.journal import STALE_S, History, State, sizes, study_name
from tunedb.tune.owner import owner
from tunedb.tune.space import Space

SPACE = Space(landscape.problem("conv2d"), by_slug("h200"), landscape.KERNELS)
CONFIG = '{"BLOCK_M":16,"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":1}'
TRIED = [
    Tried("alpha", CONFIG, Measurement("ok", 12.5, 12.0, 13.0, 1e-4, 1024, 64, 0)),
    Tried(
        "alpha",
        CONFIG.replace('"row"', '"swizzle"'),
        Measurement("compile-error", detail="no such instruction"),
    ),
]


@pytest.fixture(params=["journal", "rdb"])
def storage(request, tmp_path):
    return (
        str(tmp_path / "deep" / "history.journal")
        if request.param == "journal"
        else f"sqlite:///{tmp_path}/history.sqlite"
    )


def test_what_is_written_is_read_again(storage):
    """Trials come back in order with all they say, from another process's point of view."""
    past = History(storage).past("a", {"device": "h200"})
    for tried in TRIED:
        past.append(tried, SPACE)
    assert History(storage).past("a", {}).tried() == TRIED


def test_every_problem_of_a_history_is_given_with_its_trials(storage):
    """Whoever does not know the problems' names gets names, facts, trials, and the hour in which each ended."""
    past = History(storage).past("a", {"device": "h200"})
    past.append(TRIED[0], SPACE)
    History(storage).past("b", {"device": "h100"})
    found = {name: (facts["device"], past.tried()) for name, facts, past in History(storage).every()}
    assert found == {"a": ("h200", TRIED[:1]), "b": ("h100", [])}
    assert [len(hour) for hour in past.hours()] == [13]


def test_a_claim_is_exclusive_until_it_is_stale(storage, monkeypatch):
    """A live owner keeps a problem; after a minute of silence another may take it."""
    first, second = (History(storage).past("a", {}) for _ in range(2))
    here = owner()
    assert first.claim(here, 40)
    assert not second.claim("elsewhere:1:2", 40)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + STALE_S + 1)
    assert second.claim("elsewhere:1:2", 40)
    assert first.state.owner == "elsewhere:1:2"


def test_states_follow_a_problem(storage):
    """Waiting, running, then done with its result; done with fewer trials than are asked for is no answer."""
    past = History(storage).past("a", {})
    assert past.state.name == "waiting"
    assert past.claim(owner(), 40)
    past.heartbeat()
    assert (past.state.name, past.state.free(time.time())) == ("running", False)
    past.finish("done", trials=40, result={"record": 1})
    assert past.state.answers(40)
    assert not past.state.answers(41)
    assert not past.claim(owner(), 40)
    assert past.claim(owner(), 41)
    past.finish("failed", cause="out of memory")
    assert (past.state.name, past.state.cause, past.result) == ("failed", "out of memory", {"record": 1})


def test_a_dead_owner_of_this_host_is_known_at_once(storage):
    """The claim of a process that is gone is free although it is fresh."""
    dead = subprocess.run(
        [sys.executable, "-c", "from tunedb.tune.owner import owner; print(owner())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    past = History(storage).past("a", {})
    assert past.claim(dead, 40)
    assert past.state.free(time.time())
    assert past.claim(owner(), 40)
    assert not past.state.free(time.time())
    assert not State("running", "elsewhere:1:2", time.time()).free(time.time())


def _claim(storage, barrier, results):
    past = History(storage).past("a", {})
    barrier.wait()
    results.put(past.claim(owner(), 40))
    barrier.wait()


def test_one_of_several_claimants_succeeds(tmp_path):
    """Of four processes that claim a problem at the same moment exactly one gets it."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.SimpleQueue()
    storage = str(tmp_path / "history.journal")
    History(storage).past("a", {})
    processes = [context.Process(target=_claim, args=(storage, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert sorted(results.get() for _ in processes) == [False, False, False, True]


def test_a_half_written_line_is_dropped(tmp_path):
    """A journal that a crash left with an unfinished line can be read and continued."""
    path = tmp_path / "history.journal"
    History(str(path)).past("a", {}).append(TRIED[0], SPACE)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    past = History(str(path)).past("a", {})
    past.append(TRIED[1], SPACE)
    assert History(str(path)).past("a", {}).tried() == TRIED


@pytest.mark.parametrize("text", ["no json\nat all\n", '{"op_code": 99}\n'])
def test_a_foreign_file_is_refused(tmp_path, text):
    """A file that is no journal is named with the remedy, and left as it was."""
    path = tmp_path / "history.journal"
    path.write_text(text)
    with pytest.raises(StorageError, match="--storage"):
        History(str(path))
    assert path.read_text() == text


@pytest.mark.parametrize("url", ["nonsense://x", "sqlite:////no/such/folder/x.sqlite"])
def test_an_unusable_url_is_refused(url):
    """A database that cannot be opened is named with the remedy."""
    with pytest.raises(StorageError, match="--storage"):
        History(url)


def test_an_unwritable_place_is_refused(tmp_path):
    """A journal in a place that is a file is named with the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--storage"):
        History(os.fspath(tmp_path / "file" / "history.journal"))


def test_names_can_be_read_and_change_with_the_code(monkeypatch):
    """A study's name shows the problem; changed code of a kernel that applies makes a new one, others do not."""
    name = study_name(SPACE, "measured", landscape, "landscape:expected")
    assert name.startswith("h200/conv2d/float16-ieee-channels_first/n0-c8-1000-in64x64-k3x3/")
    real = landscape.source_hash
    monkeypatch.setattr(landscape, "source_hash", lambda kernel: "new" if kernel == "beta" else real(kernel))
    assert study_name(SPACE, "measured", landscape, "landscape:expected") == name
    monkeypatch.setattr(landscape, "source_hash", lambda _: "new")
    assert study_name(SPACE, "measured", landscape, "landscape:expected") != name
    assert study_name(SPACE, "predicted", landscape, "landscape:expected").startswith(
        "h200-predicted/conv2d/"
    )


def test_sizes_name_what_is_unusual():
    """Stride, padding, dilation, groups and bias appear where they are not the usual ones."""
    problem = landscape.problem("conv2d")._replace(stride_h=5, padding_w=1, dilation_h=2, groups=4, bias=1)
    assert sizes(problem) == "n0-c8-1000-in64x64-k3x3-s5x1-p0x1-d2x1-g4-bias"


def _lines(study, *attrs):
    """A journal as an older tunedb wrote it: Optuna's operations create a study (0) and set its attributes (2)."""
    make = {"op_code": 0, "worker_id": "w", "study_name": study, "directions": [1]}
    sets = [
        {"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {key: value}} for key, value in attrs
    ]
    return "".join(json.dumps(line) + "\n" for line in [make, *sets])


def test_an_old_journal_is_read(tmp_path, record):
    """A journal without fields that were added since gives its results with defaults, its trials and its state."""
    result = to_result(record, TRIED)
    for field in ("triton", "torch", "cudnn", "driver", "aten_error"):
        del result["record"][field]
    result["top"][0][2] = {"status": "ok", "time_us": 12.5}
    path = tmp_path / "history.journal"
    facts = {
        "device": "h200",
        "provenance": "measured",
        "result": result,
        "state": {"name": "done", "trials": 40},
    }
    path.write_text(_lines("a", *facts.items()))
    past = History(str(path)).past("a", {})
    past.append(Tried("alpha", CONFIG, Measurement("ok", 12.5)), SPACE)
    assert past.state.answers(40)
    assert past.tried() == [Tried("alpha", CONFIG, Measurement("ok", 12.5))]
    (found,) = History(str(path)).results("h200", "measured")
    read, top = from_result(found)
    assert read == record._replace(triton="", torch="", cudnn="", driver="", aten_error=None)
    assert top == [Tried("alpha", CONFIG, Measurement("ok", 12.5)), TRIED[1]]


def test_an_unknown_field_is_ignored_with_one_warning(record):
    """What a newer tunedb says more of a record or a measurement is ignored, and said once however many results have it."""
    result = to_result(record, TRIED)
    result["record"]["clock_mhz"] = 1980
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            assert from_result(result) == (record, TRIED)
    assert [str(one.message) for one in caught if one.category is TunedbWarning] == [
        "Fields of a newer tunedb in the search history are ignored (Record: clock_mhz): update tunedb."
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda result: result["record"]["problem"].update(padding_mode="circular"),
            "has padding_mode: update tunedb",
        ),
        (
            lambda result: result["record"]["problem"].pop("k_w"),
            "a Problem of a search history must have k_w",
        ),
        (lambda result: result["record"].pop("config"), "a Record of a search history must have config"),
        (lambda result: result.update(record=1), "must have a record with its problem"),
        (lambda result: result.pop("top"), "must have a record with its problem"),
        (lambda result: result.update(top=[1]), "must have a record with its problem"),
    ],
)
def test_a_result_that_cannot_be_used_is_refused(record, spoil, message):
    """A result that lacks what an answer needs, or is of a problem that this code does not know, is refused by name."""
    result = to_result(record, TRIED)
    spoil(result)
    with pytest.raises(RowError, match=message):
        from_result(result)
