"""Kernels are found by name, known by what their code does, and their configs are data."""

import ast
import json
import subprocess
import sys
import types
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb import kernel as module
from tunedb.errors import ConfigError, KernelError, TunedbError
from tunedb.kernel import config_from_json, config_to_json, load, names, source_hash


class Config(NamedTuple):
    ORDER: str
    BLOCK: int


class Nothing(NamedTuple):
    pass


FAKE = types.SimpleNamespace(Config=Config)

ALPHA = '''
"""A kernel."""

from tunedb.kernels.shared import twice
from tunedb.kernels import more

OPS = ("conv1d",)


class Config:
    """What can be chosen."""

    BLOCK: int  # outputs


def run(x):
    """Return it.

    In several lines.
    """
    text = "not # a comment"
    name = f"{x:#x} {'nested'!r} # neither"
    return twice(x) + more.one, text, """
    not a docstring
    """, name
'''
SHARED = "from tunedb.kernels.deep import base\n\n\ndef twice(x):\n    return 2 * base(x)\n"
# Of the sources here. It may not depend on the Python that runs, and databases rest on it: a change of how a
# hash is made turns every record stale.
KNOWN = "09bf4e5f7a0e8631"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package of kernels in place of the installed one."""
    sources = {
        "alpha": ALPHA,
        "beta": "OPS: tuple = ()\nOPS = ()\n",
        "shared": SHARED,
        "deep": "from tunedb.kernels import shared\n\n\ndef base(x):\n    return x + 1\n",
        "more": "one = 1\n",
        "unrelated": "zero = 0\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "notes.md").write_text("\nOPS\n")
    (tmp_path / "__init__.py").write_text('"""Kernels."""\n')
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    for function in (names, load, source_hash):
        function.cache_clear()


def edited(folder, name, before, after):
    """The hash of alpha after an edit."""
    path = folder / f"{name}.py"
    source = path.read_text()
    assert before in source
    path.write_text(source.replace(before, after))
    forget()
    return source_hash("alpha")


def test_installed_names():
    """The installed kernels are those of the modules with OPS, in alphabetical order; shared parts are none."""
    assert names() == tuple(sorted(names()))
    assert {"aten", "depthwise", "direct", "implicit_gemm"} <= set(names())
    assert not {"geometry", "ptx", "tiles", "__init__"} & set(names())


def test_names_need_no_import():
    """Kernels are listed and hashed without importing them, so without Triton."""
    code = (
        "import sys; from tunedb.kernel import names, source_hash\n"
        "assert len([source_hash(name) for name in names()]) >= 4\n"
        "assert not [name for name in sys.modules if name.startswith(('triton', 'tunedb.kernels.'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_modules_with_ops_are_kernels(folder):
    """A module is a kernel if it defines OPS at its top level."""
    assert names() == ("alpha", "beta")


@pytest.mark.parametrize(
    "name", ["geometry", "os", "../errors", "tunedb.errors", "", "aten\n", "Aten", "__init__"]
)
def test_unknown_names(name):
    """A name that is no kernel's is refused with those that are, and nothing is imported for it."""
    known = set(sys.modules)
    for function in (load, source_hash):
        with pytest.raises(KernelError) as raised:
            function(name)
        assert str(raised.value) == f"kernel must be one of {', '.join(names())}, but got {name!r}."
        assert isinstance(raised.value, KeyError | TunedbError)
    assert set(sys.modules) == known


def test_load_gives_the_module():
    """A loaded kernel is the module, the same in every call."""
    assert load("aten") is load("aten")
    assert load("aten").__name__ == "tunedb.kernels.aten"


def test_hash_is_stable(folder):
    """The hash of known sources is the same everywhere: on every Python, in every process."""
    assert source_hash("alpha") == KNOWN


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("alpha", "  # outputs", "  # output positions, in elements"),
        ("alpha", "  # outputs", ""),
        ("alpha", '"""A kernel."""', '"""Another description,\n\nlonger.\n"""'),
        ("alpha", '    """What can be chosen."""\n', '    """Other words."""\n'),
        ("alpha", "    In several lines.\n", "    In several other lines,\n    one more.\n"),
        ("alpha", "\n\n\n", "\n\n\n\n# A remark.\n\n\n"),
        ("alpha", '("conv1d",)', '("conv1d",)   '),
        ("shared", "def twice(x):\n", "def twice(x):\n    # doubles\n"),
        ("deep", "def base", "# the base\ndef base"),
        ("unrelated", "zero = 0", "zero = 1"),
    ],
)  # fmt: skip
def test_hash_ignores_what_changes_no_result(folder, name, before, after):
    """Comments, docstrings, blank lines, trailing spaces and modules that the kernel does not import do not count."""
    assert edited(folder, name, before, after) == KNOWN


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("alpha", "twice(x) + more.one", "twice(x) - more.one"),
        ("alpha", "BLOCK: int", "BLOCKS: int"),
        ("alpha", "not # a comment", "not # another comment"),
        ("alpha", "# neither", "# either"),
        ("alpha", "not a docstring", "no docstring"),
        ("alpha", "    return twice", "    x += 1\n    return twice"),
        ("shared", "2 * base", "3 * base"),
        ("deep", "x + 1", "x + 2"),
        ("more", "one = 1", "one = 2"),
    ],
)
def test_hash_changes_with_code(folder, name, before, after):
    """Code counts, and so do strings, in the kernel and in every part that it imports, however far."""
    assert edited(folder, name, before, after) != KNOWN


