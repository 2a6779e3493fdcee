"""What is public, what an import costs, and what a wheel holds."""

import importlib.metadata
import inspect
import json
import os
import shutil
import statistics
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import tunedb
from tunedb.kernel import source_hash
from tunedb.problem import OPS
from tunedb.store.write import Store

ROOT = Path(__file__).parents[1]
HEAVY = ("optuna", "sqlalchemy", "sqlite_utils", "click", "rich", "triton", "platformdirs", "tunedb.kernels")
IMPORT_MS = 50  # beyond torch's own import


def python(code, *args, **kwargs):
    """Run code in a new process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **kwargs,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_public_names():
    """`__all__` is sorted and names exactly what is public, the six operations first of all."""
    public = {
        name
        for name, value in vars(tunedb).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    public = (public - {"TYPE_CHECKING", "Any"}) | set(tunedb._LATER)
    assert set(tunedb.__all__) == public | {"__version__"}
    assert list(tunedb.__all__) == sorted(tunedb.__all__)
    assert set(OPS) <= public


def test_public_names_are_documented():
    """Each public function and class says what it does."""
    for name in tunedb.__all__:
        assert name == "__version__" or inspect.getdoc(getattr(tunedb, name)), name


def test_version():
    """The version of the package is that of its metadata."""
    assert importlib.metadata.version("tunedb") == tunedb.__version__


def test_is_typed():
    """Type checkers are told that the package has types."""
    assert (Path(tunedb.__file__).parent / "py.typed").is_file()


IMPORT = """
import json, sys, time, torch
before = set(sys.modules)
start = time.perf_counter()
import tunedb
took = time.perf_counter() - start
print(json.dumps([1e3 * took, sorted(set(sys.modules) - before)]))
"""


def test_import_is_light():
    """An import costs less than 50 ms beyond torch's, and brings in no search, storage, CLI, Triton or kernel."""
    medians = []
    for _ in range(3):  # a machine may be busy for a while; a slow import is slow in every round
        runs = [json.loads(python(IMPORT)) for _ in range(3)]
        for _, modules in runs:
            assert "tunedb.ops" in modules
            assert [name for name in modules if name.startswith(HEAVY)] == []
        medians.append(statistics.median(took for took, _ in runs))
        if medians[-1] < IMPORT_MS:
            return
    pytest.fail(f"`import tunedb` took {medians} ms beyond torch, at most {IMPORT_MS} are allowed.")


WITHOUT_TRITON = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "triton":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import torch
from torch.nn import functional
import tunedb, tunedb.cli
from tunedb.kernel import names
from tunedb.problem import OPS

for op in OPS:
    axes = int(op[-2])
    x, weight = torch.randn(2, 4, *(7,) * axes), torch.randn(4, 4, *(3,) * axes)
    assert torch.equal(getattr(tunedb, op)(x, weight, stride=2), getattr(functional, op)(x, weight, stride=2))
x, weight = torch.empty(16, 32, 64, 128, device="meta"), torch.empty(32, 64, 3, 3, device="meta")
found = tunedb.explain("conv_transpose2d", x, weight, None, 5, 1, 0, 1, 2, device="h200")
assert found.answer.kernel == "aten", found
assert "triton" not in sys.modules
print(len(names()))
"""


def test_works_without_triton(tmp_path, record):
    """Where Triton is missing, everything imports, torch answers, and a record of a Triton kernel is no answer."""
    path = tmp_path / "user.sqlite"
    config = '{"PHASE":"fast","ORDER":"rows","BLOCK_W":128,"BLOCK_N":1,"num_warps":4}'
    with Store(path) as store:
        store.put(record._replace(kernel="direct", config=config, kernel_hash=source_hash("direct")))
    environment = {**os.environ, "TUNEDB_PATH": str(path)}
    assert int(python(WITHOUT_TRITON, env=environment)) >= 4


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that nothing is left in the checkout and nothing stale goes in."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tunedb", "kernels", "db", "scripts", "tests", "benchmarks"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))  # fmt: skip
    command = [
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
        str(source),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel(wheel):
    """A wheel holds the library, the kernels, the databases and the suites under tunedb, and nothing beside it."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
    info = next(name.split("/")[0] for name in held if ".dist-info/" in name)
    expected = {"tunedb/py.typed"}
    for folder, place in (("tunedb", "tunedb"), ("kernels", "tunedb/kernels"), ("db", "tunedb/db")):
        kinds = {".py", ".sqlite", ".json", ".gz", ".md", ".html", ".css", ".js"}
        files = [path for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
        expected |= {f"{place}/{path.relative_to(ROOT / folder).as_posix()}" for path in files}
    assert {name for name in held if not name.startswith(info)} == expected
    assert {name.split("/")[0] for name in held} == {"tunedb", info}
    assert any(name.startswith(info) and name.endswith("LICENSE") for name in held)
    assert wheel.name.endswith("-py3-none-any.whl")


def test_wheel_works_by_itself(wheel, tmp_path):
    """Unpacked elsewhere, a wheel finds its own kernels, suites and databases."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import tunedb, tunedb.kernel, tunedb.suite, tunedb.store.files, tunedb.kernels.aten as aten\n"
        "assert tunedb.__file__.startswith(sys.argv[1]) and aten.__file__.startswith(sys.argv[1])\n"
        "assert len(tunedb.kernel.names()) >= 4 and len(tunedb.kernel.source_hash('direct')) == 16\n"
        "assert len(tunedb.suite.load_suite('kernelbench')) == 37\n"
        "print(sorted(tunedb.store.files.shipped_files()))"
    )
    found = python(code, str(tmp_path), cwd=tmp_path)
    assert found.strip() == str(sorted(path.stem for path in (ROOT / "db").glob("*.sqlite")))


def test_entry_point(wheel):
    """The wheel installs the command tunedb, and asks for Triton only where Triton exists."""
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.split("/")[-1]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}  # fmt: skip
    assert "tunedb = tunedb.cli:main" in texts["entry_points.txt"]
    requires = [line for line in texts["METADATA"].splitlines() if line.startswith("Requires-Dist: triton")]
    assert len(requires) == 1
    assert "sys_platform == " in requires[0]
    assert "Requires-Python: >=3.11" in texts["METADATA"]


def test_bare_names_are_banned():
    """Nobody imports kernels or db bare: a package of that name belongs to somebody else."""
    banned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"][
        "flake8-tidy-imports"
    ]
    assert set(banned["banned-api"]) == {"kernels", "db"}
    assert not (ROOT / "tunedb" / "kernels.py").exists()
    assert not (ROOT / "tunedb" / "db.py").exists()
