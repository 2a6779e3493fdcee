"""Compile a candidate for a GPU that need not be there, and read what it takes."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tunedb.device import Device
from tunedb.device.assembler import flaw
from tunedb.device.occupancy import padded_shared
from tunedb.errors import ConfigError, TunedbError
from tunedb.kernel import Kernel, Signature, config_from_json, load
from tunedb.problem import Problem
from tunedb.record import Measurement
from tunedb.triton_internals import (
    ask_shared,
    assembly,
    check_generation,
    cuobjdump,
    is_compiler_failure,
    is_out_of_resources,
    machine_code,
    pass_failed,
    shared_bytes,
    toolchain,
)

__all__ = [
    "SPILL_LIMIT",
    "MiscompiledError",
    "Resources",
    "cap_blocks",
    "check_assembly",
    "compile_candidate",
    "compiled",
    "failure",
    "passes",
    "resources",
    "telling_line",
]

# A candidate that keeps more bytes of local memory a thread is not timed. A few words spilled outside the loop cost no
# time that can be measured; 256 bytes are 64 registers, which are spilled inside the loop.
SPILL_LIMIT = 256


class MiscompiledError(TunedbError):
    """The machine code of a kernel would be wrong: it is not launched."""


class Resources(NamedTuple):
    """What a compiled kernel takes; None where it is unknown."""

    shared: int | None  # bytes a block, static and dynamic
    registers: int | None  # a thread
    spills: int | None  # bytes of local memory a thread: stack frame and local arrays


def compiled(signature: Signature, device: Device) -> Any:
    """Return triton's CompiledKernel, from its on-disk cache where it has been compiled before.

    The processes that compile ahead and the one that launches all compile through this function, so that the launch finds
    in the cache what was compiled ahead.
    For a device of `as_arch` Triton generates the older generation's code (no wgmma, no TMA), and ptxas assembles it
    for the GPU itself: machine code of sm_89 would not load on sm_90.
    Raises TunedbError: where the installed Triton cannot compile for a GPU that is not there, or not for that generation.
    MiscompiledError: where the code is known to become wrong machine code.
    """
    tools = toolchain(signature.fn)
    if tools is None:
        raise TunedbError(
            f"compiling for {device.slug} without its GPU needs parts of Triton that the installed version lacks: "
            "install a Triton that tunedb is tested with (pyproject.toml)."
        )
    # Both dicts are in the order of the arguments, because their text is part of the cache's key.
    position = {name: (index,) for index, name in enumerate(signature.types)}
    source = tools.source(
        signature.fn,
        signature=dict(signature.types),
        constexprs={
            path: signature.constexprs[name]
            for name, path in position.items()
            if name in signature.constexprs
        },
        attrs={
            path: [["tt.divisibility", 16]] for name, path in position.items() if name in signature.aligned
        },
    )
    options: dict[str, Any] = {"num_warps": signature.num_warps, "num_stages": signature.num_stages}
    if device.arch is not None:
        options["arch"] = device.arch
    target = tools.target("cuda", device.own_capability or device.capability, 32)
    kernel = tools.compile(source, target=target, options=options)
    check_generation(kernel, device.arch)
    check_assembly(assembly(kernel))
    return kernel


def check_assembly(ptx: str | None) -> None:
    """Check that nothing is known against a kernel's PTX (tunedb.device.assembler). None, where Triton does not say, passes.

    Raises MiscompiledError: where its machine code would be wrong.
    """
    if ptx is not None and (why := flaw(ptx)):
        raise MiscompiledError(
            f"machine code must be right, but this code would not be: {why}. Take another config."
        )


def resources(kernel: Any) -> Resources:
    """Read what a CompiledKernel takes from its metadata and from its machine code."""
    code = machine_code(kernel)
    registers, spills = (None, None) if code is None else _usage(code)
    return Resources(shared_bytes(kernel), registers, spills)


def cap_blocks(kernel: Any, num_warps: int, device: Device, gpu: Device) -> None:
    """Make a CompiledKernel that is not loaded yet ask for so much shared memory that `gpu` holds no more of its blocks than `device`."""
    needs = resources(kernel)
    bytes_asked = padded_shared(num_warps, needs.shared, needs.registers, device, gpu)
    if needs.shared is not None and bytes_asked > needs.shared:
        ask_shared(kernel, bytes_asked)


def compile_candidate(kernel: str, problem: Problem, config: str, device: Device) -> Measurement:
    """Compile one config for a device, all that a plan of it launches; no GPU is touched.

    Call it in a process of a pool: while it works, nothing that the process prints appears, and a bug in LLVM may end
    the process.
    """
    module = load(kernel)
    try:
        parsed = config_from_json(module, config)
    except ConfigError as error:
        return Measurement("invalid", detail=str(error))
    if reason := module.valid(problem, parsed, device):
        return Measurement("invalid", detail=reason)
    signature = module.signature(problem, parsed)
    if signature is None:
        return Measurement("ok")
    with _output_caught() as noise:
        try:
            needs = resources(compiled(signature, device))
            for other in passes(module, problem, parsed):
                compiled(other, device)
        except Exception as error:
            failed = failure(error)
            if failed is None:
                raise
            return failed._replace(detail=_with_diagnostic(failed.detail, noise))
    return _judged(needs, device)


def passes(module: Kernel, problem: Problem, config: Any) -> list[Signature]:
    """Return what a plan launches beside its main kernel: passes over input and output, the sum of parts.

    Without this the one process that uses the GPU would compile them, one after the other.
    """
    found: list[Signature] = []

    def launcher(signature: Signature) -> Callable[..., None]:
        found.append(signature)
        return lambda *_: None

    main = module.signature(problem, config)
    with contextlib.suppress(Exception):  # a plan that needs the GPU itself compiles there
        module.plan(problem, config, launcher)
    return [one for one in found if one != main]


def failure(error: BaseException) -> Measurement | None:
    """Return what a failed compilation or load counts as, or None where the error is a bug of tunedb or of a kernel."""
    if is_out_of_resources(error):
        return Measurement("out-of-resources", detail=telling_line(str(error)))
    if isinstance(error, MiscompiledError) or is_compiler_failure(error):
        return Measurement("compile-error", detail=telling_line(str(error)))
    return None


def telling_line(text: str, limit: int = 200) -> str:
    """Return the line of a message that says what happened: the first that contains "error", else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines[-1:] or [""]
    return telling[0][:limit]


