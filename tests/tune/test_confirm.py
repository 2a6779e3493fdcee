"""Confirmations over a recorded landscape: what is timed again, what wins, what is written and what is left alone."""

import json
import os
import signal

import landscape
import pytest
from fake_sweep import DEVICE, LIMITS, PARTS
from stored_answers import answer, config, put

from tunedb.errors import DatabaseError, DeviceError
from tunedb.store.read import Database
from tunedb.tune.confirm import confirm
from tunedb.tune.progress import Progress
from tunedb.tune.settings import Settings

FAST, ROWS, COLUMNS, STAGES = (
    ("alpha", config(**change)) for change in ({}, {"ORDER": "row"}, {"ORDER": "column"}, {"num_stages": 5})
)
UPGRADED = PARTS._replace(bench="other_benches:Upgraded", environment="other_benches:environment")


class Recorder(Progress):
    """Notes what is begun, in its order."""

    def __init__(self):
        self.begun, self.notes = [], []

    def started(self, slot, label, ended, trials=None, open_us=None):
        super().started(slot, label, ended, trials, open_us)
        self.begun.append(label)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def shipped(shelf):
    """The path of a file that comes with tunedb for the device."""
    shelf.shipped["h200"] = shelf.folder / "h200.sqlite"
    return shelf.shipped["h200"]


@pytest.fixture
def run(shelf):
    """Confirm with the landscape, into the user's file."""

    def run(parts=PARTS, minutes=None, calls=None, device=DEVICE, provenance="measured", **options):
        settings = Settings(
            device, provenance, None, "", shelf.user, (0,), workers=1, minutes=minutes, calls=calls, parts=parts, limits=LIMITS
        )  # fmt: skip
        return confirm(settings, **options)

    return run


def test_what_was_predicted_becomes_measured(run, shelf, shipped):
    """The fastest of the stored candidates wins by its measured time; the shipped file stays as it is, byte by byte."""
    problem = landscape.problem()
    put(shipped, answer(problem, ROWS), ROWS, FAST, COLUMNS)
    before = shipped.read_bytes()
    result = run()
    record = Database(shelf.user).record(problem, "h200")
    assert (record.kernel, record.config, record.time_us) == (*FAST, 100.0)
    assert (record.provenance, record.aten_us, record.trials) == ("measured", 1000.0, 40)
    assert (record.triton, record.torch, record.cudnn, record.driver) == ("3.0", "2.0", "9.0", "500.0")
    assert record.kernel_hash == landscape.source_hash("alpha")
    assert [one.choice for one in Database(shelf.user).top(problem, "h200")] == [FAST, ROWS, COLUMNS]
    (outcome,) = result.outcomes
    assert outcome.ratio == pytest.approx(115.0 / 80.0)
    assert (outcome.changed, outcome.demoted, outcome.refused) == (True, False, [])
    assert (result.exit_status, result.before, result.unknown) == (0, 0, 0)
    assert shipped.read_bytes() == before


def test_torch_wins_where_it_is_faster(run, shelf, shipped):
    """An answer that is slower than torch on this machine gives way to torch's own kernel; the candidates stay stored."""
    problem = landscape.problem(c_out=50)
    put(shipped, answer(problem), FAST)
    result = run()
    record = Database(shelf.user).record(problem, "h200")
    assert (record.kernel, record.time_us, record.aten_us) == ("aten", 50.0, 50.0)
    assert (result.changed, result.demoted) == (1, 1)
    assert [one.choice for one in Database(shelf.user).top(problem, "h200")] == [FAST]


def test_a_bad_candidate_costs_itself_only(run, shelf, shipped):
    """One that crashes, hangs, is wrong, does not compile, is no config or of no kernel is refused; another one wins."""
    problem = landscape.problem("conv1d", c_out=120)
    modes = [
        ("hostile", json.dumps({"MODE": mode}))
        for mode in ("wrong", "crash", "hang", "compile-error", "fine")
    ]
    choices = [*modes, ("hostile", '{"BLOCK":1}'), ("vanished", "{}")]
    put(shipped, answer(problem, modes[0]), *choices)
    result = run(candidates=7)
    record = Database(shelf.user).record(problem, "h200")
    assert (record.kernel, json.loads(record.config), record.time_us) == ("hostile", {"MODE": "fine"}, 90.0)
    assert result.refused == {"wrong": 1, "crashed": 1, "timed-out": 1, "compile-error": 1, "invalid": 2}
    assert result.outcomes[0].ratio is None
    assert result.exit_status == 0
    text = "\n".join(result.lines())
    assert "vanished {}: invalid: no kernel named vanished is installed" in text
    assert len(Database(shelf.user).top(problem, "h200")) == 7


