"""The script that keeps trials, and its table."""

import gzip
import json

import pytest

from tunedb.problem import Problem
from tunedb.record import Measurement, Tried
from tunedb.store.write import Store

SIZES = ("conv2d", "float16", "ieee", "channels_first", 2, 64, 64, 1, 1, 1, 32, 32, 1, 3, 3, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1)  # fmt: skip


@pytest.fixture
def keep(scripts):
    """The script as a module; its table's module beside it."""
    return scripts("keep_trials")


def row(keep, **change):
    first = keep.Row(
        "h200", Problem(*SIZES), "packed", "{}", "ab", "ok", 20.0, 40.0, "final", ("U-Net",), "one.sqlite"
    )
    return first._replace(**change)


def test_a_table_is_read_back_and_its_bytes_do_not_depend_on_the_order(keep, tmp_path):
    """What is written is read; the same rows in another order are the same file."""
    rows = [row(keep, kernel="aten", kernel_hash="", time_us=40.0), row(keep), row(keep, config='{"A":1}')]
    keep.write(tmp_path / "a.csv.gz", rows)
    keep.write(tmp_path / "b.csv.gz", rows[::-1])
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert sorted(keep.read(tmp_path / "a.csv.gz")) == sorted(rows)


def test_the_most_trustworthy_run_of_a_config_is_kept(keep, tmp_path):
    """A final run's time stands for that of the search; of torch's times the least does."""
    torch = row(keep, kernel="aten", kernel_hash="", time_us=40.0)
    given = [
        row(keep, run="search", time_us=900.0),
        row(keep),
        torch,
        torch._replace(run="look", time_us=30.0),
    ]
    assert keep.write(tmp_path / "t.csv.gz", given) == 2
    aten, own = sorted(keep.read(tmp_path / "t.csv.gz"))
    assert (own.time_us, own.run, own.aten_us) == (20.0, "final", 30.0)
    assert aten.time_us == 30.0


def test_what_the_compiler_said_is_kept(keep, tmp_path):
    """Also where it was said in a search and the final run's time stands; another code's is not taken."""
    said = row(keep, run="search", registers=255, spills=48)
    given = [said, row(keep), row(keep, kernel_hash="cd", run="search")]
    keep.write(tmp_path / "t.csv.gz", given)
    assert [
        (one.kernel_hash, one.run, one.registers, one.spills) for one in keep.read(tmp_path / "t.csv.gz")
    ] == [
        ("ab", "final", 255, 48),
        ("cd", "search", None, None),
    ]


def test_a_problem_keeps_the_models_of_all_its_rows(keep, tmp_path):
    """Who adds trials without a model's suite at hand takes its name from none of the rows."""
    given = [row(keep), row(keep, models=(), time_us=19.0), row(keep, config='{"A":1}', models=("zoo",))]
    keep.write(tmp_path / "t.csv.gz", given)
    assert {one.models for one in keep.read(tmp_path / "t.csv.gz")} == {("U-Net", "zoo")}


def test_another_version_is_refused(keep, tmp_path):
    """A file that is no such table says how to make one."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"# tunedb trials, version 0\n"))
    with pytest.raises(ValueError, match="make it again"):
        list(keep.read(path))


def test_a_search_that_timed_its_host_is_told(keep):
    """A finalist that took 0.6 ms longer in the search than in the final run makes the whole search doubtful."""
    tries = [Tried("packed", "{}", Measurement("ok", 620.0))]
    assert keep.waited_for_host(tries, {"top": [["packed", "{}", {"time_us": 20.0}]]})
    assert not keep.waited_for_host(tries, {"top": [["packed", "{}", {"time_us": 610.0}]]})
    assert not keep.waited_for_host(tries, {})


def test_a_database_gives_winner_candidates_and_torch(keep, record, tmp_path, capsys):
    """A measured record becomes a row of torch, one of its winner and one of each other candidate."""
    one = record._replace(
        device="h200", provenance="measured", kernel="aten", config="{}", time_us=40.0, aten_us=40.0
    )
    other = Tried("packed", '{"A":1}', Measurement("ok", 50.0, registers=96, spills=0))
    with Store(tmp_path / "one.sqlite") as store:
        store.put(one, [other])
    out = tmp_path / "t.csv.gz"
    assert keep.main(["h200", "--db", str(tmp_path / "one.sqlite"), "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == 2
    assert [(found.kernel, found.time_us, found.registers, found.spills) for found in keep.read(out)] == [
        ("aten", 40.0, None, None),
        ("packed", 50.0, 96, 0),
    ]


def test_of_older_code_no_kernel_that_calls_torch_is_kept(keep, record, tmp_path, capsys):
    """A GPU that runs sm_89 code runs its own in torch's convolutions: such a trial is none of that device."""
    one = record._replace(device="h200-sm89", provenance="measured", aten_us=40.0)
    with Store(tmp_path / "one.sqlite") as store:
        store.put(one._replace(kernel="cudnn_last"), [Tried("packed", '{"A":1}', Measurement("ok", 50.0))])
    out = tmp_path / "t.csv.gz"
    assert keep.main(["h200-sm89", "--db", str(tmp_path / "one.sqlite"), "--out", str(out)]) == 0
    capsys.readouterr()
    assert [found.kernel for found in keep.read(out)] == ["aten", "packed"]