def _judged(needs: Resources, device: Device) -> Measurement:
    status, detail = "ok", ""
    if (needs.shared or 0) > device.shared_block:
        status, detail = (
            "out-of-resources",
            f"needs {needs.shared} bytes of shared memory, {device.slug} gives a block {device.shared_block}",
        )
    elif (needs.spills or 0) > SPILL_LIMIT:
        status, detail = (
            "spilled",
            f"keeps {needs.spills} bytes a thread in local memory, at most {SPILL_LIMIT} are worth timing",
        )
    return Measurement(
        status, shared=needs.shared, registers=needs.registers, spills=needs.spills, detail=detail
    )


def _usage(cubin: bytes) -> tuple[int | None, int | None]:
    """Return registers and bytes of local memory a thread, the most of any function in the code."""
    tool = cuobjdump()
    if tool is None:
        return None, None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        try:
            done = subprocess.run(  # noqa: S603 (a tool of Triton's wheel or of CUDA)
                [tool, "-res-usage", file.name], capture_output=True, text=True, timeout=60, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None, None
    return parse_usage(done.stdout)


def parse_usage(text: str) -> tuple[int | None, int | None]:
    """Read cuobjdump's lines "REG:40 STACK:8 SHARED:0 LOCAL:0 ..."."""
    found = re.findall(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text)
    if not found:
        return None, None
    return max(int(reg) for reg, _, _ in found), max(int(stack) + int(local) for _, stack, local in found)


@contextlib.contextmanager
def _output_caught() -> Iterator[BinaryIO]:
    """Send everything that this process prints into a file, by descriptor, because LLVM does not print through Python."""
    with tempfile.TemporaryFile() as noise, Path(os.devnull).open("w") as nowhere:
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in saved:
                os.dup2(noise.fileno(), number)
            # Triton prints the whole PTX of a kernel that ptxas refuses; that goes through Python.
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield noise
        finally:
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)


def _with_diagnostic(detail: str, noise: BinaryIO) -> str:
    """Add what MLIR printed: the exception of a failed pass carries no reason."""
    if not pass_failed(detail):
        return detail
    noise.seek(0)
    said = telling_line(noise.read(1 << 16).decode(errors="replace"))
    return f"{detail}: {said}"[:400] if said else detail
