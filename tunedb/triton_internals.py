"""Every private name of Triton that tunedb uses, each with a check and with what answers where Triton lacks the name.

Triton is imported at first use only: `import tunedb` works without it. Where a name is missing, or where the installed
Triton is outside TESTED, kernels are launched by `fn[grid](...)`, Triton's public way: right, but at twice the host time.
What has no public way is refused in words: compiling for a GPU that is not there, and code of an older generation.
The first use of such an answer gives one TunedbWarning for each name.
"""

import inspect
import os
import re
import shutil
import warnings
from collections.abc import Callable
from traceback import walk_tb
from typing import Any, NamedTuple, TypeVar

from tunedb.errors import TunedbError, TunedbWarning

__all__ = [
    "TESTED",
    "DirectLaunch",
    "Toolchain",
    "ask_shared",
    "assembly",
    "check_generation",
    "cuobjdump",
    "direct_launch",
    "is_compiler_failure",
    "is_gluon",
    "is_interpreted",
    "is_out_of_resources",
    "is_tested",
    "machine_code",
    "pass_failed",
    "python_function",
    "shared_bytes",
    "toolchain",
]

# The versions whose launch arguments and compiler interface are tested: from the first on, before the last.
# pyproject.toml states the same bound to pip (tests/test_triton_internals.py compares them).
TESTED = ((3, 6), (3, 8))

# The arguments of CudaLauncher.__call__ in Triton 3.7, and in 3.6, whose launcher takes the same ones in C.
LAUNCH_ARGUMENTS = (
    (
        "gridX", "gridY", "gridZ", "stream", "function",
        "kernel_metadata", "launch_metadata", "launch_enter_hook", "launch_exit_hook", "args",
    ),
    ("gridX", "gridY", "gridZ", "stream", "function", "args"),
)  # fmt: skip

T = TypeVar("T")
PUBLIC_LAUNCH = "Kernels are launched by fn[grid](...) in its place, at about twice the host time"

_said: set[str] = set()


def _version() -> str:
    import triton

    return str(getattr(triton, "__version__", "of an unknown version"))


def _say(name: str, cost: str) -> None:
    """Warn once of a missing name, and of what it costs."""
    if name not in _said:
        _said.add(name)
        (low, high) = (".".join(map(str, bound)) for bound in TESTED)
        warnings.warn(
            f"tunedb needs {name}, which Triton {_version()} lacks or defines otherwise. {cost}. "
            f"Install a Triton that tunedb is tested with: triton>={low},<{high}.",
            TunedbWarning,
            stacklevel=3,
        )


def is_tested() -> bool:
    """Return whether the installed Triton is of a version that tunedb is tested with; warn once where it is not."""
    found = re.match(r"(\d+)\.(\d+)", _version())
    if found and TESTED[0] <= (int(found[1]), int(found[2])) < TESTED[1]:
        return True
    _say("a tested version of Triton", PUBLIC_LAUNCH)
    return False


class DirectLaunch(NamedTuple):
    """run(grid x, y, z, stream, *head, *arguments) launches a loaded kernel."""

    run: Callable[..., None]
    head: tuple[Any, ...]  # the loaded function, metadata, and no hooks


def direct_launch(kernel: Any) -> DirectLaunch | None:
    """Return the launcher of a CompiledKernel, loaded on the current device; None where it is not the one that is known.

    Its arguments go by position, and wrong ones would be read without an error: the version, the class of the launcher and
    the names of its arguments must all be those that are tested.
    Raises what Triton raises where the kernel cannot be loaded.
    """
    if not is_tested():
        return None
    run = getattr(kernel, "run", None)  # the first read loads the kernel
    function, metadata = getattr(kernel, "function", None), getattr(kernel, "packed_metadata", None)
    if type(function) is int and metadata is not None and _is_known_launcher(run):
        assert run is not None
        return _compiled_launch(run, function, metadata) or DirectLaunch(
            run, (function, metadata, None, None, None)
        )
    _say("triton.backends.nvidia.driver.CudaLauncher with the arguments of Triton 3.6 or 3.7", PUBLIC_LAUNCH)
    return None


