"""The kernel protocol: what a module of tunedb.kernels, or of another distribution, defines, and how it is found by name."""

import functools
import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.resources import files
from typing import Any, NamedTuple, Protocol, cast

from tunedb.device import Device
from tunedb.errors import ConfigError, KernelError, TunedbWarning
from tunedb.kernel_hash import code_hash
from tunedb.problem import Problem

__all__ = [
    "Config",
    "Kernel",
    "Run",
    "Signature",
    "Work",
    "config_from_json",
    "config_to_json",
    "distribution",
    "is_stale",
    "load",
    "names",
    "source_hash",
]

Config = tuple[Any, ...]  # in fact the kernel's own NamedTuple of ints and strings


class Signature(NamedTuple):
    """What Triton needs to compile a kernel with no GPU, and to launch it with one.

    `types` names every argument in order: "*fp32", "i32" or "constexpr". `aligned` are the arguments that
    the compiled code takes to be divisible by 16 (pointers in bytes, integers by value).
    `grid` has three entries, all at least 1; `scalars` are the run-time integers in argument order.
    """

    fn: Any
    types: dict[str, str]
    constexprs: dict[str, Any]
    aligned: tuple[str, ...]
    scalars: tuple[int, ...]
    grid: tuple[int, int, int]
    num_warps: int
    num_stages: int

    @property
    def code(self) -> tuple[Any, ...]:
        """What machine code depends on, the kernel's name first: launches that share it differ in grid and run-time integers only."""
        name = getattr(self.fn, "__name__", None) or repr(self.fn)  # the interpreter's functions have none
        return (
            name, tuple(self.types.items()), tuple(self.constexprs.items()), self.aligned, self.num_warps, self.num_stages,
        )  # fmt: skip


class Work(NamedTuple):
    """What the average program of a launch does, as executed: padding, masked taps and re-reads count.

    The input of the time model (tunedb.predict). Bytes count whole 32-byte sectors: a float32 store of every
    second element of a row stores twice its bytes, unless a neighbour in the same program fills the gaps.
    """

    flops: int  # a multiply-add is two; three products for each of tf32x3
    unit: str  # what does them: "tensor" (tf32 for float32 operands) or "fma" (CUDA cores, ieee products of float32 too)
    loaded: int  # bytes that it asks of L2: activations and weights, again for every tap where L1 cannot keep them
    stored: int  # bytes that it writes
    k_steps: int  # iterations of the loop that loads, each waiting for memory unless stages or warps hide it
    launches: int = 1  # two where a pass packs the input or adds parts of sums: its bytes are in those above


Run = Callable[..., Any]  # run(x, weight, bias, out=None) -> out: torch tensors, x in the problem's layout


class Kernel(Protocol):
    """A kernel's module. `torch` and `triton` are imported by it, so it is loaded on demand."""

    OPS: tuple[str, ...]
    Config: Any  # a NamedTuple class with two or more fields of int or str

    def space(self, problem: Problem, device: Device) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
        """Return the values worth trying for each field of Config; empty where the kernel does not apply."""

    def valid(self, problem: Problem, config: Any, device: Device) -> str:
        """Return why the config cannot solve the problem on the device, or an empty string if it can."""

    def default(self, problem: Problem, device: Device) -> Any:
        """Return a config that is right everywhere and reasonable, or None where the kernel does not apply."""

    def signature(self, problem: Problem, config: Any) -> Signature | None:
        """Return what Triton needs to compile it; None for a kernel that Triton does not compile."""

    # Optional:
    # `seeds(problem, device) -> list[Config]`: more configs that a search should try first, best known first.
    # `work(problem, config) -> Work`: without it the time model reads the tile off the signature's constexprs, which is rougher.
    # `ONE_LAYOUT = True`: plan packs a weight in one Layout whatever the batch and extents, so that those of other lengths take it.
    # `EAGER_FROM_US: float`: what takes less runs in CUDA graphs only, since the host takes longer for its launches.
    # `UNRANKED_ON: tuple[int, ...]`: compute capabilities for which the time model predicts too short times.
    # `UNPREDICTED: dict[str, int | str]`: fields that the time model cannot judge, with the value that a search without a GPU
    # holds them to.

    def plan(
        self, problem: Problem, config: Any, launcher: Callable[[Signature], Callable[..., None]]
    ) -> Run:
        """Return run(x, weight, bias, out=None): it checks, allocates where `out` is None, launches."""


