"""The kernel protocol: what a module of tunedb.kernels defines, and how it is found by name."""

import ast
import functools
import hashlib
import importlib
import io
import json
import tokenize
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple, Protocol, cast

from tunedb.device import Device
from tunedb.errors import ConfigError, KernelError
from tunedb.problem import Problem

__all__ = [
    "Config",
    "Kernel",
    "Run",
    "Signature",
    "Work",
    "config_from_json",
    "config_to_json",
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
    """A module of tunedb.kernels. `torch` and `triton` are imported by it, so it is loaded on demand."""

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

    # Optional: `seeds(problem, device) -> list[Config]`: more configs that a search should try first, best known first.
    # Optional: `work(problem, config) -> Work`. Without it tunedb.predict reads the tile off the signature's
    # constexprs, which is rougher.

    def plan(
        self, problem: Problem, config: Any, launcher: Callable[[Signature], Callable[..., None]]
    ) -> Run:
        """Return run(x, weight, bias, out=None): it checks, allocates where `out` is None, launches."""


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of the installed kernels, in alphabetical order, without importing them."""
    modules = [entry for entry in files("tunedb.kernels").iterdir() if entry.name.endswith(".py")]
    defining = [entry.name for entry in modules if "\nOPS" in entry.read_text(encoding="utf-8")]
    return tuple(sorted(name.removesuffix(".py") for name in defining))


@functools.cache
def load(name: str) -> Kernel:
    """Import a kernel.

    Raises KernelError: where no kernel has that name.
    """
    if name not in names():
        raise KernelError(f"kernel must be one of {', '.join(names())}, but got {name!r}.")
    return cast("Kernel", importlib.import_module(f"tunedb.kernels.{name}"))


@functools.cache
def source_hash(name: str) -> str:
    """Return 16 hex digits that change when the code of a kernel changes, its shared parts included.

    Comments, docstrings and blank lines do not count: they change no result.
    """
    if name not in names():
        raise KernelError(f"kernel must be one of {', '.join(names())}, but got {name!r}.")
    digest = hashlib.sha256()
    todo, seen = [name], {name}
    while todo:
        source = files("tunedb.kernels").joinpath(f"{todo.pop()}.py").read_text(encoding="utf-8")
        digest.update(_bare(source).encode())
        for part in sorted(_parts(source) - seen):
            seen.add(part)
            todo.append(part)
    return digest.hexdigest()[:16]


def _parts(source: str) -> set[str]:
    """Return the modules of tunedb.kernels that a source imports from."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tunedb.kernels"):
            inner = (node.module or "").removeprefix("tunedb.kernels").strip(".")
            found |= {inner} if inner else {alias.name for alias in node.names}
    return found


def _bare(source: str) -> str:
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and body
            and ast.get_docstring(node) is not None
        ):
            for row in range(body[0].lineno, (body[0].end_lineno or body[0].lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def config_to_json(config: Any) -> str:
    """Return a config as JSON text, one key a field, in the order of its fields."""
    return json.dumps(config._asdict(), separators=(",", ":"))


def config_from_json(kernel: Kernel, text: str) -> Any:
    """Return the kernel's own config from JSON text, which is only data: nothing in it is evaluated.

    Raises ConfigError: where the text is no JSON object with exactly the kernel's fields and types.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a config must be a JSON object, but got {text[:80]!r}.") from error
    if not isinstance(given, Mapping) or set(given) != set(kernel.Config._fields):
        raise ConfigError(
            f"a config must have exactly the fields {', '.join(kernel.Config._fields)}, but got {text[:200]!r}."
        )
    for field, kind in kernel.Config.__annotations__.items():
        if type(given[field]) is not kind:
            raise ConfigError(f"{field} must be of type {kind.__name__}, but got {given[field]!r}.")
    return kernel.Config(**given)