def _compiled_launch(run: Any, function: int, metadata: Any) -> DirectLaunch | None:
    """Return what Triton 3.6's launcher calls in the end: compiled for the kernel's arguments, a microsecond of Python less.

    None for other versions, and for a kernel that needs scratch memory, which the launcher allocates.
    """
    names = tuple(inspect.signature(type(run).__call__).parameters)[1:]
    scratch = [getattr(run, f"{name}_scratch_size", None) for name in ("global", "profile")]
    launch = getattr(run, "launch", None)
    options = (getattr(run, "launch_cooperative_grid", None), getattr(run, "launch_pdl", None))
    if names != LAUNCH_ARGUMENTS[1] or scratch != [0, 0] or not inspect.isbuiltin(launch) or None in options:
        return None
    return DirectLaunch(launch, (function, *options, None, None, metadata, None, None, None))


def _is_known_launcher(run: object) -> bool:
    try:
        names = tuple(inspect.signature(type(run).__call__).parameters)[1:]
    except (TypeError, ValueError):
        return False
    return type(run).__name__ == "CudaLauncher" and names in LAUNCH_ARGUMENTS


class Toolchain(NamedTuple):
    """What compiles a kernel for a GPU that need not be there."""

    compile: Callable[..., Any]
    source: Callable[..., Any]  # of the kernel's language
    target: Callable[..., Any]


def toolchain(fn: Any) -> Toolchain | None:
    """Return what compiles this function; None where Triton lacks a part of it."""
    if is_gluon(fn):
        source = _find("triton.experimental.gluon._runtime", "GluonASTSource")
    else:
        source = _find("triton.compiler", "ASTSource")
    found = (_find("triton", "compile"), source, _find("triton.backends.compiler", "GPUTarget"))
    if None in found:
        names = (
            "triton.compile, triton.compiler.ASTSource, GluonASTSource and triton.backends.compiler.GPUTarget"
        )
        _say(names, f"Nothing is compiled for a GPU that is not there. {PUBLIC_LAUNCH}")
        return None
    return Toolchain(*found)


def _find(module: str, name: str) -> Any:
    """Return what a module defines by that name, or None."""
    import importlib

    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def check_generation(kernel: Any, arch: str | None) -> None:
    """Check that a compiled kernel is of the generation that was asked for ("sm89"), None for the GPU's own.

    Triton leaves options aside that it does not know: without `arch`, the code would be another generation's.
    Raises TunedbError: where it is another's or does not say.
    """
    found = getattr(getattr(kernel, "metadata", None), "arch", None)
    if arch is not None and found != arch:
        raise TunedbError(
            f"code for {arch} needs Triton's option `arch`, but Triton {_version()} compiled for {found}: "
            "leave the older generation out, or install a Triton that tunedb is tested with."
        )


def is_gluon(fn: Any) -> bool:
    """Return whether a jitted function is written in Gluon."""
    method = getattr(fn, "is_gluon", None)
    if method is not None:
        return bool(method())
    _say("triton.JITFunction.is_gluon", "The function's class is asked in its place, which costs no time")
    return type(fn).__module__.startswith("triton.experimental.gluon")


def is_interpreted(fn: Any) -> bool:
    """Return whether Triton's interpreter runs a jitted function."""
    classes = {kind.__name__ for kind in type(fn).__mro__}
    if not classes.isdisjoint({"InterpretedFunction", "JITFunction"}):
        return "InterpretedFunction" in classes
    if os.environ.get("TRITON_INTERPRET", "").lower() not in {"1", "true", "yes", "on", "y"}:
        return False
    _say("InterpretedFunction", "TRITON_INTERPRET is asked in its place, which costs no time")
    return True


