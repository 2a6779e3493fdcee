"""Counters by ncu: its CSV, what a process under it launches, and what is said where it cannot count."""

import json
import shutil
import stat
import sys
from types import SimpleNamespace

import pytest
from fake_bench import CONFIG, PROBLEM

from tunedb.errors import DeviceError
from tunedb.measure import counted_calls, ncu
from tunedb.store.profile import COUNTERS

HEAD = ["ID", "Process ID", "Kernel Name", "Grid Size", *COUNTERS.values()]
MARK = "void at::native::triu_tril_kernel<float, int, false, 2, true>(TensorInfo<T1, T2>)"


def line(*cells):
    return ",".join(f'"{cell}"' for cell in cells)


def log_of(*names, unit="nsecond"):
    """What ncu writes: its own lines, a header, units, and a line for each launch."""
    units = line("", "", "", "", unit, *["%"] * (len(COUNTERS) - 1))
    rows = [line(number, 7, name, "(1, 1, 1)", "1,234", 45.5, 83.2, 40, "n/a", 25, 528, 168, 49152) for number, name in enumerate(names)]  # fmt: skip
    return (
        "\n".join(["==PROF== Connected to process 7", line(*HEAD), units, *rows, "==PROF== Disconnected"])
        + "\n"
    )


def test_launches_belong_to_the_mark_before_them():
    """A mark begins each call; a call without launches has none, and what comes before any mark counts for nothing."""
    found = ncu.parsed(log_of("early", MARK, "void packed<3>(float*)", "split_sum", MARK, MARK, "direct"))
    assert [[one.name for one in call] for call in found] == [["packed", "split_sum"], [], ["direct"]]
    first = found[0][0]
    assert (first.time_ns, first.dram, first.l2_hits, first.grid) == (1234.0, 83.2, 0.0, 528.0)
    assert ncu.parsed("") == ncu.parsed("==ERROR== no kernels were profiled") == []


@pytest.mark.parametrize(("unit", "time_ns"), [("ns", 1234.0), ("usecond", 1234e3), ("second", 1234e9)])
def test_times_are_nanoseconds(unit, time_ns):
    """Whatever unit this ncu prints them in."""
    assert ncu.parsed(log_of(MARK, "packed", unit=unit))[0][0].time_ns == time_ns


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a program named ncu on the PATH that runs some Python, with what it was called with in `given` and `log`."""

    def install(body):
        program = tmp_path / "ncu"
        program.write_text(f"#!{sys.executable}\nimport json, sys\ngiven = sys.argv[1:]\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path))

    return install


JOBS = [("packed", PROBLEM, "{}"), ("direct", PROBLEM, "{}"), ("direct", PROBLEM, "{}")]


def test_each_job_has_its_launches(installed):
    """Ncu gets the counters and the jobs; where the process dies behind a job, those after it have no launches."""
    text = json.dumps(log_of(MARK, "packed", MARK, "direct"))
    installed(f"""
log = given[given.index("--log-file") + 1]
assert given[given.index("--metrics") + 1] == {json.dumps(",".join(COUNTERS.values()))}
assert given[-3:-1] == ["-m", "tunedb.measure.counted_calls"] and len(json.load(open(given[-1]))) == 3
open(log, "w").write({text})
sys.exit(1)""")
    assert [[one.name for one in call] for call in ncu.counted(JOBS, 0)] == [["packed"], ["direct"], []]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('==ERROR== ERR_NVGPUCTRPERM - The user does not have permission')", "run as root"),
        ("print('==ERROR== Failed to find metric')", "counted none: ==ERROR== Failed to find metric"),
        ("", "it said nothing"),
    ],
)
def test_why_nothing_was_counted(installed, body, said):
    """A refusal of the driver has its remedy; anything else is told in ncu's own words."""
    installed(body)
    with pytest.raises(DeviceError, match=said):
        ncu.counted(JOBS, 0)


def test_ncu_is_missing(monkeypatch, tmp_path):
    """The message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="install NVIDIA Nsight Compute"):
        ncu.counted(JOBS, 0)


def test_its_version(installed):
    """As it says it; empty where it says something else."""
    installed(
        "print('NVIDIA (R) Nsight Compute Command Line Profiler')\nprint('Version 2025.3.1.0 (build 36398880)')"
    )
    assert ncu.version() == "2025.3.1.0"
    installed("print('hello')")
    assert ncu.version() == ""


def test_calls_are_watched_behind_their_marks(monkeypatch):
    """A first call compiles and packs unwatched; a job that fails leaves its mark alone, so that the others keep their places."""
    log = []
    place = SimpleNamespace(
        device="cpu", wait=lambda: None, mark=lambda: log.append("mark"), watched=lambda *, on: log.append("on" if on else "off"),
    )  # fmt: skip

    def call(kernel, *_):
        if kernel == "broken":
            raise ValueError(kernel)
        return lambda: log.append(kernel)

    monkeypatch.setattr(counted_calls, "_call", call)
    counted_calls.count([("one", None, ""), ("broken", None, ""), ("two", None, "")], place)
    assert log == ["one", "on", "mark", "one", "off", "on", "mark", "off", "two", "on", "mark", "two", "off"]


def test_a_call_is_that_of_the_kernel(monkeypatch):
    """A plan of the config, for tensors of the problem in its dtype and layout."""
    asked = []

    def plan(problem, config, launcher):
        assert launcher is counted_calls.launch.launcher
        return lambda x, weight, bias: asked.append((problem, config, x, weight, bias))

    monkeypatch.setattr(counted_calls, "load", lambda _: SimpleNamespace(plan=plan))
    monkeypatch.setattr(counted_calls, "config_from_json", lambda _, text: text)
    counted_calls._call("fake", PROBLEM, str(CONFIG), SimpleNamespace(device="cpu"))()
    problem, config, x, weight, bias = asked[0]
    assert (problem, config, x.shape, weight.shape) == (
        PROBLEM,
        str(CONFIG),
        PROBLEM.input_shape,
        PROBLEM.weight_shape,
    )
    assert str(x.dtype).removeprefix("torch.") == PROBLEM.dtype
    assert (bias is not None) == bool(PROBLEM.bias)


def test_a_mark_is_one_launch():
    """Whatever else a mark launched would be counted for the call before it."""
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    class Cpu(counted_calls.Gpu):
        device = "cpu"

    class Launched(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    names, place = [], Cpu()
    with torch.inference_mode(mode=False), Launched():
        place.mark()
    assert names == ["tril.default"]


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("ncu") is None, reason="needs ncu")
def test_the_gpu_counts():
    """A real call behind a failing one: its launches have times, blocks and registers, and the failing one has none."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    from tunedb.device import current
    from tunedb.kernel import config_to_json, load

    problem = PROBLEM._replace(dtype="float16", precision="ieee")
    kernel = load("implicit_gemm")
    config = config_to_json(kernel.default(problem, current(0)))
    lost, found = ncu.counted([("implicit_gemm", problem, "{}"), ("implicit_gemm", problem, config)], 0)
    assert lost == ()
    assert all(one.time_ns > 0 and one.grid >= 1 and one.registers > 0 for one in found)
    assert 0 < found[-1].warps <= 100
