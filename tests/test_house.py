"""The house stays one that a newcomer finds the way through: small files, few entries a room, every package listed."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("tunedb", "kernels", "db", "scripts", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_idea_of_at_most_300_lines(path):
    """No file is longer than 300 lines, and none is a drawer for everything."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}


def test_the_top_of_the_library_can_be_read_at_a_glance():
    """tunedb/ has at most 26 entries at its top; everything else is in a room."""
    found = [path.name for path in (ROOT / "tunedb").iterdir() if path.name != "__pycache__"]
    assert len(found) <= 26, sorted(found)


def test_every_package_is_installed():
    """Each folder with code is among setuptools' packages, so that a wheel has it."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {"tunedb": "tunedb", "kernels": "tunedb.kernels", "db": "tunedb.db"}
    expected = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for folder, package in folders.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(setup["packages"]) == expected


def test_tests_mirror_what_they_test():
    """A test module lies in the folder of what it tests."""
    rooms = {"cli", "dispatch", "measure", "model", "store", "tune", "weights"}
    for path in (ROOT / "tests").rglob("test_*.py"):
        room = path.parent.name
        if room in rooms:
            assert (ROOT / "tunedb" / room).is_dir()
        else:
            assert room in {"tests", "kernels", "scripts", "docs", "foreign", "fuzz"}, path


def test_nothing_names_an_old_place():
    """No text sends a reader to a module that has moved: every `tunedb/x.py`, `kernels/x.py` and `scripts/x.py` exists."""
    texts = [
        *(
            path for path in FILES if path.name not in {"test_house.py", "test_carry.py"}
        ),  # these make names up
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "db" / "README.md",
        ROOT / "Makefile",
    ]
    missing = set()
    for path in texts:
        for name in re.findall(
            r"(?<![\w/.-])(?:tunedb|kernels|scripts)/[\w/]+\.py\b", path.read_text(encoding="utf-8")
        ):
            if not (ROOT / name).exists():
                missing.add(f"{path.relative_to(ROOT)}: {name}")
    assert not missing
