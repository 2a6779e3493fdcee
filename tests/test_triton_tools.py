"""The private parts of Triton's compiler, missing or changed: found missing once, and answered without or refused in words."""

import dataclasses
import os
import sys
import types

import pytest

triton = pytest.importorskip("triton")
from triton_cases import signature, twice  # noqa: E402

from tunedb import compile as compile_  # noqa: E402
from tunedb import triton_internals  # noqa: E402
from tunedb.device import by_slug  # noqa: E402
from tunedb.errors import TunedbError  # noqa: E402

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="compiles, so Triton's interpreter must be off"
)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Each test starts with no warning given."""
    monkeypatch.setattr(triton_internals, "_said", set())


def test_an_option_that_triton_does_not_know_is_seen(monkeypatch):
    """Triton leaves unknown options aside: without `arch` the code would be another generation's, which is refused."""
    from triton.backends.nvidia.compiler import CUDABackend

    parse = CUDABackend.parse_options

    def parse_without(self, options):
        return parse(self, {name: value for name, value in options.items() if name != "arch"})

    monkeypatch.setattr(CUDABackend, "parse_options", parse_without)
    with pytest.raises(TunedbError, match=r"code for sm89 needs Triton's option `arch`.*sm90"):
        compile_.compiled(signature(), by_slug("h200-sm89"))
    assert compile_.compiled(signature(), by_slug("h200")).metadata.target.arch == 90


def test_code_of_no_known_generation_is_refused():
    """Where Triton does not say of which generation the code is, an older one's is refused; the GPU's own needs no word."""
    with pytest.raises(TunedbError, match="compiled for None"):
        triton_internals.check_generation(types.SimpleNamespace(), "sm89")
    triton_internals.check_generation(types.SimpleNamespace(), None)


@pytest.mark.parametrize(("kind", "expected"), [("triton", False), ("gluon", True)])
def test_gluon_by_class(kind, expected):
    """Without is_gluon, the class of a function says in which language it is written."""
    real = type(signature(kind).fn)
    other = type("Function", (), {"__module__": real.__module__})()
    assert triton_internals.is_gluon(signature(kind).fn) is expected
    answers, said = twice(lambda: triton_internals.is_gluon(other))
    assert answers == (expected, expected)
    assert "is_gluon" in said


def test_the_interpreter_by_its_switch(monkeypatch):
    """Under another name for its class, TRITON_INTERPRET says that a function is interpreted; a compiled one never is."""
    other = type("Function", (), {})()
    assert not triton_internals.is_interpreted(other)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not triton_internals.is_interpreted(signature().fn)
    assert triton_internals.is_interpreted(type("InterpretedFunction", (), {})())
    answers, said = twice(lambda: triton_internals.is_interpreted(other))
    assert answers == (True, True)
    assert "InterpretedFunction" in said


@dataclasses.dataclass
class Compiled:
    """A compiled kernel; `asm` and `metadata` as a test wants them."""

    asm: object = dataclasses.field(default_factory=dict)
    metadata: object = None


@pytest.mark.parametrize("asm", [None, {}, {"cubin": "text"}, {"sass": b""}])
def test_without_machine_code_registers_are_unknown(asm):
    """Without the cubin, registers and spills are unknown and the rest is known."""
    kernel = Compiled(asm, types.SimpleNamespace(shared=64))
    answers, said = twice(lambda: compile_.resources(kernel))
    assert answers == ((64, None, None),) * 2
    assert "cubin" in said


@pytest.mark.parametrize("asm", [None, {}, {"ptx": b"bytes"}])
def test_without_assembly_nothing_is_refused(asm):
    """Without the PTX a kernel is taken as it is: its results are verified all the same."""
    answers, said = twice(lambda: triton_internals.assembly(Compiled(asm)))
    assert answers == (None, None)
    assert "ptx" in said
    compile_.check_assembly(None)


def test_without_metadata_shared_memory_is_unknown(monkeypatch):
    """Without its number, shared memory is unknown, and the candidate counts as one that fits."""
    monkeypatch.setattr(compile_, "_usage", lambda _: (40, 0))
    answers, said = twice(lambda: compile_.resources(Compiled({"cubin": b"code"})))
    assert answers == ((None, 40, 0),) * 2
    assert "shared" in said
    assert compile_._judged(answers[0], by_slug("4090")).status == "ok"


def test_cuobjdump_on_path(monkeypatch):
    """Without Triton's knobs the tool is looked for on PATH; a wheel without the tool lacks no name."""
    monkeypatch.setattr(triton_internals.shutil, "which", lambda name: f"/somewhere/{name}")
    with monkeypatch.context() as patch:
        patch.delattr(triton, "knobs")
        patch.setitem(sys.modules, "triton.knobs", None)
        answers, said = twice(triton_internals.cuobjdump)
    assert answers == ("/somewhere/cuobjdump",) * 2
    assert "knobs" in said

    class Knobs:
        @property
        def nvidia(self):
            raise RuntimeError("Cannot find cuobjdump")

    monkeypatch.setattr(triton, "knobs", Knobs())
    assert triton_internals.cuobjdump() == "/somewhere/cuobjdump"


def raised(module, error):
    """Raise an error in a function of a module by that name, and return it."""
    space = {"__name__": module, "error": error}
    exec("def fail():\n    raise error", space)
    try:
        space["fail"]()
    except Exception as found:  # noqa: BLE001
        return found


@pytest.mark.parametrize("module", ["triton.backends.nvidia.compiler", "triton.compiler.compiler"])
@pytest.mark.parametrize("error", [RuntimeError("pipeline failed"), IndexError("out of range")])
def test_failed_passes_with_other_words(module, error):
    """Where a failed pass says other words, the compiler's module that raised it tells what failed."""
    answers, said = twice(lambda: compile_.failure(raised(module, error)).status)
    assert answers == ("compile-error",) * 2
    assert "PassManager" in said


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("triton.backends.nvidia.driver", RuntimeError("Triton Error [CUDA]: invalid argument")),
        ("triton.runtime.driver", RuntimeError("0 active drivers")),
        ("tunedb.kernels.direct.launch", RuntimeError("shapes do not match")),
        ("tunedb.kernels.direct.launch", IndexError("list index out of range")),
        ("triton.compiler.compiler", TypeError("missing argument")),
    ],
)
def test_other_errors_are_no_failed_passes(module, error):
    """An error of the driver, of a kernel's own code or of another class is not the compiler's."""
    assert compile_.failure(raised(module, error)) is None


def test_known_failures():
    """Triton's own classes and today's words need no traceback and no warning."""
    from triton.runtime.errors import OutOfResources, PTXASError

    statuses = [
        compile_.failure(error).status
        for error in (
            OutOfResources(3, 2, "shared memory"), PTXASError("no"), triton.CompilationError("src", None, "no"),
            RuntimeError("PassManager::run failed"), IndexError("map::at"),
        )
    ]  # fmt: skip
    assert statuses == ["out-of-resources", *["compile-error"] * 4]
    assert compile_.failure(IndexError("PassManager")) is None


def test_a_function_without_python_code_is_refused():
    """Only what triton.jit made can be made again."""
    assert triton_internals.python_function(signature().fn).__name__ == signature().fn.__name__
    with pytest.raises(TunedbError, match=r"must be a function of triton\.jit"):
        triton_internals.python_function(object())