def test_hash_is_the_kernels_own(folder):
    """Two kernels have two hashes, of 16 hex digits."""
    assert source_hash("alpha") != source_hash("beta")
    assert all(len(source_hash(name)) == 16 and int(source_hash(name), 16) >= 0 for name in names())


def test_every_part_of_a_kernel_is_hashed():
    """Installed kernels import their shared parts in the one form that the hash follows."""
    for path in module.files("tunedb.kernels").iterdir():
        if path.name.endswith(".py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                assert not isinstance(node, ast.ImportFrom) or node.level == 0, path.name
                if isinstance(node, ast.Import):
                    assert not [alias for alias in node.names if alias.name.startswith("tunedb.kernels")], (
                        path.name
                    )


def test_config_as_json():
    """A config is a JSON object with one key a field, in the order of the fields."""
    assert config_to_json(Config("m", 64)) == '{"ORDER":"m","BLOCK":64}'
    assert config_to_json(Nothing()) == "{}"


@given(order=st.text(), block=st.integers())
def test_configs_round_trip(order, block):
    """Whatever text and number a config holds, it comes back from its JSON."""
    config = config_from_json(FAKE, config_to_json(Config(order, block)))
    assert config == Config(order, block)
    assert type(config) is Config


def test_no_fields():
    """A kernel without choices takes the empty object and nothing else."""
    empty = types.SimpleNamespace(Config=Nothing)
    assert config_from_json(empty, "{}") == Nothing()
    with pytest.raises(ConfigError):
        config_from_json(empty, '{"BLOCK":1}')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a JSON object"),
        ("{", "must be a JSON object"),
        ("{'ORDER': 'm', 'BLOCK': 1}", "must be a JSON object"),
        ("Config(ORDER='m', BLOCK=__import__('os').getpid())", "must be a JSON object"),
        ("[" * 100_000, "must be a JSON object"),
        ('{"ORDER":"m","BLOCK":' + "9" * 10_000 + "}", "must be a JSON object"),
        ("null", "exactly the fields ORDER, BLOCK"),
        ('["m", 64]', "exactly the fields ORDER, BLOCK"),
        ('"ORDER BLOCK"', "exactly the fields ORDER, BLOCK"),
        ("{}", "exactly the fields ORDER, BLOCK"),
        ('{"ORDER":"m"}', "exactly the fields ORDER, BLOCK"),
        ('{"ORDER":"m","BLOCK":64,"__class__":"x"}', "exactly the fields ORDER, BLOCK"),
        ('{"order":"m","block":64}', "exactly the fields ORDER, BLOCK"),
        ('{"ORDER":"m","BLOCK":"64"}', "BLOCK must be of type int, but got '64'"),
        ('{"ORDER":"m","BLOCK":64.0}', "BLOCK must be of type int, but got 64.0"),
        ('{"ORDER":"m","BLOCK":true}', "BLOCK must be of type int, but got True"),
        ('{"ORDER":"m","BLOCK":NaN}', "BLOCK must be of type int, but got nan"),
        ('{"ORDER":"m","BLOCK":null}', "BLOCK must be of type int, but got None"),
        ('{"ORDER":["m"],"BLOCK":64}', "ORDER must be of type str, but got"),
        ('{"ORDER":{"__reduce__":1},"BLOCK":64}', "ORDER must be of type str, but got"),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_hostile_configs(text, message):
    """Text that is no config of the kernel is refused in a short sentence, and nothing in it is evaluated."""
    with pytest.raises(ConfigError, match=message) as raised:
        config_from_json(FAKE, text)
    assert len(str(raised.value)) < 400


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ORDER", "BLOCK", "x"]), inner, max_size=3)))  # fmt: skip
def test_any_json(value):
    """Any JSON is a config with the right types, or a ConfigError."""
    try:
        config = config_from_json(FAKE, json.dumps(value))
    except ConfigError:
        return
    assert type(config.ORDER) is str
    assert type(config.BLOCK) is int