def test_a_wrong_kernel_costs_its_candidates(run, shelf, shipped, monkeypatch):
    """An exception in a kernel's `valid` refuses its candidates with the error; another kernel's go on."""
    problem = landscape.problem("conv_transpose2d")
    put(shipped, answer(problem), FAST, ("beta", FAST[1]))

    def valid(*_):
        raise TypeError("alpha was written wrongly")

    monkeypatch.setattr(landscape.KERNELS["alpha"], "valid", valid, raising=False)
    (outcome,) = run().outcomes
    assert (outcome.record.kernel, outcome.again_us) == ("beta", None)
    assert [one.measurement.detail for one in outcome.refused] == ["TypeError: alpha was written wrongly"]


def test_a_problem_that_fails_keeps_its_record(run, shelf, shipped):
    """Where torch cannot compute a problem nothing is written for it, the others are confirmed, and the status is 1."""
    good, bad = landscape.problem(), landscape.problem("conv_transpose1d")
    put(shipped, answer(good), FAST)
    put(shipped, answer(bad), FAST)
    result = run()
    assert result.exit_status == 1
    assert result.summary.states == {bad: "failed", good: "done"}
    assert Database(shelf.user).record(bad, "h200") is None
    assert Database(shelf.user).record(good, "h200").provenance == "measured"


def test_what_may_save_most_comes_first(run, shipped):
    """The order is calls x (torch - answer), of either sign; a second run has nothing left to do."""
    small, often, great, slower = (landscape.problem(in_w=width) for width in (16, 32, 48, 64))
    for problem, aten_us in ((small, 90.0), (often, 120.0), (great, 280.0), (slower, 10.0)):
        put(shipped, answer(problem, aten_us=aten_us), FAST)
    labels = {small: "small", often: "often", great: "great", slower: "slower"}
    progress = Recorder()
    run(calls={often: 10}, labels=labels, progress=progress)
    assert progress.begun == ["often", "great", "slower", "small"]
    again = Recorder()
    result = run(progress=again)
    assert (again.begun, result.before, result.exit_status) == ([], 4, 0)


def test_minutes_bound_it_and_a_second_run_goes_on(run, shelf, shipped):
    """What was confirmed in time is written, the rest waits, and the next run confirms only that."""
    problems = [landscape.problem(in_w=width) for width in range(10, 40)]
    for problem in problems:
        put(shipped, answer(problem), FAST)
    first = run(PARTS._replace(bench="other_benches:Slow"), minutes=0.15)
    done = [one.problem for one in first.outcomes]
    assert 0 < len(done) < 30
    assert first.summary.ended == "minutes are over"
    assert sorted(done) == sorted(one.problem for one in Database(shelf.user).records())
    assert first.exit_status == 0
    second = run()
    assert second.before == len(done)
    assert sorted([*done, *(one.problem for one in second.outcomes)]) == sorted(problems)


def test_ctrl_c_leaves_what_was_confirmed(run, shelf, shipped):
    """After Ctrl-C the records so far are written, the text is there, and the status is 130."""
    problems = [landscape.problem(in_w=width) for width in range(10, 30)]
    for problem in problems:
        put(shipped, answer(problem), FAST)

    class Stopper(Recorder):
        def finished(self, *args):
            super().finished(*args)
            os.kill(os.getpid(), signal.SIGINT)

    result = run(PARTS._replace(bench="other_benches:Slow"), progress=Stopper())
    assert result.exit_status == 130
    assert 0 < len(result.outcomes) == len(Database(shelf.user).records()) < 20
    assert result.text.exists()


