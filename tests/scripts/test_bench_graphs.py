"""The benchmark of CUDA graphs: two answers captured the same way, replayed in turn, and what is said of them."""

import json
from types import SimpleNamespace

import pytest
import torch
from awkward import problem

from tunedb.device import by_slug
from tunedb.kernel import source_hash
from tunedb.measure.timing import WallClock

SMALL = problem("conv_transpose2d", n=1, c=(4, 6), extents=(5, 7), k=3, s=2, p=1, op_=(1, 0), bias=1, precision="ieee")  # fmt: skip


@pytest.fixture
def script(scripts, monkeypatch):
    found = scripts("bench_graphs")
    monkeypatch.setattr(found, "REPLAYS_US", 50.0)
    return found


@pytest.fixture
def item(scripts):
    return scripts("bench.items").Item("small", SMALL)


@pytest.fixture
def row(script):
    return script.Row(
        "M1", "conv_transpose2d", "float16", "channels_first", "direct", "exact", "because", (10.0, 9.0, 11.0), (20.0, 19.0, 21.0), "",
    )  # fmt: skip


def measured(script, item, spoil=lambda out: out):
    captured = []

    def capture(call):
        captured.append(call)
        return call, spoil(call())

    row = script.measured(item, WallClock(by_slug("h200")), "h200", capture, lambda: None)
    return row, captured


def test_both_answers_are_captured_and_timed(script, item, shelf, record):
    """The dispatched answer and torch's are captured apart; both have times, and the answer its kernel and tier."""
    shelf.put(record._replace(problem=SMALL, kernel="aten", config="{}", kernel_hash=source_hash("aten")))
    row, captured = measured(script, item)
    assert len(captured) == 2
    assert (row.kernel, row.tier, row.failure) == ("aten", "exact", "")
    assert 0 < row.tunedb_us[1] <= row.tunedb_us[0] <= row.tunedb_us[2]
    assert row.ratio > 0


def test_what_a_graph_computed_is_held_against_float64(script, item, shelf, record, monkeypatch):
    """An own kernel's result that the graph left outside the contract is a failure."""
    import tunedb

    found = tunedb.explain
    monkeypatch.setattr(
        tunedb,
        "explain",
        lambda *args, **given: (said := found(*args, **given))._replace(
            answer=said.answer._replace(kernel="direct")
        ),
    )
    row, _ = measured(script, item)
    assert row.failure == ""
    row, _ = measured(script, item, spoil=lambda out: out * 1.01)
    assert "error against float64" in row.failure


@pytest.fixture
def sleep(script, monkeypatch):
    """Pass time on the script's clock, which nothing else moves."""
    now = [0.0]
    monkeypatch.setattr(script, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def sleep(seconds):
        now[0] += seconds

    return sleep


def test_graphs_take_turns(script, sleep):
    """Replays are interleaved, each timing as long as the others, and times are those of one call."""
    log = []

    def sleeping(name, seconds):
        def replay():
            log.append(name)
            sleep(seconds)

        return replay

    first, second = script.wall_us([sleeping("a", 0.002), sleeping("b", 0.004)], lambda: None)
    assert first == pytest.approx([2000 / script.CALLS] * script.ROUNDS)
    assert second == pytest.approx([4000 / script.CALLS] * script.ROUNDS)
    tail = log[-2 * script.ROUNDS :]
    assert {"".join(pair) for pair in zip(tail[::2], tail[1::2], strict=True)} == {"ab", "ba"}


def test_a_short_graph_is_replayed_many_times(script, sleep, monkeypatch):
    """What a wait costs is spread over enough replays to fill the time of a timing."""
    monkeypatch.setattr(script, "REPLAYS_US", 2000.0)
    count = []
    script.wall_us([lambda: count.append(sleep(0.00013))], lambda: None)
    assert len(count) == 1 + 3 + 16 * script.ROUNDS


def test_the_wait_is_in_the_time(script, sleep):
    """A timing ends when the host has waited for the GPU, and begins when nothing is under way."""
    (times,) = script.wall_us([lambda: None], lambda: sleep(0.001))
    assert times == pytest.approx([1000 / script.CALLS] * script.ROUNDS)


def test_the_summary_has_both_directions(script, row):
    """Geometric means of transposed and forward problems apart, and everything below 1, worst first."""
    rows = [
        row,
        row._replace(id="M2", cudnn_us=(5.0, 5.0, 5.0)),
        row._replace(id="M3", op="conv1d", kernel="aten", cudnn_us=(9.0, 9.0, 9.0)),
        row._replace(id="M4", op="conv1d", tunedb_us=None, cudnn_us=None, failure="died | here"),
    ]
    found = script.summary(rows)
    assert json.loads(json.dumps(found)) == found
    assert found["transposed"] == {"problems": 2, "of": 2, "times_cudnn": 1.0, "wins": 1, "by_torch": 0}
    assert found["forward"] == {"problems": 2, "of": 1, "times_cudnn": 0.9, "wins": 0, "by_torch": 1}
    assert [one[0] for one in found["below_1"]] == ["M2", "M3"]
    assert [one[0] for one in found["failures"]] == ["M4"]
    text = script.page(rows, "NVIDIA H200, 2026-11-21.", "python x", "models")
    assert "- M2 conv_transpose2d float16 channels_first: 0.500, by direct (exact): because" in text
    assert "- M4 float16 channels_first: died | here" in text
    assert "| transposed | 2 | 1.00x (2) | 1 of 2 | 0 |" in text


def test_a_row_comes_back_from_its_child(script, row, item):
    """What a child answers as JSON is the same row again; one that died says so."""
    found = json.loads(json.dumps({"index": 0, "row": row._asdict()}))
    assert script.row_of(item, found) == row
    dead = script.row_of(item, {"index": 0, "died": "exit status 3"})
    assert (dead.failure, dead.ratio, dead.id) == ("exit status 3", None, "small")


def test_batch_1_of_the_models_is_run(script):
    """By default the problems are those of the models at batch 1, in float16."""
    arguments = script.parsed([])
    items = script.wanted(arguments.suite, arguments.dtype, arguments.layout, None, arguments.batch)
    assert len(items) == 85
    assert {(item.problem.n, item.problem.dtype) for item in items} == {(1, "float16")}


def test_without_a_gpu_it_says_so(script, monkeypatch):
    """On a machine without a GPU the script ends with one message."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["bench_graphs.py"])
    with pytest.raises(SystemExit, match="needs a CUDA GPU"):
        script.main()