PROTOCOL = ("OPS", "Config", "space", "valid", "default", "signature", "plan")
GROUP = "tunedb.kernels"  # of entry points, by which another distribution brings kernels: name = "its.module"
SHARED = "shared"  # the one package of tunedb.kernels that is no kernel


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of the installed kernels, in alphabetical order, without importing them."""
    return tuple(sorted(_modules()))


@functools.cache
def load(name: str) -> Kernel:
    """Import a kernel.

    Raises KernelError: where no kernel has that name, where its code fails, or where it breaks the protocol. Raises
    ImportError: where something that it needs is missing, such as Triton.
    """
    try:
        module = importlib.import_module(_module(name))
    except (ImportError, KernelError):
        raise
    except Exception as error:  # code of another distribution: it must not end an inference
        raise KernelError(
            f"a kernel must be importable, but {name} gave {type(error).__name__}: {error}: mend it or uninstall its distribution."
        ) from error
    if missing := [part for part in PROTOCOL if not hasattr(module, part)]:
        raise KernelError(
            f"a kernel must define {', '.join(PROTOCOL)}, but {module.__name__} lacks {', '.join(missing)}: "
            "add them or uninstall its distribution."
        )
    return cast("Kernel", module)


@functools.cache
def source_hash(name: str) -> str:
    """Return 16 hex digits that change when the code of a kernel changes (tunedb.kernel_hash says which counts).

    Raises KernelError: where no kernel has that name.
    """
    return code_hash(_module(name))


@functools.cache
def distribution(name: str) -> str:
    """Return name and version of the distribution that a kernel comes from ("tunedb 0.1.0"); empty where none is known."""
    module = _modules().get(name)
    if module is None:
        return ""
    for point in metadata.entry_points(group=GROUP):
        if (point.name, point.value) == (name, module):
            return "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    try:
        return f"tunedb {metadata.version('tunedb')}"
    except metadata.PackageNotFoundError:
        return ""


def is_stale(name: str, code: str) -> bool:
    """Return whether a hash is not that of the kernel's code, because that changed or is not installed."""
    try:
        return source_hash(name) != code
    except (
        KernelError,
        ImportError,
        OSError,
        SyntaxError,
        ValueError,
    ):  # the last three: a source that cannot be read
        return True


def _module(name: str) -> str:
    found = _modules().get(name)
    if found is None:
        raise KernelError(f"kernel must be one of {', '.join(names())}, but got {name!r}.")
    return found


@functools.cache
def _modules() -> dict[str, str]:
    """Return the full name of each kernel's module or package: tunedb's own, and those of other distributions."""
    found = {}
    for entry in files("tunedb.kernels").iterdir():
        name = entry.name.removesuffix(".py")
        is_kernel = name != entry.name or entry.joinpath("__init__.py").is_file()
        if is_kernel and name not in {SHARED, "__init__"}:
            found[name] = f"tunedb.kernels.{name}"
    for point in metadata.entry_points(group=GROUP):
        if point.name in found:
            warnings.warn(
                f"A kernel of another distribution must have a name of its own, but {point.value} is called {point.name!r} "
                f"as {found[point.name]} is: rename its entry point. It is left aside.",
                TunedbWarning,
                stacklevel=2,
            )
        else:
            found[point.name] = point.value
    return found


def config_to_json(config: Any) -> str:
    """Return a config as JSON text, one key a field, in the order of its fields."""
    return json.dumps(config._asdict(), separators=(",", ":"))


def config_from_json(kernel: Kernel, text: str) -> Any:
    """Return the kernel's own config from JSON text, which is only data: nothing in it is evaluated.

    Raises ConfigError: where the text is no JSON object with exactly the kernel's fields and types.
    """
    return _config_from_json(kernel.Config, text)


@functools.lru_cache(4096)  # the record of a layer answers for each of its lengths
def _config_from_json(kind: Any, text: str) -> Any:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a config must be a JSON object, but got {text[:80]!r}.") from error
    if not isinstance(given, Mapping) or set(given) != set(kind._fields):
        raise ConfigError(
            f"a config must have exactly the fields {', '.join(kind._fields)}, but got {text[:200]!r}."
        )
    for field, type_ in kind.__annotations__.items():
        if type(given[field]) is not type_:
            raise ConfigError(f"{field} must be of type {type_.__name__}, but got {given[field]!r}.")
    return kind(**given)