def test_an_upgrade_keeps_reorders_and_demotes(run, shelf):
    """After an upgrade answers are judged anew among their stored candidates: kept, replaced, or given to torch."""
    kept, reordered, demoted = (
        landscape.problem(c_out=1000, in_w=16),
        landscape.problem(c_out=1000, in_w=32),
        landscape.problem(c_out=105),
    )
    put(shelf.user, answer(kept), FAST, ROWS)
    put(shelf.user, answer(reordered), FAST, COLUMNS, STAGES)
    put(shelf.user, answer(demoted), FAST)
    run()
    before = {one.problem: one for one in Database(shelf.user).records()}
    assert {one.config for one in before.values()} == {FAST[1]}
    result = run(UPGRADED)
    after = {one.problem: one for one in Database(shelf.user).records()}
    assert {one.triton for one in after.values()} == {"4.0"}
    assert (after[kept].config, after[kept].time_us) == (FAST[1], pytest.approx(110.0))
    assert after[reordered].config == COLUMNS[1]
    assert after[demoted].kernel == "aten"
    assert (result.changed, result.demoted, result.refused) == (2, 1, {"wrong": 1})
    assert {round(one.ratio, 3) for one in result.outcomes} == {1.1}
    assert run(UPGRADED).before == 3
    back = run()  # to the older Triton: nothing was thrown away
    assert {one.config for one in Database(shelf.user).records()} == {FAST[1]}
    assert back.changed == 2


def test_stale_candidates_are_compiled_from_todays_code(run, shelf, shipped):
    """A record whose kernel has changed since is confirmed under its config and gets today's hash; it counts as not confirmed before."""
    problem = landscape.problem()
    put(shipped, answer(problem), FAST)
    run()
    put(shelf.user, Database(shelf.user).record(problem, "h200")._replace(kernel_hash="0" * 16), FAST)
    result = run()
    assert (result.before, len(result.outcomes)) == (0, 1)
    assert Database(shelf.user).record(problem, "h200").kernel_hash == landscape.source_hash("alpha")


def test_another_database_is_only_read(run, shelf):
    """A database that is named is the source; the user's is written, and its own better answer is among the candidates."""
    problem, other = landscape.problem(), landscape.problem(in_w=16)
    named = shelf.folder / "named.sqlite"
    put(named, answer(problem, ROWS), ROWS)
    put(shelf.user, answer(problem, FAST), FAST)
    put(shelf.user, answer(other, FAST), FAST)
    before = named.read_bytes()
    result = run(db=named)
    assert named.read_bytes() == before
    assert [one.problem for one in result.outcomes] == [problem]
    assert result.outcomes[0].stored.config == ROWS[1]
    assert Database(shelf.user).record(problem, "h200").config == FAST[1]
    assert Database(shelf.user).record(other, "h200").provenance == "predicted"


def test_a_suite_confirms_what_it_uses(run, shelf, shipped):
    """Only the problems of the suite are confirmed; bfloat16 is by what answers it, float16's record; what has no record is counted."""
    used, unused, unknown = (landscape.problem(in_w=width) for width in (16, 32, 48))
    half = used._replace(dtype="bfloat16")
    for problem in (used, unused):
        put(shipped, answer(problem), FAST)
    result = run(problems=[used, half, unknown])
    assert (sorted(result.summary.states), result.unknown) == (sorted([used, half]), 1)
    assert Database(shelf.user).record(half, "h200").config == FAST[1]
    assert Database(shelf.user).record(unused, "h200") is None


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"provenance": "predicted"}, DeviceError, "h200 is not here: run this on a machine that has one"),
        ({"problems": [landscape.problem(in_w=99)]}, DatabaseError, "a suite must have problems with a record of h200"),
        ({"db": "empty"}, DatabaseError, "must have records of h200, but .*empty has those of nothing: name another --db"),
    ],
)  # fmt: skip
def test_what_cannot_be_confirmed_is_refused(run, shelf, shipped, options, kind, message):
    """A refusal says what is missing and what to do, and writes nothing."""
    put(shipped, answer(landscape.problem()), FAST)
    if "db" in options:
        options = {"db": shelf.put(ship="empty").with_name("empty.sqlite")}
        shelf.shipped.pop("empty")
        message = message.replace("empty has", "empty.sqlite has")
    with pytest.raises(kind, match=message):
        run(**options)
    assert not shelf.user.exists()


def test_the_shipped_file_is_never_written(run, shelf, shipped):
    """Where TUNEDB_PATH names the shipped file first, nothing is confirmed."""
    put(shipped, answer(landscape.problem()), FAST)
    shelf.user = shipped
    with pytest.raises(DatabaseError, match="the database to write must be your own"):
        run()
