"""The benchmark of all answers to a suite: what takes part, what is refused, and that a run ends as it says."""

import json

import pytest
import torch
from fake_columns import H200, SMALL

from tunedb.measure.timing import WallClock


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"kernel": "aten", "config": "{}"}, "torch's own kernel"),
        ({"kernel_hash": "old"}, "stale"),
        ({"kernel": "gone"}, "kernel must be one of"),
        ({"config": '{"BLOCK":1}'}, "exactly the fields"),
        ({"config": '{"BLOCK":1000000,"FAULT":""}'}, "BLOCK must be at most"),
        ({"device": "4090"}, "no record of it on h200"),
        ({"problem": SMALL._replace(n=3)}, "no record"),
    ],
)
def test_what_a_database_has_for_a_problem(scripts, shelf, record, kernel, changes, said):
    """Only a fresh, valid record of exactly this problem on this device by tunedb's own kernel is timed."""
    sources = scripts("bench.sources")
    given = {"problem": SMALL, "kernel": "fake", "config": '{"BLOCK":1,"FAULT":""}', "kernel_hash": "new"}
    path = shelf.put(record._replace(**(given | changes)))
    found = sources.stored(path, SMALL, H200)
    if said is None:
        assert found == sources.Stored("fake", '{"BLOCK":1,"FAULT":""}', None)
    else:
        assert said in found


def test_an_older_generation_has_records_and_limits_of_its_own(scripts, shelf, record, kernel):
    """The sm89 column reads the records of h200-sm89, and a config must fit 99 KB."""
    sources = scripts("bench.sources")
    small = record._replace(problem=SMALL, kernel="fake", kernel_hash="new")
    path = shelf.put(
        small._replace(config='{"BLOCK":200000,"FAULT":""}'),
        small._replace(device="h200-sm89", config='{"BLOCK":101376,"FAULT":""}'),
    )
    assert sources.stored(path, SMALL, H200) == sources.Stored("fake", '{"BLOCK":200000,"FAULT":""}', None)
    found = sources.stored(path, SMALL, H200, "sm89")
    assert found == sources.Stored("fake", '{"BLOCK":101376,"FAULT":""}', "sm89")
    sources._opened.cache_clear()
    shelf.put(small._replace(device="h200-sm89", config='{"BLOCK":101377,"FAULT":""}'))
    assert "101376" in sources.stored(path, SMALL, H200, "sm89")


def test_channels_last_is_for_two_and_three_dimensions(scripts):
    """A suite is run in every dtype and layout that its problems have, or only the problems that are named."""
    wanted = scripts("bench.items").wanted
    items = wanted("kernelbench", "float32,float16", "channels_first,channels_last", None)
    assert len({item.key for item in items}) == len(items) > 100
    assert {item.problem.rank for item in items if item.problem.layout == "channels_last"} == {2, 3}
    assert {item.problem.precision for item in items if item.problem.dtype == "float32"} == {"tf32"}
    one = wanted("kernelbench", "float16", "channels_first", "kb81")
    assert [item.key for item in one] == [("kb81", "float16", "channels_first")]
    with pytest.raises(SystemExit, match="kb1000"):
        wanted("kernelbench", "float16", "channels_first", "kb81,kb1000")


def test_the_command_names_no_folder_of_a_machine(scripts):
    """Files outside the working directory are told by their names."""
    said = scripts("bench.items").command(
        ["/a/b/bench_kernels.py", "--db", "/tmp/x/y.sqlite", "--out", "benchmarks/h200/kernels.md"]
    )
    assert said == "python scripts/bench_kernels.py --db y.sqlite --out benchmarks/h200/kernels.md"


def run(scripts, monkeypatch, capsys, found, *argv):
    """Run bench_kernels with answers given instead of measured; return status and last line."""
    module = scripts("bench_kernels")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(module, "precompile", lambda *_: None)
    asked = []

    def dealt(command, order, gpus, deadline, say):
        asked.append((order, gpus))
        return found(order)

    monkeypatch.setattr(module, "dealt", dealt)
    monkeypatch.setattr("sys.argv", ["scripts/bench_kernels.py", *argv])
    status = module.main()
    return status, json.loads(capsys.readouterr().out.splitlines()[-1]), asked


def fine(order):
    row = {"id": "kb81", "op": "conv_transpose2d", "dtype": "float32", "layout": "channels_first", "floor_us": 10.0,
           "times": {"cudnn": [60, 59, 61], "triton": [20, 19, 21]}, "kernels": {"triton": "direct"}, "notes": [], "failures": []}  # fmt: skip
    return {order[0]: {"index": order[0], "row": row}}


