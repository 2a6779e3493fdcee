import json
import time

import landscape
import pytest

from tunedb.device import by_slug
from tunedb.errors import DatabaseError
from tunedb.record import Measurement, Tried
from tunedb.store.read import Database
from tunedb.store.rows import from_result, to_result
from tunedb.store.write import Store
from tunedb.tune.journal import History
from tunedb.tune.messages import Finished
from tunedb.tune.owner import owner
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings
from tunedb.tune.state import SweepState
from tunedb.tune.workers import Parts

SMALL, LARGE = landscape.problem("conv2d", in_w=32, n=1), landscape.problem("conv2d", in_w=256, n=1)
CONFIG = '{"BLOCK_M":16,"BLOCK_N":16,"ORDER":"row","num_warps":4,"num_stages":1}'
OTHER = CONFIG.replace('"row"', '"swizzle"')
PARTS = Parts("landscape", "", "", "landscape:expected", "")


@pytest.fixture(autouse=True)
def _no_other_databases(shelf):
    """What the shipped files hold would be hints."""


class Recorder(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def opened(folder, provenance="measured", progress=None, trials=40, minutes=None):
    settings = Settings(
        by_slug("h200"), provenance, trials, str(folder / "history"), folder / "answers.sqlite", parts=PARTS, minutes=minutes
    )  # fmt: skip
    return SweepState({SMALL: "small", LARGE: "large"}, settings, progress or Progress())


def final(problem, *finalists, aten_us=50.0):
    tried = [
        Tried("alpha", config, Measurement("ok", us, us - spread, us + spread, 2e-4))
        for config, us, spread in finalists
    ]
    return Finished(problem, 40, tried, Measurement("ok", aten_us), aten_us, 1e-4, landscape.ENVIRONMENT)


def test_the_longest_problem_comes_first(tmp_path):
    """Problems are handed out by their floor, and each once."""
    with opened(tmp_path) as state:
        assert [state.take().problem, state.take().problem, state.take()] == [LARGE, SMALL, None]
        assert not state.settled


def test_a_winner_is_stored_and_hints_at_the_next(tmp_path):
    """The record is in the database at once, and the next problem is told of the winner."""
    with opened(tmp_path) as state:
        state.take()
        state.finish(0, final(LARGE, (CONFIG, 10.0, 0.1), (OTHER, 12.0, 0.1)))
        record = Database(tmp_path / "answers.sqlite").record(LARGE, "h200")
        assert (record.config, record.time_us, record.aten_us, record.error, record.trials) == (
            CONFIG,
            10.0,
            50.0,
            2e-4,
            40,
        )
        assert [choice.config for choice in state.take().kin] == [CONFIG]
        assert len(state.summary(gpus=1, ended="").records) == 1


def test_ties_agree_with_earlier_winners(tmp_path):
    """Inside the spread the config that won before wins again."""
    with opened(tmp_path) as state:
        state.take()
        state.finish(0, final(LARGE, (CONFIG, 10.0, 0.1), (OTHER, 12.0, 0.1)))
        state.take()
        state.finish(0, final(SMALL, (OTHER, 5.0, 0.1), (CONFIG, 5.02, 0.1)))
        assert Database(tmp_path / "answers.sqlite").record(SMALL, "h200").config == CONFIG
        assert state.settled


def test_a_predicted_record_never_replaces_a_measured_one(tmp_path):
    """The database keeps the measured record, the sweep says so, and the problem is done."""
    with opened(tmp_path) as state:
        state.take()
        state.finish(0, final(LARGE, (CONFIG, 10.0, 0.1)))
    progress = Recorder()
    with opened(tmp_path, "predicted", progress) as state:
        state.take()
        state.finish(0, final(LARGE, (OTHER, 1.0, 0.0))._replace(aten=None, aten_us=None, aten_error=None))
    assert Database(tmp_path / "answers.sqlite").record(LARGE, "h200").config == CONFIG
    assert any("keeps its better record" in note for note in progress.notes)


def test_results_survive_as_json(tmp_path):
    """A record and its finalists come back from JSON as they were."""
    with opened(tmp_path) as state:
        state.take()
        state.finish(0, final(LARGE, (CONFIG, 10.0, 0.1)))
        record = state.summary(gpus=1, ended="").records[LARGE]
    (result,) = History(str(tmp_path / "history")).results("h200", "measured")
    assert from_result(json.loads(json.dumps(result)))[0] == record
    assert to_result(*from_result(result)) == result


def test_a_failure_is_tried_again_by_the_next_sweep(tmp_path):
    """A failed problem ends its sweep with the cause; a later sweep begins it anew."""
    with opened(tmp_path) as state:
        state.take()
        state.fail(0, LARGE, "failed", "out of memory")
        state.take()
        state.hand_back(SMALL)
        assert state.take().problem == SMALL
        assert state.summary(gpus=1, ended="").causes == {LARGE: "out of memory"}
        state.hand_back(SMALL)
    time.sleep(0.01)
    with opened(tmp_path) as state:
        assert {state.take().problem, state.take().problem} == {LARGE, SMALL}


def test_another_sweeps_problem_is_left_alone_until_it_ends(tmp_path):
    """What a live sweep works on is not taken; its answer is taken over when it is there."""
    with opened(tmp_path) as mine, opened(tmp_path) as theirs:
        theirs._claims._owner = "elsewhere:1:2"
        assert theirs.take().problem == LARGE
        assert mine.take().problem == SMALL
        assert mine.take() is None
        theirs.finish(0, final(LARGE, (CONFIG, 10.0, 0.1)))
        mine.look_elsewhere()
        assert mine.summary(gpus=1, ended="").states == {SMALL: "running", LARGE: "done"}
        mine.finish(0, final(SMALL, (CONFIG, 10.0, 0.1)))
        assert mine.settled


def test_a_folder_is_no_database(tmp_path):
    """A database that cannot be opened ends the sweep before it begins."""
    (tmp_path / "answers.sqlite").mkdir()
    with pytest.raises(DatabaseError, match="folder"), opened(tmp_path):
        pass


def test_results_of_other_devices_are_no_hints(tmp_path):
    """Winners are learnt from earlier sweeps of the same device and provenance only."""
    with opened(tmp_path) as state:
        state.take()
        state.finish(0, final(LARGE, (CONFIG, 10.0, 0.1)))
    with opened(tmp_path, "predicted") as state:
        assert state.take().kin == []
    with opened(tmp_path, trials=80) as state:
        assert [choice.config for choice in state.take().kin] == [CONFIG]
    with Store(tmp_path / "answers.sqlite"):
        pass


def test_a_result_that_cannot_be_used_is_searched_again(tmp_path):
    """A done problem whose result lacks its config is handed out again, gives no hints, and the sweep says so."""
    with opened(tmp_path) as state:
        state.take()
        state.finish(0, final(LARGE, (CONFIG, 10.0, 0.1)))
    (study,) = [study for study in History(str(tmp_path / "history"))._storage.get_all_studies() if "result" in study.user_attrs]  # fmt: skip
    broken = study.user_attrs["result"]
    del broken["record"]["config"]
    History(str(tmp_path / "history")).past(study.study_name, {}).finish("done", trials=40, result=broken)
    progress = Recorder()
    with opened(tmp_path, progress=progress) as state:
        first = state.take()
        assert (first.problem, first.kin) == (LARGE, [])
        state.finish(0, final(LARGE, (OTHER, 10.0, 0.1)))
        assert state.take().problem == SMALL
    assert any(
        "give no hints: a Record of a search history must have config" in note for note in progress.notes
    )
    assert any(note.startswith("large: it is searched again") for note in progress.notes)


def stage(state, final):
    """Play a driver that gives a stage its answer."""
    job = state.take()
    state.finish(0, final._replace(problem=job.problem, trials=job.trials), 3.0)
    return job.problem, job.trials


def test_two_sweeps_by_gain_share_their_looks_and_stages(tmp_path):
    """What one has looked at or answered, the other takes over when it would do it itself."""
    with opened(tmp_path, minutes=1.0) as mine, opened(tmp_path, minutes=1.0) as theirs:
        theirs._claims._owner = "elsewhere:1:2"
        looks = {mine.take().problem, theirs.take().problem}
        assert looks == {SMALL, LARGE}
        mine.look(0, LARGE, 500.0, 0.1)
        theirs.look(0, SMALL, 500.0, 0.1)
        assert stage(theirs, final(LARGE, (CONFIG, 10.0, 0.1)))[1] == 12
        taken = mine.take()
        assert (taken.problem in looks, taken.trials in (12, 40)) == (True, True)
        mine.hand_back(taken.problem)
        while mine.take() is not None:
            pass
        assert set(mine.summary(gpus=1, ended="").records) == set(theirs.summary(gpus=1, ended="").records)


def test_a_stage_that_is_lost_leaves_the_answer_before_it(tmp_path):
    """A stage handed back, or of a sweep that was killed, keeps the earlier stage's answer and its number of trials."""
    with opened(tmp_path, minutes=1.0, trials=None) as state:
        for _ in range(2):
            state.look(0, state.take().problem, 500.0, 0.1)
        answered, _ = stage(state, final(LARGE, (CONFIG, 100.0, 0.1)))
        jobs = [state.take(), state.take()]
        assert {(job.problem == answered, job.trials) for job in jobs} == {(True, 40), (False, 12)}
        past = state._claims.past(answered)
        state.heartbeat([answered])
        assert (past.state.name, past.state.trials) == ("running", 12)
        state.hand_back(answered)
        assert past.state.answers(12)
        assert past.claim(f"{owner().partition(':')[0]}:1:dead", 40)
    with opened(tmp_path, minutes=1.0, trials=None) as state:
        assert state.summary(gpus=1, ended="").layers[answered].trials == 12
        assert not state._claims.past(answered).state.answers(12)
        assert state.take()[:2] == (answered, 40)


def test_a_search_called_in_counts_the_trials_it_made(tmp_path):
    """An answer of 25 trials, 40 asked for, answers a sweep of 25 and goes on in one of 26."""
    with opened(tmp_path, minutes=1.0) as state:
        for _ in range(2):
            state.look(0, state.take().problem, 500.0, 0.1)
        job = state.take()
        state.finish(0, final(job.problem, (CONFIG, 100.0, 0.1))._replace(trials=9, complete=False))
        past = state._claims.past(job.problem)
        assert past.state.answers(9)
        assert not past.state.answers(10)