def python_function(fn: Any) -> Callable[..., Any]:
    """Return the Python function that a jitted one was made of."""
    found = getattr(fn, "fn", None) or getattr(fn, "__wrapped__", None)
    if found is None:
        raise TunedbError(
            f"a kernel must be a function of triton.jit, but {fn!r} says no Python function: install a Triton that tunedb is tested with."
        )
    return found  # type: ignore[no-any-return]


def machine_code(kernel: Any) -> bytes | None:
    """Return the cubin of a compiled kernel, or None where Triton does not say: registers and spills are then unknown."""
    return _stage(kernel, "cubin", bytes, "Registers and spills stay unknown: a candidate that spills is timed too")  # fmt: skip


def assembly(kernel: Any) -> str | None:
    """Return the PTX of a compiled kernel, or None where Triton does not say."""
    return _stage(kernel, "ptx", str, "What ptxas is known to assemble wrongly shows only when a result is verified")  # fmt: skip


def _stage(kernel: Any, name: str, kind: type[T], consequence: str) -> T | None:
    code = asm.get(name) if isinstance(asm := getattr(kernel, "asm", None), dict) else None
    if not isinstance(code, kind):
        _say(f'CompiledKernel.asm["{name}"]', consequence)
    return code if isinstance(code, kind) else None


def shared_bytes(kernel: Any) -> int | None:
    """Return the bytes of shared memory that a block of a compiled kernel takes, or None where Triton does not say."""
    found = getattr(getattr(kernel, "metadata", None), "shared", None)
    if not isinstance(found, int):
        _say("CompiledKernel.metadata.shared", "A candidate that takes too much fails only when it is loaded")
    return found if isinstance(found, int) else None


def ask_shared(kernel: Any, size: int) -> None:
    """Let every block of a CompiledKernel that is not loaded yet take so many bytes of shared memory, more than it uses.

    Raises TunedbError: where the installed Triton does not say how a launch asks for them.
    """
    packed, known = getattr(kernel, "packed_metadata", None), getattr(kernel, "metadata", None)
    if known is None or packed != (known.num_warps, known.num_ctas, known.shared):
        raise TunedbError("a launch must say how much shared memory it asks for: install a Triton that tunedb is tested with.")  # fmt: skip
    kernel.metadata, kernel.packed_metadata = known._replace(shared=size), (*packed[:2], size)


def cuobjdump() -> str | None:
    """Return the path of cuobjdump, of Triton's wheel or on PATH; None where there is none."""
    try:
        from triton import knobs

        return str(knobs.nvidia.cuobjdump.path)
    except RuntimeError:  # this wheel comes without it
        return shutil.which("cuobjdump")
    except (ImportError, AttributeError):
        _say("triton.knobs.nvidia.cuobjdump", "The cuobjdump on PATH is used in its place, if there is one")
        return shutil.which("cuobjdump")


def is_out_of_resources(error: BaseException) -> bool:
    """Return whether Triton found that a kernel takes more than a GPU has."""
    return "OutOfResources" in _names(error)


def is_compiler_failure(error: BaseException) -> bool:
    """Return whether Triton failed to compile a kernel.

    It wraps what goes wrong in a kernel's Python in a TritonError. What its C++ passes throw arrives as RuntimeError
    ("PassManager::run failed") or IndexError ("map::at").
    """
    if not {"TritonError", "CompilationError", "PTXASError"}.isdisjoint(_names(error)):
        return True
    if pass_failed(str(error)) and isinstance(error, RuntimeError):
        return True
    if not isinstance(error, RuntimeError | IndexError):
        return False
    if isinstance(error, IndexError) and "map::at" in str(error):
        return True
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    raised_in = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    if re.match(r"triton\.(compiler\.|backends\.\w+\.compiler$)", raised_in):
        _say(
            '"PassManager" or "map::at" in the error of a failed pass',
            f"The module that raised it ({raised_in}) says that the compiler failed, which costs no time",
        )
        return True
    return False


def pass_failed(text: str) -> bool:
    """Return whether a message is that of a failed pass of MLIR: its reason was printed and is not in it."""
    return "PassManager" in text


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
