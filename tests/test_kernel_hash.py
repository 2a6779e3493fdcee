"""A record's hash covers what decides its result: launch, device code, weight layout and shared parts, and nothing else."""

import ast
from pathlib import Path

import pytest

from tunedb import kernel_hash as module
from tunedb.kernel import names, source_hash
from tunedb.kernel_hash import code_hash

LAUNCH = '''
"""A kernel."""

from typing import TYPE_CHECKING

import torch
from tunedb.kernels.alpha.jit import kernel
from tunedb.kernels.shared import more
from tunedb.kernels.shared.parts import twice

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Config", "run"]


class Config:
    """What can be chosen."""

    BLOCK: int  # outputs


def run(x):
    """Return it.

    In several lines.
    """
    import math

    text = "not # a comment"
    name = f"{x:#x} {'nested'!r} # neither"
    return twice(x) + more.one, text, """
    not a docstring
    """, name
'''
SOURCES = {
    "alpha/__init__": "from tunedb.kernels.alpha.launch import Config\nfrom tunedb.kernels.alpha.space import seeds\n",
    "alpha/launch": LAUNCH,
    "alpha/jit": "from tunedb.kernels.alpha.weights import row\n\n\ndef kernel():\n    return row\n",
    "alpha/weights": "row = 16\n",
    "alpha/space": "from tunedb.kernels.alpha.launch import Config\n\n\ndef seeds():\n    return [1]\n",
    "shared/__init__": "",
    "shared/parts": "from tunedb.kernels.shared.deep import base\n\n\ndef twice(x):\n    return 2 * base(x)\n",
    "shared/deep": "from tunedb.kernels.shared import parts\n\n\ndef base(x):\n    return x + 1\n",
    "shared/more": "one = 1\n",
    "shared/unrelated": "zero = 0\n",
    "beta": "OPS = ()\n",
}
# Of the sources here. It may not depend on the Python that runs, and databases rest on it: a change of how a
# hash is made turns every record stale.
KNOWN = "19007ada465ab2ae"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package of kernels in place of the installed one."""
    for name, source in SOURCES.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    return tmp_path


def edited(folder, name, before, after):
    """The hash of alpha after an edit."""
    path = folder / f"{name}.py"
    source = path.read_text()
    assert before in source
    path.write_text(source.replace(before, after))
    return code_hash("tunedb.kernels.alpha")


def test_hash_is_stable(folder):
    """The hash of known sources is the same everywhere: on every Python, in every process."""
    assert code_hash("tunedb.kernels.alpha") == KNOWN


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("alpha/launch", "  # outputs", "  # output positions, in elements"),
        ("alpha/launch", "  # outputs", ""),
        ("alpha/launch", '"""A kernel."""', '"""Another description,\n\nlonger.\n"""'),
        ("alpha/launch", '    """What can be chosen."""\n', '    """Other words."""\n'),
        ("alpha/launch", "    In several lines.\n", "    In several other lines,\n    one more.\n"),
        ("alpha/launch", "\n\n\n", "\n\n\n\n# A remark.\n\n\n"),
        ("alpha/launch", "BLOCK: int", "BLOCK: int   "),
        ("alpha/launch", "import torch\n", "import numpy\nimport torch\n"),
        ("alpha/launch", "    import math\n", "    import cmath\n"),
        ("alpha/launch", "    from torch import Tensor\n", "    from torch import Tensor, dtype\n"),
        ("alpha/launch", '["Config", "run"]', '["Config"]'),
        ("alpha/__init__", "from", "x = 1\nfrom"),
        ("alpha/space", "return [1]", "return [1, 2]"),
        ("shared/parts", "def twice(x):\n", "def twice(x):\n    # doubles\n"),
        ("shared/deep", "def base", "# the base\ndef base"),
        ("shared/unrelated", "zero = 0", "zero = 1"),
    ],
)  # fmt: skip
def test_hash_ignores_what_changes_no_result(folder, name, before, after):
    """Comments, docstrings, blank lines, imports, the search space and modules that are not imported do not count."""
    assert edited(folder, name, before, after) == KNOWN


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("alpha/launch", "twice(x) + more.one", "twice(x) - more.one"),
        ("alpha/launch", "BLOCK: int", "BLOCKS: int"),
        ("alpha/launch", "not # a comment", "not # another comment"),
        ("alpha/launch", "# neither", "# either"),
        ("alpha/launch", "not a docstring", "no docstring"),
        ("alpha/launch", "    return twice", "    x += 1\n    return twice"),
        ("alpha/jit", "return row", "return row + 1"),
        ("alpha/weights", "row = 16", "row = 32"),
        ("shared/parts", "2 * base", "3 * base"),
        ("shared/deep", "x + 1", "x + 2"),
        ("shared/more", "one = 1", "one = 2"),
    ],
)
def test_hash_changes_with_code(folder, name, before, after):
    """Code counts, and so do strings, in launch, device code and weight layout, and in every shared part, however far."""
    assert edited(folder, name, before, after) != KNOWN


def test_a_moved_module_keeps_the_hash(folder):
    """Where a part lies, and what its module is called, changes no result."""
    (folder / "shared/deep.py").rename(folder / "shared/moved.py")
    (folder / "shared/parts.py").write_text(SOURCES["shared/parts"].replace("shared.deep", "shared.moved"))
    assert code_hash("tunedb.kernels.alpha") == KNOWN


def test_a_kernel_of_one_module_is_hashed_whole(folder):
    """A kernel that is a module and no package has no space apart: all of it counts."""
    before = code_hash("tunedb.kernels.beta")
    (folder / "beta.py").write_text("OPS = (1,)\n")
    assert code_hash("tunedb.kernels.beta") != before


def test_kernels_of_others_are_hashed(tmp_path, monkeypatch):
    """Of another distribution's kernel its own parts count, relative imports too, and tunedb's shared parts."""
    package = tmp_path / "somebody" / "fast"
    package.mkdir(parents=True)
    (tmp_path / "somebody" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "launch.py").write_text("import somebody.far\nfrom . import near\nfrom ..far import more\n")
    (package / "near.py").write_text("from tunedb.kernels.shared.geometry import axes\nx = 1\n")
    (tmp_path / "somebody" / "far.py").write_text("more = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = code_hash("somebody.fast")
    found = {before}
    for path, text in ((package / "near.py", "x = 2\n"), (tmp_path / "somebody" / "far.py", "more = 2\n")):
        path.write_text(text)
        found.add(code_hash("somebody.fast"))
    assert len(found) == 3
    with pytest.raises(ModuleNotFoundError):
        code_hash("somebody.slow")


@pytest.mark.parametrize("name", [name for name in names() if name != "aten"])
def test_editing_an_installed_family(name, tmp_path, monkeypatch):
    """Editing seeds, space, a comment or a docstring of a family makes no record stale; its jit, plan or weight layout does."""
    import shutil

    real = Path(str(module.files("tunedb.kernels")))
    copy = tmp_path / "kernels"
    shutil.copytree(real, copy)
    monkeypatch.setattr(module, "files", lambda _: copy)
    before = code_hash(f"tunedb.kernels.{name}")
    assert before == source_hash(name)
    family = copy / name

    def after(file, change):
        path = family / file
        text = path.read_text()
        path.write_text(change(text))
        found = code_hash(f"tunedb.kernels.{name}")
        path.write_text(text)
        return found

    assert after("space.py", lambda text: text + "\nMORE = 1\n") == before
    assert after("space.py", lambda text: text.replace("def seeds", "def more_seeds")) == before
    for file in ("launch.py", "jit.py", "weights.py"):
        assert after(file, lambda text: text + "\n# A remark.\n") == before
        assert after(file, lambda text: '"""Other words."""' + text[text.index('"""', 3) + 3 :]) == before
        assert after(file, lambda text: text + "\nMORE = 1\n") != before


def test_every_part_of_a_kernel_is_hashed():
    """Installed kernels import their parts by full names, in the one form that every reader of them follows."""
    for path in Path(str(module.files("tunedb.kernels"))).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, path.name
            if isinstance(node, ast.Import):
                assert not [alias for alias in node.names if alias.name.startswith("tunedb.kernels")], (
                    path.name
                )


def test_hashes_are_the_kernels_own():
    """No two kernels have the same hash; it has 16 hex digits."""
    found = [source_hash(name) for name in names()]
    assert len(set(found)) == len(found)
    assert all(len(code) == 16 and int(code, 16) >= 0 for code in found)
