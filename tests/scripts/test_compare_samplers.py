"""The scripts that record landscapes and compare samplers on them."""

# ruff: noqa: ARG002 (stand-ins take what the real ones do)

import itertools
import json
import math
import sys
from pathlib import Path

import pytest

from tunedb.record import Measurement
from tunedb.suite import load_suite
from tunedb.tune.gpu_process import Prepared

SCRIPTS = Path(__file__).parents[2] / "scripts"
VALUES = {"BLOCK": (16, 32, 64, 128, 256), "ORDER": ("row", "column"), "num_warps": (1, 2, 4, 8), "num_stages": (1, 2, 3, 4)}  # fmt: skip


def time_us(block, order, warps, stages):
    """Best at 64, row, 4, 3."""
    far = abs(math.log2(block / 64)) + abs(math.log2(warps / 4)) + 0.3 * abs(stages - 3)
    return 100.0 * (1 + 0.2 * far + 0.25 * (order != "row"))


def landscape(scripts, name="kb81", *, keep=bool, kernel="made"):
    """A kernel of 160 configs: 256 with one warp spills, and `keep` says what is recorded."""
    (entry,) = [entry for entry in load_suite("kernelbench") if entry.id == name]
    configs = [config for config in itertools.product(*VALUES.values()) if keep(config)]
    rows = [
        (*config, "spilled" if (config[0], config[2]) == (256, 1) else time_us(*config)) for config in configs
    ]
    versions = dict.fromkeys(("triton", "torch", "cudnn", "driver"), "1")
    return scripts("samplers.landscapes").Landscape(
        name, kernel, "", entry.problem("float32", "tf32"), "h200", versions, "2026-11-20", 200.0, 160,
        (16, "row", 1, 1), VALUES, rows,
    )  # fmt: skip


def best_times(scripts, name, seed, **options):
    replay = scripts("samplers.replay")
    given = {"trials": 100, "target": 0.0, "least": 100, **options}
    return replay.replayed([landscape(scripts)], replay.SAMPLERS[name], seed, **given).best


def test_a_landscape_survives_its_file(scripts, tmp_path):
    """What is written is read again, and the same landscape gives the same bytes."""
    files = scripts("samplers.landscapes")
    made = landscape(scripts)
    path = files.write(made, tmp_path)
    assert path.name == "made-kb81-float32-channels_first.json.gz"
    assert files.read(path) == made
    before = path.read_bytes()
    assert files.write(files.read(path), tmp_path).read_bytes() == before


