"""Each private name of Triton, missing or changed: said once, and answered by Triton's public launch or refused in words."""

import inspect
import os
import re
import tomllib
import types
import warnings
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.backends.nvidia.driver import CudaLauncher as RealLauncher  # noqa: E402
from triton_cases import only_warning, signature, twice  # noqa: E402

from tunedb import compile as compile_  # noqa: E402
from tunedb import device, launch, triton_internals  # noqa: E402
from tunedb.device import by_slug  # noqa: E402
from tunedb.errors import DeviceError, TunedbError  # noqa: E402
from tunedb.launch import launcher  # noqa: E402

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="compiles, so Triton's interpreter must be off"
)
INDEX = 7  # of a GPU that no other test uses: jitted functions remember what GPU has which index


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Each test starts with no warning given."""
    monkeypatch.setattr(triton_internals, "_said", set())


def test_the_bound_is_that_of_pip():
    """The versions that run by the tested launch are those that pip installs."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    (asked,) = (one for one in project["dependencies"] if one.startswith("triton"))
    low, high = (".".join(map(str, bound)) for bound in triton_internals.TESTED)
    assert asked.split(";")[0].strip() == f"triton>={low},<{high}"


def test_this_version_is_tested():
    """The installed Triton is within the bound, and is the one that `make test-oldest` asks for."""
    assert triton.__version__ == os.environ.get("TUNEDB_EXPECT_TRITON", triton.__version__)
    assert triton_internals.is_tested()


@pytest.mark.parametrize("version", ["3.5.1", "3.8.0", "4.0", "2.1.0", "nonsense"])
def test_another_version_is_not(monkeypatch, version):
    """Outside the bound Triton is untested; a warning names the bound and the version, once."""
    monkeypatch.setattr(triton, "__version__", version)
    answers, said = twice(triton_internals.is_tested)
    assert answers == (False, False)
    assert version in said
    assert ">=3.6,<3.8" in said


@pytest.mark.parametrize("version", ["3.6.0", "3.7.1", "3.7.9+git1234"])
def test_bugfixes_are_tested(monkeypatch, version):
    """Any release of a tested minor version counts as tested."""
    monkeypatch.setattr(triton, "__version__", version)
    assert triton_internals.is_tested()


def test_the_real_launcher_is_known():
    """The launcher of the Triton that is installed has the arguments that are passed to it by position."""
    assert triton_internals._is_known_launcher(object.__new__(RealLauncher))
    # Its source passes on what it is given: grid, stream and function, then metadata and hooks, then arguments.
    source = inspect.getsource(RealLauncher.__call__)
    assert re.search(r"self\.launch\(gridX, gridY, gridZ, stream, function,", source)


class Gpu:
    """A driver of Triton's for an H200 that is not there. It notes launches: grid, stream, function, metadata, arguments."""

    def __init__(self):
        self.launches, self.kernels = [], []
        gpu = self

        class CudaLauncher:
            def __init__(self, src, metadata):
                gpu.kernels.append((src, metadata))

            def __call__(
                self, gridX, gridY, gridZ, stream, function,
                kernel_metadata, launch_metadata, launch_enter_hook, launch_exit_hook, *args,
            ):  # fmt: skip
                gpu.launches.append((gridX, gridY, gridZ, stream, function, kernel_metadata, args))
                gpu.hooks = launch_metadata, launch_enter_hook, launch_exit_hook

        self.launcher_cls = CudaLauncher
        self.utils = types.SimpleNamespace(
            load_binary=lambda _name, code, _shared, _device: (1, hash(code), 32, 0, 1024),
            get_device_properties=lambda _: {"max_shared_mem": 232448},
        )

    def get_current_device(self):
        return INDEX

    def get_current_stream(self, _index):
        return 900

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


@pytest.fixture
def gpu(monkeypatch):
    found = Gpu()
    monkeypatch.setattr(triton.runtime.driver, "_active", found)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: INDEX)
    monkeypatch.setattr(device, "current", lambda _: by_slug("h200"))
    monkeypatch.setattr(launch, "raw_stream", lambda _: 900)
    monkeypatch.setattr(launch, "_handles", {})
    launch._unspecialized.cache_clear()
    return found


TENSORS = [torch.zeros(64) for _ in range(4)]  # x, weight, bias, out


def tensors(one):
    kinds = {"fp32": torch.float32, "fp16": torch.float16}
    return [
        tensor.to(kinds.get(one.types[name].lstrip("*"), torch.float32))
        for tensor, name in zip(TENSORS, launch.POINTERS, strict=True)
    ]


def launched(gpu, one, given, arch=None):
    """Launch, and return what the driver was given, addresses for tensors, but None for what is compiled in."""
    gpu.launches.clear()
    launcher(one, arch)(*given)
    ((*facts, arguments),) = gpu.launches
    assert len(arguments) == len(one.types)
    plain = [value.data_ptr() if isinstance(value, torch.Tensor) else value for value in arguments]
    return facts, [
        None if kind == "constexpr" else value for value, kind in zip(plain, one.types.values(), strict=True)
    ]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("kind", ["triton", "gluon", "no weight"])