def test_a_run_writes_page_plot_and_results(scripts, shelf, monkeypatch, capsys, tmp_path):
    """A run ends with page, plot and results beside each other, one line of JSON and status 0."""
    out = tmp_path / "kernels.md"
    argv = ("--only", "kb81", "--dtype", "float32", "--layout", "channels_first", "--out", str(out))
    status, said, _ = run(scripts, monkeypatch, capsys, fine, *argv)
    assert status == 0
    assert said["groups"][0]["triton"]["times_cudnn"] == 3.0
    assert said["unmeasured"] == 0
    assert "(kernels.svg)" in out.read_text()
    assert "--out kernels.md" in out.read_text()
    assert out.with_suffix(".svg").read_text().startswith("<svg")
    assert json.loads(out.with_suffix(".json").read_text())["rows"][0]["id"] == "kb81"


def test_a_run_can_be_resumed(scripts, shelf, monkeypatch, capsys, tmp_path):
    """--resume measures only what the results have not, or have as failed, and keeps the rest."""
    out = tmp_path / "kernels.md"
    argv = ("--only", "kb81", "--dtype", "float32", "--out", str(out), "--resume")
    status, said, _ = run(scripts, monkeypatch, capsys, fine, *argv)
    assert (status, said["unmeasured"]) == (1, 1)

    def dies(order):
        return {order[0]: {"index": order[0], "died": "exit status 3"}}

    status, said, asked = run(scripts, monkeypatch, capsys, dies, *argv)
    assert asked == [([1], [0])]
    assert (status, said["failures"]) == (1, [["kb81", "float32", "channels_last", "exit status 3"]])
    _, _, asked = run(scripts, monkeypatch, capsys, dies, *argv)
    assert asked == [([1], [0])]
    results = scripts("bench.report").Results.read(out.with_suffix(".json"))
    assert [row.layout for row in results.rows] == ["channels_first", "channels_last"]
    assert results.command.count("python scripts/bench_kernels.py") == 1
    run(scripts, monkeypatch, capsys, dies, *argv, "--seconds", "9")
    again = scripts("bench.report").Results.read(out.with_suffix(".json"))
    assert again.command == f"{results.command}; {results.command} --seconds 9"
    results._replace(environment={"torch": "0.1"}).write(out.with_suffix(".json"))
    with pytest.raises(SystemExit, match="versions at hand"):
        run(scripts, monkeypatch, capsys, dies, *argv)


def test_what_is_timed_is_compiled_ahead(scripts, shelf, record, kernel, monkeypatch):
    """The answers of all columns are compiled before a GPU is used, each for the device that it is for."""
    module, sources = scripts("bench_kernels"), scripts("bench.sources")
    given = record._replace(problem=SMALL, kernel="fake", config='{"BLOCK":1,"FAULT":""}', kernel_hash="new")
    path = shelf.put(given, given._replace(device="h200-sm89"))
    tasks = []
    monkeypatch.setattr(module, "precompile", lambda found, _: tasks.extend(found))
    monkeypatch.setattr(
        module, "looked_up", lambda *_: sources.Stored("direct", "{}", None) if _[0] == SMALL else None
    )
    arguments = module.parsed(["--triton-db", str(path), "--sm89-db", str(path)])
    module.prepare([SMALL, SMALL._replace(n=3)], arguments, 0.0)
    assert [(task[0], task[3].slug) for task in tasks] == [
        ("fake", "h200"),
        ("fake", "h200-sm89"),
        ("direct", "h200"),
    ]


def test_without_a_gpu_it_says_so(scripts, monkeypatch):
    """On a machine without a GPU the script ends with one message."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["bench_kernels.py"])
    with pytest.raises(SystemExit, match="needs a CUDA GPU"):
        scripts("bench_kernels").main()


def test_lists_are_named_with_their_files(scripts, capsys):
    """--resume and --readme need a file of results."""
    for flag in (["--resume"], ["--readme", "README.md"]):
        with pytest.raises(SystemExit):
            scripts("bench_kernels").parsed(flag)
        assert "give --json or --out" in capsys.readouterr().err


def test_a_child_answers_each_problem(scripts, shelf, monkeypatch, capsys):
    """A child answers a line a problem, tells what the GPU refused and goes on, and ends where its context is lost."""
    from tunedb.measure import timing

    module, items = scripts("bench_kernels"), scripts("bench.items")
    too_large = SMALL._replace(n=5)
    real = module.measured

    def measured(name, problem, *args, **given):
        if problem == too_large:
            raise torch.OutOfMemoryError("CUDA out of memory\nand more")
        return real(name, problem, *args, **given)

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr(timing, "GpuClock", lambda _: WallClock(H200))
    given = [items.Item("a", SMALL), items.Item("b", too_large), items.Item("c", SMALL)]
    assert module.work([0, 1, 2], given, module.parsed([])) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [module.row_of(given[one["index"]], one) for one in lines]
    assert [row.id for row in rows] == ["a", "b", "c"]
    assert set(rows[0].times) == {"cudnn", "heuristic", "dispatched"}
    assert rows[1].failures == ["OutOfMemoryError: CUDA out of memory"]
    monkeypatch.setattr(WallClock, "alive", lambda _: False)
    assert module.work([1, 2], given, module.parsed([])) == 75
    assert len(capsys.readouterr().out.splitlines()) == 1