@pytest.mark.parametrize("outcome", ["melted", -1.0])
def test_a_foreign_file_is_no_landscape(scripts, tmp_path, outcome):
    """A file that is no landscape, or has an outcome that no trial can have, is refused by name."""
    files = scripts("samplers.landscapes")
    (tmp_path / "no.json.gz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"no\.json\.gz"):
        files.read(tmp_path / "no.json.gz")
    wrong = landscape(scripts)._replace(rows=[(16, "row", 1, 1, outcome)])
    with pytest.raises(ValueError, match="microseconds or a status"):
        files.read(files.write(wrong, tmp_path))


def test_only_what_is_recorded_is_valid(scripts):
    """A replay is told of recorded configs only, and a recorded failure costs a trial."""
    files = scripts("samplers.landscapes")
    made = landscape(scripts, keep=lambda config: config[1] == "row" or config[0] == 16)
    space = files.space([made])
    choices = space.at_most(1000)
    assert len(choices) == len(made.rows)
    answers = files.outcomes([made])
    assert set(choices) == set(answers)
    assert [one.status for one in answers.values()].count("spilled") == 4
    assert space.choice("made", {"BLOCK": 64, "ORDER": "column", "num_warps": 4, "num_stages": 3}) is None


def test_each_sampler_is_itself(scripts):
    """No two samplers search alike: a row of the table rests on what its name says, not on another's defaults."""
    replay = scripts("samplers.replay")
    names = [name for name, one in replay.SAMPLERS.items() if not one.slow and not replay.available(one)]
    runs = {name: tuple(best_times(scripts, name, 3) + best_times(scripts, name, 4)) for name in names}
    assert len(names) >= 8
    assert len(set(runs.values())) == len(names), "two samplers gave the same trials"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("multivariate", [False, True])
def test_tpe_is_told_what_to_do(scripts, multivariate):
    """TPE's options are given, whatever Optuna's version takes by default: only the multivariate one is sampled jointly."""
    import optuna

    sampler = scripts("samplers.replay")._tpe(0, multivariate=multivariate)
    study = optuna.create_study(sampler=sampler)
    space = {"a": optuna.distributions.IntDistribution(0, 9), "b": optuna.distributions.IntDistribution(0, 9)}
    for _ in range(15):
        trial = study.ask(space)
        study.tell(trial, trial.params["a"] + trial.params["b"])
    assert bool(study.ask().relative_params) is multivariate


def test_a_replay_repeats_itself(scripts):
    """The same seed gives the same search, another seed another."""
    once = best_times(scripts, "tunedb", 1)
    assert once == best_times(scripts, "tunedb", 1)
    assert once != best_times(scripts, "tunedb", 2)


def test_a_replay_stops_at_its_target(scripts):
    """A replay ends when the target is reached and the least trials are done, and says when it was reached."""
    best = best_times(scripts, "in order", 0, trials=160, target=140.0, least=5)
    replay = scripts("samplers.replay").Replay(best)
    assert replay.reached(140.0) == len(best) > 5
    assert replay.reached(99.0) is None


def test_unreached_counts_as_the_most(scripts):
    """A search that does not get there counts as the most trials, and the table says how many did."""
    report, replay = scripts("samplers.report"), scripts("samplers.replay")
    runs = {"one": report.Run((100.0, 400.0), {"tunedb": [replay.Replay([200.0, 101.0])], "random": [replay.Replay([400.0, 200.0])]})}  # fmt: skip
    ours, other = report.table(runs, ["tunedb", "random"], near=0.98, trials=50)
    assert (ours.name, ours.median, ours.reached) == ("tunedb", 2, 1.0)
    assert (other.median, other.ninetieth, other.reached) == (50, 50, 0.0)
    assert other.at[40] == pytest.approx(0.5)
    assert other.against[0] == pytest.approx(25.0)


def test_what_a_field_is_worth(scripts):
    """Holding a field to a value costs what its best config does, and values that never win are named."""
    worth = scripts("samplers.report").dimensions([landscape(scripts), landscape(scripts, "kb79")])
    order = worth["made.ORDER"]
    assert order.fixed == ("row", 1.0, 1.0)
    assert order.never == ["column"]
    ratio, worst, won, count = order.values["column"]
    assert (round(ratio, 6), round(worst, 6), won, count) == (1.25, 1.25, 0, 2)
    assert worth["made.num_warps"].never == [1, 2, 8]


def test_the_comparison_ends_as_it_says(scripts, monkeypatch, tmp_path, capsys):
    """One command turns landscapes into a page, a plot and a last line; too sparse ones are left out by name."""
    files = scripts("samplers.landscapes")
    paths = [files.write(landscape(scripts), tmp_path)]
    paths.append(
        files.write(
            landscape(
                scripts, "kb79", keep=lambda config: config[0] == config[3] == 16 or config[2:] == (4, 4)
            ),
            tmp_path,
        )
    )
    out = tmp_path / "samplers.md"
    command = ["compare_samplers.py", *map(str, paths), "--out", str(out), "--seeds", "2", "--jobs", "1", "--samplers", "tunedb,random"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    assert scripts("compare_samplers").main() == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["landscapes"], said["left_out"]) == (1, 1)
    assert set(said["samplers"]) == {"tunedb", "random"}
    text = out.read_text()
    assert "tunedb's search, as it is" in text
    assert "Left out" in text
    assert "kb79" in text
    assert out.with_suffix(".svg").read_text().startswith("<svg")
    monkeypatch.setattr(sys, "argv", ["compare_samplers.py", str(paths[1])])
    with pytest.raises(SystemExit, match="20%"):
        scripts("compare_samplers").main()


def test_conversion_keeps_every_line(scripts, tmp_path):
    """Lines of another run become landscapes: a failure by its status, values in the kernel's order, no hash."""
    config = {"COLS": 4, "BLOCK_N": 1, "num_warps": 4}
    key = ["kb79", "float32", "channels_first", "direct"]
    lines = [
        [*key, json.dumps(config), 321.98765, "ok", 1e-7, 32, 0],
        [*key, json.dumps({**config, "COLS": 2}), None, "spilled"],
        [*key, json.dumps({**config, "COLS": 2}), None, "wrong", 1.0, 32, 0],
    ]
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    versions = dict.fromkeys(("triton", "torch", "cudnn", "driver"), "")
    (found,) = scripts("samplers.landscape_jsonl").converted(
        [path], "kernelbench", "h200", "2026-11-20", versions
    )
    assert found.rows == [(4, 1, 4, 321.99), (2, 1, 4, "wrong")]
    assert found.values["COLS"] == (2, 4)
    assert found.kernel_hash == ""
    assert scripts("samplers.landscapes").read(scripts("samplers.landscapes").write(found, tmp_path)) == found


class Runner:
    """A GPU process that answers at once."""

    def __init__(self, gpu, device, *, bench):
        self.gpu = gpu

    def prepare(self, problem):
        return Prepared(50.0, 1e-7)

    def trial(self, kernel, config):
        return Measurement("ok", time_us=float(json.loads(config)["BLOCK_N"]))

    def close(self):
        pass


class Pool:
    """A compile pool that compiles at once; configs of 8 warps spill."""

    def __init__(self, workers, *, compiler):
        self.done = []

    @property
    def outstanding(self):
        return len(self.done)

    def submit(self, tag, kernel, problem, config, device):
        status = "spilled" if json.loads(config)["num_warps"] == 8 else "ok"
        self.done.append(type("Compiled", (), {"tag": tag, "outcome": Measurement(status)})())

    def next(self):
        return self.done.pop(0)

    def collect(self):
        ended, self.done = self.done, []
        return ended

    def close(self):
        pass


def test_recording(scripts, monkeypatch, tmp_path):
    """A recording has each config once, timed or with its status, and goes on where an earlier one ended."""
    record = scripts("record_landscape")
    monkeypatch.setattr("tunedb.tune.gpu_process.Runner", Runner)
    monkeypatch.setattr("tunedb.tune.compile_pool.CompilePool", Pool)
    command = ["direct", "--only", "kb81", "--fix", "COLS=2", "--out", str(tmp_path)]
    (item,) = record.wanted("kernelbench", "float32", "channels_first", "kb81")

    def recorded(*more):
        arguments = record.parsed([*command, *more])
        task = record.planned(item, arguments)
        found = record.record([task], [0, 1], tmp_path, record.time.monotonic() + 60)
        (path,) = tmp_path.glob("*.json.gz")
        return task, found, scripts("samplers.landscapes").read(path)

    task, found, part = recorded("--count", "10")
    assert found == {0: 10}
    assert len(part.rows) == len({row[:-1] for row in part.rows}) == 10
    task, found, whole = recorded()
    assert found == {0: len(task.configs)}
    assert whole.rows[:10] == part.rows
    assert len({row[:-1] for row in whole.rows}) == len(whole.rows) == whole.valid
    assert whole.aten_us == 50.0
    assert whole.values["COLS"] == (2,)
    for row in whole.rows:
        assert row[-1] == ("spilled" if row[3] == 8 else row[1])


def test_a_field_is_held_to_known_values(scripts):
    """Holding an unknown field, or to values that it does not have, ends with the fields that there are."""
    with pytest.raises(SystemExit, match=r"BLOCK_W=16\|32"):
        scripts("record_landscape").narrowed({"BLOCK_W": (16, 32)}, ["BLOCK_M=16"])
    assert scripts("record_landscape").narrowed({"BLOCK_W": (16, 32)}, ["BLOCK_W=32"]) == {"BLOCK_W": (32,)}
