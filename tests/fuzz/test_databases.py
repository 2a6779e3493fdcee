"""A few mutated databases in every run of the tests; scripts/fuzz.py runs as many as one likes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz.py"


@pytest.fixture
def fuzz(scripts, monkeypatch, capsys, tmp_path):
    """Run the script; return its exit status and what its last line says."""
    scripts("fuzz")
    spec = importlib.util.spec_from_file_location("fuzz_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fuzz.py", *map(str, arguments), "--out", str(tmp_path / "kept")])
        status = script.main()
        return status, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_mutated_databases(fuzz):
    """Lookups take under 2 seconds and raise nothing, the next file answers, and no command gives a traceback."""
    status, found = fuzz("databases", "--trials", 60, "--seconds", 60, "--seed", 20261126)
    assert found["failed"] == []
    assert status == 0
    assert found["trials"] >= 10
    assert found["largest"]["lookup_s"] < 2.0


def test_every_mutation_is_one(scripts, tmp_path, record):
    """Each kind of mutation changes the file, and the same seed gives the same bytes."""
    import random

    from tunedb.store.write import Store

    mutations = scripts("fuzz.mutations")
    for name, spoil in mutations.MUTATIONS.items():
        found = []
        for copy in "ab":
            path = tmp_path / f"{name}{copy}.sqlite"
            with Store(path) as store:
                for n in range(1, 30):
                    store.put(record._replace(problem=record.problem._replace(n=n)))
            sound = path.read_bytes()
            for seed in range(4):
                spoil(path, random.Random(seed))
                if path.read_bytes() != sound:
                    break
            found.append(path.read_bytes())
            assert found[-1] != sound or name == "journal"
        assert found[0] == found[1] or name == "journal"  # of which a nonce is part


def test_a_failure_is_kept(fuzz, scripts, monkeypatch, tmp_path):
    """What gives way is printed with its seed and kept with its file, and the exit status says so."""
    databases = scripts("fuzz.databases")
    monkeypatch.setattr(databases, "SECONDS", -1.0)
    status, found = fuzz("databases", "--trials", 2, "--seed", 7)
    assert status == 1
    assert found["failed"] == [7, 8]
    kept = tmp_path / "kept" / "databases-7"
    assert (kept / "mutated.sqlite").exists()
    assert "a lookup took" in (kept / "failure.txt").read_text()