def test_the_public_launch_is_the_same(gpu, monkeypatch, kind, n):
    """Launched by fn[grid](...), a kernel has the same machine code, grid, stream and arguments as by its own launcher."""
    one = signature(kind, n)
    given = tensors(one)
    expected = launched(gpu, one, given)
    (source, _), options = gpu.kernels[-1], {"num_warps": one.num_warps, "num_stages": one.num_stages}
    monkeypatch.setattr(triton, "__version__", "3.99.0")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = launched(gpu, one, given)
        assert launched(gpu, one, given) == found
    assert "3.99.0" in only_warning(said)
    assert found == expected  # the function is the hash of the machine code
    public, metadata = gpu.kernels[-1]
    assert public is not source
    assert {name: getattr(metadata, name) for name in options} == options
    assert list(public.signature.values()) == list(one.types.values())


def changed(gpu, wrong):
    """Make the launcher, or the handle, another one than is known."""
    known = gpu.launcher_cls

    class Renamed(known):
        pass

    class CudaLauncher(known):
        def __call__(self, grid, stream, function, *args):
            if len(grid) != 3:  # what wrong arguments would come to
                raise AssertionError(grid)
            super().__call__(*grid, stream, function, None, None, None, None, *args)

    gpu.launcher_cls = {"class": Renamed, "arguments": CudaLauncher}[wrong]


@pytest.mark.parametrize("wrong", ["class", "arguments", "run", "function", "packed_metadata"])
def test_an_unknown_launcher_is_not_called(gpu, monkeypatch, wrong):
    """Where the launcher, its arguments or a part of the handle changed, nothing is passed by position: fn[grid] launches."""
    one = signature()
    calls = []
    if wrong in {"class", "arguments"}:
        changed(gpu, wrong)
    else:
        real = launch._handle
        parts = [name for name in ("run", "function", "packed_metadata") if name != wrong]

        def handle(*given):
            whole = real(*given)
            return types.SimpleNamespace(**{name: getattr(whole, name) for name in parts})

        monkeypatch.setattr(launch, "_handle", handle)
    monkeypatch.setattr(type(one.fn), "__getitem__", lambda _, grid: lambda *given, **options: calls.append((grid, given, options)))  # fmt: skip
    given = tensors(one)
    _, said = twice(lambda: launcher(one)(*given))
    assert "CudaLauncher" in said
    assert not gpu.launches
    grid, arguments, options = calls[0]
    assert grid == one.grid
    assert all(a is b for a, b in zip(arguments, given, strict=False))
    assert options == {"num_warps": one.num_warps, "num_stages": one.num_stages}
    assert calls[1][0] == grid


TOOLS = {
    "compile": ("triton", "triton"),
    "ASTSource": ("triton.compiler", "triton"),
    "GPUTarget": ("triton.backends.compiler", "triton"),
    "GluonASTSource": ("triton.experimental.gluon._runtime", "gluon"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_without_the_compilers_parts(gpu, monkeypatch, name):
    """Where a part of the compiler is missing, a launch is Triton's public one, and compiling ahead is refused in words."""
    owner, kind = TOOLS[name]
    one = signature(kind)
    given = tensors(one)
    expected = launched(gpu, one, given)
    launch.clear()
    with monkeypatch.context() as patch:
        find = triton_internals._find
        patch.setattr(triton_internals, "_find", lambda module, asked: None if (module, asked) == (owner, name) else find(module, asked))  # fmt: skip
        answers, said = twice(lambda: launched(gpu, one, given))
        assert answers == (expected, expected)
        assert name in said
        with pytest.raises(TunedbError, match="install a Triton that tunedb is tested with"):
            compile_.compiled(one, by_slug("4090"))


def test_missing_names_are_found_missing():
    """A name that a module does not define, and a module that is not there, are None."""
    assert triton_internals._find("triton", "no_such_name") is None
    assert triton_internals._find("triton.no_such_module", "name") is None
    assert triton_internals._find("triton", "compile") is triton.compile


def test_older_code_by_the_public_launch(gpu, monkeypatch):
    """The public launch runs an older generation's code where it is asked to, and refuses a generation that is none."""
    monkeypatch.setattr(triton, "__version__", "3.99.0")
    one = signature()
    given = tensors(one)
    (own, older), _ = twice(lambda: launched(gpu, one, given, "sm89" if gpu.launches else None))
    assert own[1] == older[1]
    assert gpu.kernels[-1][1].arch == "sm89"
    assert gpu.kernels[0][1].arch == "sm90"
    with pytest.raises(DeviceError, match="arch must be an older generation"):
        launcher(one, "sm90")
