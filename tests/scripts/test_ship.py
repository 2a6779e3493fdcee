"""The script that makes a shipped database of what sweeps wrote."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tunedb.kernel import source_hash
from tunedb.record import Choice, Measurement, Tried
from tunedb.store.profile import COUNTERS, Launch, Profile
from tunedb.store.read import Database
from tunedb.store.write import Store

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship.py"


@pytest.fixture
def ship(monkeypatch, tmp_path, capsys):
    """Run the script on files; return what its last line says and the file that it wrote."""
    spec = importlib.util.spec_from_file_location("ship", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*sources, device="h200"):
        out = tmp_path / "shipped.sqlite"
        arguments = ["--device", device, "--provenance", "measured", "--out", str(out), *map(str, sources)]
        monkeypatch.setattr(sys, "argv", ["ship.py", *arguments])
        assert script.main() == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1]), Database(out)

    run.script = script
    return run


def put(path, record, *candidates):
    with Store(path) as store:
        store.put(record, candidates)
    return path


def test_takes_the_last_and_ranks_the_best_first(ship, tmp_path, record, fake_kernel):
    """The last file's record is shipped, its candidates in the order of their times, failed ones last."""
    slow = Tried("fake", '{"BLOCK":32,"ORDER":"n"}', Measurement("ok", 110.0))
    fast = Tried("fake", record.config, Measurement("ok", record.time_us))
    lost = Tried("fake", '{"BLOCK":16,"ORDER":"n"}', Measurement("timed-out", detail="took longer than 60 s"))
    first = put(tmp_path / "first.sqlite", record._replace(time_us=90.0))
    last = put(tmp_path / "last.sqlite", record, lost, slow, fast)
    said, file = ship(first, last)
    assert said["records"] == 1
    assert [found.time_us for found in file.records()] == [record.time_us]
    assert file.top(record.problem, "h200") == [fast, slow, lost]


def test_wrong_machine_code_is_not_shipped(ship, tmp_path, record, fake_kernel, monkeypatch):
    """The best of the rest wins in the place of a refused winner; torch does where nothing right is left that is faster."""
    next_best = Tried("fake", '{"BLOCK":32,"ORDER":"n"}', Measurement("ok", 110.0, error=1e-4))
    fast = Tried("fake", record.config, Measurement("ok", record.time_us))
    refused = {fast.choice}
    monkeypatch.setattr(ship.script, "suspect", lambda choice: choice in refused)
    monkeypatch.setattr(ship.script, "miscompiled", lambda *_: True)
    source = put(tmp_path / "swept.sqlite", record._replace(aten_us=200.0), fast, next_best)
    said, file = ship(source)
    assert said["left_aside"]["miscompiled"] == 1
    (found,) = file.records()
    assert (found.config, found.time_us, found.error) == (next_best.config, 110.0, 1e-4)
    assert file.top(record.problem, "h200") == [next_best]
    refused.add(next_best.choice)
    _, file = ship(source)
    (found,) = file.records()
    assert (found.kernel, found.time_us) == ("aten", 200.0)


def test_of_older_code_no_kernel_that_calls_torch_is_shipped(ship, tmp_path, record):
    """Torch's convolutions on an H200 that runs sm_89 code are Hopper's: the best of the rest wins."""
    own = Tried("direct", "{}", Measurement("ok", 110.0, error=1e-4))
    torchs = Tried("cudnn_last", '{"BLOCK_C":64,"BLOCK_S":64,"num_warps":4}', Measurement("ok", 90.0))
    given = record._replace(aten_us=200.0, kernel="cudnn_last", config=torchs.config, time_us=90.0, kernel_hash=source_hash("cudnn_last"))  # fmt: skip
    for device, winner in (("h200", "cudnn_last"), ("h200-sm89", "direct")):
        path = put(tmp_path / f"{device}.sqlite", given._replace(device=device), torchs, own)
        _, file = ship(path, device=device)
        assert [found.kernel for found in file.records()] == [winner]
        assert len(file.top(record.problem, device)) == 1 + (winner == "cudnn_last")


def test_only_inputs_that_are_rounded_on_their_way_are_compiled_again(ship):
    """Of all other configs nothing is known that would be refused."""
    suspect = ship.script.suspect
    assert suspect(Choice("implicit_gemm", '{"DOT":"tf32","SWAP":0}'))
    assert suspect(Choice("packed", '{"DOT":"tf32x3","SWAP":0}'))
    assert not suspect(Choice("implicit_gemm", '{"DOT":"tf32","SWAP":1}'))
    assert not suspect(Choice("implicit_gemm", '{"DOT":"ieee","SWAP":0}'))
    assert not suspect(Choice("aten", "{}"))


def test_counters_of_the_winner_are_shipped(ship, tmp_path, record, fake_kernel):
    """Those of the file whose record is taken; of a record that another one replaced they are left."""
    launch = Launch("fake", *[1.0] * len(COUNTERS))
    paths = []
    for name, time_us, config in (("first", 90.0, '{"BLOCK":32,"ORDER":"n"}'), ("last", record.time_us, record.config)):  # fmt: skip
        own = record._replace(time_us=time_us, config=config)
        paths.append(put(tmp_path / f"{name}.sqlite", own))
        with Store(paths[-1]) as store:
            facts = (own.problem, own.device, own.kernel, own.config, own.kernel_hash)
            assert store.put_profile(Profile(*facts, (launch._replace(name=name),), "", "2026-11-27"))
    _, file = ship(*paths)
    assert [one.launches[0].name for one in file.profiles()] == ["last"]


def test_leaves_stale_and_foreign_records_aside(ship, tmp_path, record, fake_kernel):
    """A record of changed code, of another device or of another provenance is not shipped, and is counted."""
    others = [
        record._replace(kernel_hash="old", problem=record.problem._replace(n=2)),
        record._replace(device="h100", problem=record.problem._replace(n=3)),
        record._replace(
            provenance="predicted",
            problem=record.problem._replace(n=4),
            aten_us=None,
            error=None,
            aten_error=None,
        ),
    ]
    path = tmp_path / "all.sqlite"
    for one in (record, *others):
        put(path, one)
    said, file = ship(path)
    assert [found.problem for found in file.records()] == [record.problem]
    assert said["left_aside"] == {"stale": 1, "other device": 1, "predicted": 1}


def test_nothing_worth_shipping_changes_nothing(ship, tmp_path, record, fake_kernel):
    """Where no record is left the script fails, says so, and leaves the old file as it is."""
    (tmp_path / "shipped.sqlite").write_bytes(b"as it was")
    path = put(tmp_path / "stale.sqlite", record._replace(kernel_hash="old"))
    with pytest.raises(SystemExit, match="no measured record for h200"):
        ship(path)
    assert (tmp_path / "shipped.sqlite").read_bytes() == b"as it was"
