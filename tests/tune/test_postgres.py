"""Sweeps that share a storage as processes of their own: killed, stopped and continued; and what they print of a URL."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import landscape
import pytest
from fake_sweep import DEVICE, PARTS, executed

from tunedb.errors import StorageError
from tunedb.store.read import Database
from tunedb.tune.journal import History, study_name
from tunedb.tune.space import searched

PROBLEMS = [landscape.problem("conv2d", in_w=width, n=100) for width in (16, 32)]
TRIALS = 15
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {support!r})
import landscape
from fake_sweep import DEVICE, LIMITS, PARTS
from tunedb.tune import journal, sweep
from tunedb.tune.progress import PlainProgress
from tunedb.tune.settings import Settings

journal.STALE_S, sweep._HEARTBEAT_S, sweep._LOOK_S = 3.0, 0.5, 0.3
problems = [landscape.problem("conv2d", in_w=width, n=100) for width in (16, 32)]
storage, db = sys.argv[1:]
settings = Settings(DEVICE, "measured", {trials}, storage, Path(db), workers=1, parts=PARTS, limits=LIMITS)
summary = sweep.sweep(problems, settings, progress=PlainProgress(sys.stdout))
sys.exit(0 if summary.complete else 3)
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Start a sweep on a storage as a process of its own, with a database of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(support=str(Path(__file__).parents[1] / "support"), trials=TRIALS))
    monkeypatch.setenv("LANDSCAPE_LOG", str(tmp_path / "log"))
    started = []

    def launch(storage):
        process = subprocess.Popen(
            [sys.executable, str(script), storage, f"answers{len(started)}.sqlite"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def trials(storage):
    """The trials of each problem in the history."""
    history = History(storage)
    found = []
    for problem in PROBLEMS:
        space = searched(problem, DEVICE, landscape, measured=True)
        past = history.past(study_name(space, "measured", landscape, PARTS.predictor), {})
        found.append([(tried.kernel, tried.config) for tried in past.tried()])
    return found


def counted(storage):
    """How many trials each problem has in the history; none may be there twice."""
    found = trials(storage)
    assert all(max(Counter(each).values()) == 1 for each in found)
    return [len(each) for each in found]


def test_two_on_an_empty_schema_and_a_killed_one_is_taken_over(launch, cluster, tmp_path):
    """Both begin on an empty PostgreSQL; after kill -9 of one the other ends with every answer, and no trial is there twice."""
    storage = cluster.database()
    first, second = launch(storage), launch(storage)
    until(lambda: len({pid for pid, *_ in executed(tmp_path)}) == 2)
    first.kill()
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert "2 problems: 2 done" in output
    assert counted(storage) == [TRIALS, TRIALS]
    answers = Database(tmp_path / "answers1.sqlite")
    assert all(answers.record(problem, "h200").trials == TRIALS for problem in PROBLEMS)
    assert "cret" not in output + first.stdout.read()


@pytest.mark.parametrize("kind", ["journal", "postgres"])
def test_a_stopped_sweep_lets_go_of_what_was_taken_over(launch, request, tmp_path, kind):
    """SIGSTOP, takeover, SIGCONT: the stopped one drops the problem, both end with every answer, no trial is there twice."""
    storage = str(tmp_path / "history.journal")
    if kind == "postgres":
        storage = request.getfixturevalue("cluster").database()
    first = launch(storage)
    until(lambda: len(executed(tmp_path)) >= 3)
    os.killpg(first.pid, signal.SIGSTOP)
    mine = {pid for pid, *_ in executed(tmp_path)}
    begun = executed(tmp_path)[0][1]
    second = launch(storage)
    until(lambda: any(pid not in mine and problem == begun for pid, problem, _ in executed(tmp_path)))
    os.killpg(first.pid, signal.SIGCONT)
    outputs = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert "another sweep has taken it over" in outputs[0]
    assert counted(storage) == [TRIALS, TRIALS]
    for number in (0, 1):
        answers = Database(tmp_path / f"answers{number}.sqlite")
        assert all(answers.record(problem, "h200").trials == TRIALS for problem in PROBLEMS)


def test_a_wrong_password_is_never_printed(cluster):
    """A server that refuses, and one that is not there, are named without the password, also in the exception's chain."""
    url = cluster.database().replace("s3cret", "wr0ngpass")
    for wrong in (url, url.replace(str(cluster.port), "1")):
        with pytest.raises(StorageError, match=r"postgresql://postgres:\*\*\*@127\.0\.0\.1") as caught:
            History(wrong)
        assert "wr0ngpass" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_server_that_goes_away_ends_the_sweep_with_a_word(launch, cluster, tmp_path):
    """A database that is dropped midway gives one message without the password, and how to go on."""
    storage = cluster.database()
    process = launch(storage)
    until(lambda: len(executed(tmp_path)) >= 2)
    name = storage.rpartition("/")[2]
    with cluster.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    output, _ = process.communicate(timeout=120)
    assert "StorageError: the search history must answer throughout a sweep" in output
    assert "cret" not in output
