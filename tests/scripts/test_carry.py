"""Carrying records over a change of code: same machine code gives the new hash, and changes nothing else."""

import json
import subprocess
from pathlib import Path

import pytest
from awkward import problem

from tunedb.kernel import config_to_json, load, source_hash
from tunedb.store.read import Database
from tunedb.store.write import Store

SMALL = problem("conv2d", c=(8, 8), extents=(6, 6), k=3, groups=8)


@pytest.fixture
def script(scripts):
    return scripts("carry")


@pytest.fixture
def database(tmp_path, record):
    """Two stale records of a real kernel, one of torch's own."""
    pytest.importorskip("triton")
    from tunedb.device import by_slug

    config = config_to_json(load("depthwise").default(SMALL, by_slug("h200")))
    path = tmp_path / "some.sqlite"
    with Store(path) as store:
        for n, kernel in ((1, "depthwise"), (2, "depthwise"), (3, "aten")):
            store.put(
                record._replace(
                    problem=SMALL._replace(n=n),
                    kernel=kernel,
                    config="{}" if kernel == "aten" else config,
                    kernel_hash="old",
                )
            )
    return path


def records(path):
    file = Database(path)
    found = file.records()
    file.close()
    return found


def test_carried_records_differ_in_their_hash_only(script, database):
    """A record whose code is the same gets the new hash; time, provenance and date stay, and the others stay stale."""
    before = records(database)
    same = {script.job_of(record): record.problem.n != 2 for record in before}
    counts = script.carry(database, same, write=True)
    after = records(database)
    assert [record._replace(kernel_hash="old") for record in after] == before
    assert {record.problem.n: record.kernel_hash for record in after} == {
        1: source_hash("depthwise"), 2: "old", 3: source_hash("aten"),
    }  # fmt: skip
    assert counts == {"records": 3, "carried": 2, "not carried": 1, "of them torch's own kernel": 1}
    assert sorted(path.name for path in database.parent.iterdir()) == [database.name]


def test_a_dry_run_writes_nothing(script, database):
    """Without writing the counts are the same and the file keeps its bytes."""
    data = database.read_bytes()
    counts = script.carry(
        database, {script.job_of(record): True for record in records(database)}, write=False
    )
    assert (counts["carried"], database.read_bytes()) == (3, data)


def test_what_is_compared(script, database):
    """Machine code, grid, arguments and packed weight are compared: another config or another problem differs in them."""
    (first, second, torchs) = (json.loads(script.job_of(record)) for record in records(database))
    found = script.describe(*first)
    assert found == script.describe(*first)
    assert found["valid"] == ""
    assert [set(launch) for launch in found["launches"]] == [
        {"ptx", "grid", "scalars", "arguments", "aligned", "num_warps"}
    ]
    assert found["weight"][0] == [9, 8]
    more = script.describe(*second)
    assert more["launches"][0]["ptx"] == found["launches"][0]["ptx"]  # the batch is a run-time argument
    assert more["launches"][0]["scalars"] != found["launches"][0]["scalars"]
    assert script.describe(*torchs) == {"valid": "", "launches": []}
    kernel, config, sizes, device = first
    wider = json.dumps({**json.loads(config), "COLS": 1, "num_warps": 8})
    assert script.describe(kernel, wider, sizes, device)["launches"] != found["launches"]


def test_a_revision_is_laid_out_as_it_is_installed(script, tmp_path, monkeypatch):
    """The packages of a git revision lie where pyproject.toml installs them, without databases."""
    root = tmp_path / "repository"
    for folder in ("tunedb", "kernels", "db"):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").write_text(f"# {folder}\n")
    (root / "db" / "h200.sqlite").write_text("")
    (root / "pyproject.toml").write_text(
        '[tool.setuptools.package-dir]\n"tunedb" = "tunedb"\n"tunedb.kernels" = "kernels"\n"tunedb.db" = "db"\n'
    )
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    (root / "kernels" / "__init__.py").write_text("# changed\n")
    monkeypatch.setattr(script, "ROOT", root)
    before, after = script.revision_tree("HEAD", tmp_path / "before"), script.working_tree(tmp_path / "after")

    def files(tree: Path):
        return {str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file()}

    expected = {
        "tunedb/__init__.py": "# tunedb\n",
        "tunedb/db/__init__.py": "# db\n",
        "tunedb/kernels/__init__.py": "# kernels\n",
    }
    assert files(before) == expected
    assert files(after) == {**expected, "tunedb/kernels/__init__.py": "# changed\n"}


def test_files_and_a_revision_are_needed(script, capsys):
    """Without a revision or a file the program says what is missing."""
    with pytest.raises(SystemExit):
        script.parsed(["some.sqlite"])
    assert "--before and at least one FILE are needed" in capsys.readouterr().err
