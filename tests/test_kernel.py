"""Kernels are found by name, tunedb's own and those of others, and their configs are data."""

import json
import subprocess
import sys
import types
from importlib import metadata
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb import kernel as module
from tunedb.errors import ConfigError, KernelError, TunedbError, TunedbWarning
from tunedb.kernel import config_from_json, config_to_json, load, names, source_hash


class Config(NamedTuple):
    ORDER: str
    BLOCK: int


class Nothing(NamedTuple):
    pass


MODULE = "OPS = ()\n"
FAKE = types.SimpleNamespace(Config=Config)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of kernels in place of the installed one: a package, a module, and shared parts."""
    (tmp_path / "beta.py").write_text(MODULE)
    for package, source in {"alpha": MODULE, "shared": ""}.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(source)
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "__pycache__").mkdir()
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def installed(monkeypatch):
    """Entry points of another distribution."""

    def install(**points):
        found = [metadata.EntryPoint(name, value, module.GROUP) for name, value in points.items()]
        monkeypatch.setattr(
            module.metadata, "entry_points", lambda group: found if group == module.GROUP else []
        )
        forget()

    yield install
    monkeypatch.undo()
    forget()


def forget():
    for function in (names, load, source_hash, module.distribution, module._modules):
        function.cache_clear()


def test_installed_names():
    """The installed kernels are the packages and modules of tunedb.kernels but `shared`, in alphabetical order."""
    assert names() == (
        "aten",
        "cudnn_last",
        "depthwise",
        "direct",
        "implicit_gemm",
        "kn2row",
        "packed",
        "shared_rows",
    )


def test_names_need_no_import():
    """Kernels are listed and hashed without importing them, so without Triton."""
    code = (
        "import sys; from tunedb.kernel import names, source_hash\n"
        "assert len([source_hash(name) for name in names()]) >= 4\n"
        "assert not [name for name in sys.modules if name.startswith(('triton', 'tunedb.kernels.'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_packages_and_modules_are_kernels(folder):
    """A package or a module beside the others is a kernel; shared parts, notes and caches are none."""
    assert names() == ("alpha", "beta")


def test_kernels_of_others_are_found_by_entry_point(installed):
    """An entry point of the group tunedb.kernels adds a kernel; nothing is imported to list it."""
    installed(gamma="no.such.module")
    assert names() == (
        "aten",
        "cudnn_last",
        "depthwise",
        "direct",
        "gamma",
        "implicit_gemm",
        "kn2row",
        "packed",
        "shared_rows",
    )
    with pytest.raises(ModuleNotFoundError):
        load("gamma")
    assert module.is_stale("gamma", "anything")


def test_the_distribution_of_a_kernel(installed, tmp_path):
    """A kernel is traced to the distribution that brings it, with its version; an unknown one to none."""
    folder = tmp_path / "somebody-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.2\n")
    installed(gamma="no.such.module", delta="of.nobody")
    points = module.metadata.entry_points(group=module.GROUP)
    points[0] = points[0]._for(metadata.Distribution.at(folder))
    assert [module.distribution(name) for name in ("gamma", "delta", "unheard-of")] == [
        "somebody 1.2",
        "",
        "",
    ]
    assert module.distribution("direct") == f"tunedb {metadata.version('tunedb')}"


def test_a_name_that_is_taken_is_left_aside(installed):
    """Another distribution's kernel may not take the name of one that is there: one warning says so."""
    installed(packed="somebody.packed")
    with pytest.warns(TunedbWarning, match="'packed' as tunedb.kernels.packed is: rename its entry point"):
        assert module._module("packed") == "tunedb.kernels.packed"


def test_a_kernel_that_breaks_the_protocol_is_refused(installed):
    """A module that lacks part of the protocol is refused with what it lacks."""
    installed(gamma="tunedb.kernels.shared")
    with pytest.raises(
        KernelError,
        match=r"but tunedb.kernels.shared lacks OPS, Config, space, valid, default, signature, plan",
    ):
        load("gamma")


@pytest.mark.parametrize("source", ["raise RuntimeError('no')", "def broken(:", "x = '\x00'"])
def test_a_kernel_whose_code_fails_is_refused(installed, tmp_path, monkeypatch, source):
    """Code of another distribution that fails when it is imported gives a KernelError, and its records are stale."""
    (tmp_path / "somebodys_kernel.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "somebodys_kernel", raising=False)
    installed(gamma="somebodys_kernel")
    with pytest.raises(
        KernelError, match=r"a kernel must be importable, but gamma gave \w+: .*uninstall its distribution"
    ):
        load("gamma")
    assert module.is_stale("gamma", "anything")


@pytest.mark.parametrize(
    "name", ["geometry", "shared", "os", "../errors", "tunedb.errors", "", "aten\n", "Aten", "__init__"]
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


def test_stale_is_another_hash_or_no_kernel():
    """A record is stale where its hash is not the code's, or where nobody knows its kernel."""
    assert not module.is_stale("aten", source_hash("aten"))
    assert module.is_stale("aten", "0" * 16)
    assert module.is_stale("gone", "0" * 16)


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
