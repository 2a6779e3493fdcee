"""The benchmark of all answers to a suite: what takes part, what is refused, and that a run ends as it says."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from awkward import problem

from tunedb.device import by_slug
from tunedb.errors import KernelError
from tunedb.kernel import source_hash
from tunedb.measure.timing import WallClock
from tunedb.problem import OPS

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = problem("conv_transpose2d", n=2, c=(4, 6), extents=(5, 7), k=3, s=2, p=1, op_=(1, 0), bias=1, precision="ieee")  # fmt: skip
H200 = by_slug("h200")


class Config(NamedTuple):
    BLOCK: int
    FAULT: str


class Kernel:
    """A kernel that is torch's convolution, or that with a fault; it keeps what it was launched with."""

    OPS, Config = OPS, Config

    def __init__(self):
        self.launchers = []

    def valid(self, _problem, config, device):
        return f"BLOCK must be at most {device.shared_block}." if device.shared_block < config.BLOCK else ""

    def plan(self, problem, config, launcher):
        from tunedb.kernels import aten

        self.launchers.append(launcher)
        exact = aten.plan(problem, aten.Config(), launcher)
        calls = []

        def run(x, weight, bias, out):
            calls.append(None)
            if config.FAULT == "launch":
                raise RuntimeError("CUDA error: too many resources requested for launch")
            exact(x, weight, bias, out)
            if config.FAULT == "wrong":
                out *= 1.01
            if config.FAULT == "noisy" and len(calls) % 2:
                out[0, 0, 0, 0] += out[0, 0, 0, 0] * 2.0**-22
            if config.FAULT == "unwritten":
                out[0, 0, 0, 0] = float("nan")
            return out

        return run


@pytest.fixture
def kernel(monkeypatch):
    """A kernel named fake wherever kernels are loaded by name."""
    from tunedb import kernel as protocol

    real, real_hash, fake = protocol.load, protocol.source_hash, Kernel()
    monkeypatch.setattr(protocol, "load", lambda name: fake if name == "fake" else real(name))

    def hashed(name):
        if name not in {"fake", "aten"}:
            raise KernelError(f"kernel must be one of aten, fake, but got {name!r}.")
        return "new" if name == "fake" else real_hash(name)

    monkeypatch.setattr(protocol, "source_hash", hashed)
    return fake


@pytest.fixture
def columns(scripts, shelf, record, kernel):
    """Measure SMALL with given answers of databases; what is dispatched is torch's own."""
    shelf.put(record._replace(problem=SMALL, kernel="aten", config="{}", kernel_hash=source_hash("aten")))
    module = scripts("bench.columns")

    def measured(compile_s=None, **answers):
        return module.measured(
            "small", SMALL, WallClock(H200), answers, slug="h200", compile_s=compile_s
        )  # fmt: skip

    return measured


@pytest.fixture
def fake(scripts):
    def stored(fault="", arch=None):
        return scripts("bench.sources").Stored("fake", json.dumps({"BLOCK": 1, "FAULT": fault}), arch)

    return stored


def test_all_columns_are_timed_in_one_run(columns, fake, kernel):
    """A right answer of each database, the dispatched one and torch in both modes have times with their spread; sm89 is launched as such."""
    row = columns(triton=fake(), sm89=fake(arch="sm89"))
    assert set(row.times) == {"cudnn", "heuristic", "triton", "sm89", "dispatched"}
    assert all(0 < low <= median <= high for median, low, high in row.times.values())
    assert row.kernels == {"triton": "fake", "sm89": "fake", "dispatched": "aten"}
    assert [launcher.keywords for launcher in kernel.launchers] == [{"arch": None}, {"arch": "sm89"}]
    assert (row.failures, row.notes) == ([], [])
    assert row.floor_us > 0


def test_calls_are_interleaved(columns, fake, monkeypatch):
    """The repetitions of all columns are asked for together, at least nine rounds of them."""
    asked = []
    real = WallClock.times_us

    def times_us(self, calls, rounds):
        asked.append((len(calls), rounds))
        return real(self, calls, rounds)

    monkeypatch.setattr(WallClock, "times_us", times_us)
    columns(triton=fake())
    assert asked[-2] == (4, 1)
    assert asked[-1][0] == 4
    assert asked[-1][1] >= 9


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("wrong", "error against float64"),
        ("noisy", "the same bits"),
        ("unwritten", "never written"),
        ("launch", "too many resources"),
    ],
)
def test_a_faulty_answer_fails_and_has_no_time(columns, fake, fault, said):
    """An answer out of the contract, unequal when repeated, unwritten or refused is a failure, and the others go on."""
    row = columns(triton=fake(fault), sm89=fake())
    assert len(row.failures) == 1
    assert row.failures[0].startswith("triton: fake: ")
    assert said in row.failures[0]
    assert "triton" not in row.times
    assert {"sm89", "cudnn", "dispatched"} <= set(row.times)


def test_a_lost_context_ends_the_problem(columns, fake, monkeypatch):
    """Where the GPU process is lost nothing more is timed in it: the error goes up."""
    monkeypatch.setattr(WallClock, "alive", lambda _: False)
    with pytest.raises(RuntimeError, match="too many resources"):
        columns(triton=fake("launch"))


def test_a_bug_is_no_failure_of_a_column(columns, fake, kernel, monkeypatch):
    """A programming error is not hidden in a table."""
    monkeypatch.setattr(kernel, "plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        columns(triton=fake())


def test_a_missing_answer_is_a_note(columns):
    """A database without an answer leaves its column empty, and the notes say why."""
    row = columns(triton="x.sqlite has no record of it on h200")
    assert "triton" not in row.times
    assert row.notes == ["triton: x.sqlite has no record of it on h200"]
    assert row.failures == []


def test_no_template_is_a_note(columns):
    """A transposed problem, for which Inductor has no template, has no torch.compile column."""
    row = columns(compile_s=1.0)
    assert "compile" not in row.times
    assert row.notes == ["compile: Inductor has no Triton template for it"]


def test_another_tier_is_a_note(columns, shelf, record):
    """What is dispatched from another tier than exact is told."""
    shelf.user.unlink()
    row = columns()
    assert any(note.startswith("dispatched: ") for note in row.notes)
    assert "dispatched" in row.times


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
