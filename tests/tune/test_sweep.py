import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import landscape
import pytest
from fake_sweep import DEVICE, LIMITS, PARTS, executed

from tunedb.device import as_arch
from tunedb.errors import DatabaseError
from tunedb.store.read import Database
from tunedb.tune.journal import History
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.sweep import sweep


class Recorder(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a sweep of the landscape; its trials are logged by the GPU process itself."""
    monkeypatch.setenv("LANDSCAPE_LOG", str(tmp_path / "log"))

    def run(problems, trials=20, db="answers.sqlite", provenance="measured", **options):
        told = {name: options.pop(name) for name in ("labels", "progress") if name in options}
        settings = Settings(
            options.pop("device", DEVICE), provenance, trials, str(tmp_path / "history.journal"), tmp_path / db,
            workers=1, parts=options.pop("parts", PARTS), limits=options.pop("limits", LIMITS), **options,
        )  # fmt: skip
        return sweep(problems, settings, **told)

    run.folder = tmp_path
    return run


def most_repeated(folder):
    return max(Counter(trial[1:] for trial in executed(folder)).values())


def test_a_sweep_answers_every_problem_whatever_happens(run):
    """Two GPUs share the work; crashing, hanging and wrong candidates cost a trial each; torch wins where it is faster."""
    faster_torch = landscape.problem("conv2d", c_out=50)
    hostile = landscape.problem("conv1d", c_out=120)
    no_kernel = landscape.problem("conv3d")
    unprepared, buggy = landscape.problem("conv_transpose1d"), landscape.problem("conv_transpose3d")
    plain = landscape.problem("conv2d", c_out=1000)
    summary = run([faster_torch, hostile, no_kernel, unprepared, buggy, plain], gpus=(0, 1))
    records, database = summary.records, Database(run.folder / "answers.sqlite")

    assert (records[plain].kernel, records[plain].trials, records[plain].aten_us) == ("alpha", 20, 1000.0)
    assert records[plain].provenance == "measured"
    assert (records[plain].torch, records[plain].driver) == ("2.0", "500.0")
    assert (records[faster_torch].kernel, records[faster_torch].time_us) == ("aten", 50.0)
    assert (records[no_kernel].kernel, records[no_kernel].trials) == ("aten", 0)
    assert json.loads(records[hostile].config) == {"MODE": "fine"}
    assert records[hostile].trials == len(landscape.HOSTILE)
    assert most_repeated(run.folder) == 1
    assert summary.gpus == 2
    assert summary.failures == {"crashed": 1, "timed-out": 2, "compile-error": 2, "wrong": 1}
    for problem in (faster_torch, hostile, no_kernel, plain):
        assert database.record(problem, "h200") == records[problem]
    assert len(database.top(plain, "h200")) == 4

    assert (summary.states[unprepared], summary.states[buggy]) == ("failed", "failed")
    assert "exit status 3" in summary.causes[unprepared]
    assert list(summary.bugs) == [buggy]
    assert "a bench that was written wrongly" in summary.bugs[buggy]
    assert not summary.complete
    assert summary.line().startswith("6 problems: 4 done, 2 failed; ")


def test_a_done_sweep_is_not_repeated(run):
    """A second sweep runs nothing, gives a new database the same records, and does only what more trials ask for."""
    problem = landscape.problem("conv2d")
    first = run([problem]).records[problem]
    trials = len(executed(run.folder))
    again = run([problem], db="other.sqlite")
    assert again.records[problem] == first
    assert Database(run.folder / "other.sqlite").record(problem, "h200") == first
    assert len(executed(run.folder)) == trials == 20
    more = run([problem], trials=30)
    assert more.records[problem].trials == 30
    assert more.trials == 10
    assert most_repeated(run.folder) == 1


def test_answers_without_torch_cost_no_trial(run):
    """A second database holds the best answers that are not torch's, of the same finals, now or from the history."""
    torch_wins = landscape.problem("conv2d", c_out=50)
    own_wins, no_kernel = landscape.problem("conv2d"), landscape.problem("conv3d")
    problems = [torch_wins, own_wins, no_kernel]
    summary = run(problems, triton_db=run.folder / "triton.sqlite")
    trials = len(executed(run.folder))
    answers, own = (Database(run.folder / f"{name}.sqlite") for name in ("answers", "triton"))
    record = own.record(torch_wins, "h200")
    assert (answers.record(torch_wins, "h200").kernel, record.kernel) == ("aten", "alpha")
    assert (record.aten_us, record.trials, record.error) == (50.0, 20, 1e-4)
    assert record.time_us == min(candidate.measurement.time_us for candidate in own.top(torch_wins, "h200"))
    assert record.kernel_hash == landscape.source_hash("alpha")
    assert own.record(own_wins, "h200") == summary.records[own_wins]
    assert own.record(no_kernel, "h200") is None

    run(problems, triton_db=run.folder / "again.sqlite")
    again = Database(run.folder / "again.sqlite")
    assert [again.record(problem, "h200") for problem in problems] == [
        own.record(problem, "h200") for problem in problems
    ]
    assert len(executed(run.folder)) == trials


def test_answers_without_torch_need_a_file_of_their_own(run):
    """The same file for both is refused: torch's answers would be lost from it."""
    with pytest.raises(DatabaseError, match="triton_db must be another file than db"):
        run([landscape.problem("conv2d")], triton_db=run.folder / "answers.sqlite")


def test_older_code_is_tuned_for_itself(run):
    """A GPU that runs an older generation's code has trials and records of its own, which the GPU never sees."""
    problem, older = landscape.problem("conv2d"), as_arch(DEVICE, "sm89")
    own = run([problem]).records[problem]
    record = run([problem], device=older).records[problem]
    assert len(executed(run.folder)) == 40
    assert (own.device, record.device) == ("h200", "h200-sm89")
    assert record.time_us == 2 * landscape.KERNELS["alpha"].time_us(landscape.parse("alpha", record.config))
    database = Database(run.folder / "answers.sqlite")
    assert database.devices() == {"h200": ("NVIDIA H200", 90), "h200-sm89": ("NVIDIA H200 (sm_89 code)", 89)}
    assert [database.record(problem, slug) for slug in ("h200", "h200-sm89")] == [own, record]


def test_a_predicted_sweep_needs_no_gpu(run):
    """Predicted records carry the model's time, no time of torch's, and never start a bench."""
    problem, impossible = landscape.problem("conv_transpose2d"), landscape.problem("conv3d")
    summary = run([problem, impossible], provenance="predicted", trials=40)
    record = summary.records[problem]
    assert (record.provenance, record.aten_us, record.error, record.trials) == ("predicted", None, None, 40)
    assert record.time_us == landscape.KERNELS[record.kernel].time_us(
        landscape.parse(record.kernel, record.config)
    )
    assert "no predicted time" in summary.causes[impossible]
    assert executed(run.folder) == []


def test_a_dying_driver_is_replaced(run, monkeypatch):
    """A driver that is killed is started anew, and its problem goes on without repeating trials."""
    problem = landscape.problem("conv2d", n=30)

    class Killer(Recorder):
        def trial(self, slot, label, tried):
            super().trial(slot, label, tried)
            if self.ended == 5:
                for pid in children_of(os.getpid()):
                    os.kill(pid, signal.SIGKILL)

    progress = Killer()
    summary = run([problem], progress=progress)
    assert summary.complete
    assert summary.trials == 20
    assert len(executed(run.folder)) <= 22
    assert any("exit status -9" in note for note in progress.notes)


def children_of(pid):
    """Driver processes of a sweep: its direct children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"child_start" in command:
            found.append(int(path.parent.name))
    return found


def test_a_time_limit_ends_a_sweep_in_good_order(run):
    """After its deadline a sweep has stopped, its trials are kept and its problems wait."""
    problem = landscape.problem("conv2d", n=100)
    begin = time.monotonic()
    summary = run([problem], trials=200, deadline_s=3.0)
    assert time.monotonic() - begin < 7.0
    assert (summary.ended, summary.states[problem]) == ("time limit", "waiting")
    (name,) = History(str(run.folder / "history.journal"))._ids
    past = History(str(run.folder / "history.journal")).past(name, {})
    assert past.state.name == "waiting"
    assert len(past.tried()) == summary.trials
    assert summary.trials >= len(executed(run.folder)) - 1
