"""Records, databases and a kernel to test with: no GPU, no Triton and none of the user's own files."""

import importlib
import types
from pathlib import Path
from typing import NamedTuple

import pytest

from tunedb import kernel
from tunedb.dispatch import unswept, usable
from tunedb.errors import KernelError
from tunedb.problem import OPS, Problem
from tunedb.record import Measurement, Record, Tried
from tunedb.store import files, write
from tunedb.store.write import Store

PROBLEM = Problem(
    "conv_transpose2d", "float32", "tf32", "channels_first", 16, 32, 64, 1, 0, 1, 64, 128, 1, 3, 3,
    1, 5, 5, 0, 1, 1, 0, 0, 0, 1, 2, 2,
)  # fmt: skip
RECORD = Record(
    PROBLEM, "h200", "fake", '{"BLOCK":64,"ORDER":"m"}', 100.0, 99.0, 101.0, 200.0, 80.0, 3e-4, 3e-4, "measured", 40, "new",
    "3.7.1", "2.13.0", "9.19", "580.1", "2026-11-20T12:00:00+00:00",
)  # fmt: skip


class FakeConfig(NamedTuple):
    BLOCK: int
    ORDER: str


def _valid(problem, config, device):
    needed = config.BLOCK * 1024
    if not 16384 <= needed <= device.shared_block:
        return (
            f"BLOCK needs {needed} bytes of shared memory, which must be from 16384 to {device.shared_block}."
        )
    return ""


FAKE = types.SimpleNamespace(
    OPS=OPS,
    Config=FakeConfig,
    valid=_valid,
    default=lambda *_: FakeConfig(32, "n"),
    space=lambda *_: {},
)


@pytest.fixture(scope="session")
def problem():
    return PROBLEM


@pytest.fixture(scope="session")
def record():
    return RECORD


@pytest.fixture(scope="session")
def candidate():
    return Tried(
        "fake", '{"BLOCK":32,"ORDER":"n"}', Measurement("ok", 110.0, 109.0, 111.0, 3e-4, 4096, 128, 0)
    )


@pytest.fixture
def fake_kernel(monkeypatch):
    """A kernel named fake, whose code has the hash "new"; aten's is "aten"."""
    real = usable.load

    def load(name):
        return FAKE if name == "fake" else real(name)

    def source_hash(name):
        if name not in {"fake", "aten"}:
            raise KernelError(f"kernel must be one of aten, fake, but got {name!r}.")
        return {"fake": "new", "aten": "aten"}[name]

    monkeypatch.setattr(usable, "load", load)
    for module in (kernel, write):
        monkeypatch.setattr(module, "source_hash", source_hash)
    return FAKE


class Shelf:
    """Files in a folder of the test: the user's, and those that come with tunedb."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = folder / "user.sqlite"
        self.shipped: dict[str, Path] = {}

    def put(self, *records: Record, ship: str | None = None) -> Path:
        path = self.user if ship is None else self.shipped.setdefault(ship, self.folder / f"{ship}.sqlite")
        with Store(path) as opened:
            for record in records:
                opened.put(record)
        files.reload()
        return path


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Files of the test alone; the predictor that comes with tunedb knows nothing of them, and is left out."""
    found = Shelf(tmp_path)
    monkeypatch.setattr(unswept, "shipped_predictor", lambda: None)
    monkeypatch.setenv("TUNEDB_PATH", "")
    monkeypatch.setattr(files, "user_files", lambda: [found.user])
    monkeypatch.setattr(files, "shipped_files", lambda: found.shipped)
    files.reload()
    yield found
    files.reload()


@pytest.fixture
def scripts(monkeypatch):
    """Import a script by name, its siblings beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    return importlib.import_module
