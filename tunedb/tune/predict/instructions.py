"""What a kernel's machine code is made of: disassembled, counted, and what the time model's trees see of it."""

import math
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunedb.compile import compiled
from tunedb.device import Device, floor_us
from tunedb.device.sustained import sustained
from tunedb.kernel import Signature
from tunedb.problem import Problem
from tunedb.triton_internals import cuobjdump, machine_code

__all__ = ["TOLD", "Counts", "counted", "disassembled", "instructions_of", "told"]

# By kind, and two sums: `products`, the multiply-adds that they make for one warp, and `port`, the cycles of 128 bytes that they take of
# shared memory's port.
Counts = Mapping[str, int]

_KINDS = {
    "local": ("LDL", "STL"), "lds": ("LDS", "LDSM"), "sts": ("STS",), "async": ("LDGSTS", "UBLKCP", "UTMALDG", "LDGDEPBAR", "DEPBAR"),
    "ldg": ("LDG", "LD"), "stg": ("STG", "ST", "RED", "ATOM"), "mma": ("HMMA", "HGMMA", "IMMA"),
    "fma": ("FFMA", "FADD", "FMUL", "HFMA2", "HADD2", "HMUL2", "FFMA2"), "convert": ("F2F", "F2FP", "I2F", "F2I"),
    "control": ("BRA", "BAR", "EXIT", "BSSY", "BSYNC", "WARPSYNC", "NOP", "WARPGROUP", "CALL", "RET", "SYNCS"),
}  # fmt: skip
_KIND = {name: kind for kind, names in _KINDS.items() for name in names}  # what is in no list is "integer"
_SUMS = ("products", "port")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z][A-Z0-9_.x]*)(.*?);")
_LABEL = re.compile(r"^(\.L_\w+):")
_TARGET = re.compile(r"`\((\.L_\w+)\)")
_HMMA = {"16816": 16 * 8 * 16, "1688": 16 * 8 * 8, "1684": 16 * 8 * 4}
_HGMMA = re.compile(r"HGMMA\.(\d+)x(\d+)x(\d+)")

_SHARES = (("integer",), ("lds", "sts"), ("mma",), ("fma",), ("ldg", "async"))  # of the loop's instructions
TOLD = 3 + len(_SHARES) + 3  # numbers that `told` returns
_SCHEDULERS = 4  # of a multiprocessor: each issues an instruction a clock


def instructions_of(signature: Signature, device: Device) -> tuple[Counts, Counts | None] | None:
    """Return the counts of what a signature is compiled to, as `counted` does; None where Triton keeps no machine code.

    Raises what `compiled` and `disassembled` raise.
    """
    code = machine_code(compiled(signature, device))
    return None if code is None else counted(disassembled(code))


def disassembled(code: bytes) -> str:
    """Return what nvdisasm, of Triton's wheel or of CUDA, prints of a cubin. It takes 0.4 s.

    Raises OSError: where there is none. subprocess.SubprocessError: where it fails.
    """
    beside = cuobjdump()
    if beside is None:
        raise FileNotFoundError("nvdisasm must lie beside cuobjdump, but neither was found: install CUDA's.")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [str(Path(beside).with_name("nvdisasm")), "-c", file.name]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout  # noqa: S603 (a tool of Triton's wheel or of CUDA)


def counted(text: str) -> tuple[Counts, Counts | None]:
    """Return the counts of a whole kernel, and of its loop with the most products; None where it has no loop."""
    code: list[tuple[str, str]] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(code)
        elif found := _INSTRUCTION.match(line):
            code.append((found[1], found[2]))
    loops = []
    for at, (name, rest) in enumerate(code):
        target = _TARGET.search(rest) if name.split(".")[0] == "BRA" else None
        # The branch to itself at the end of each kernel is none.
        if target and labels.get(target[1], at) < at:
            loops.append(_of(code[labels[target[1]] : at + 1]))
    return _of(code), max(loops, key=lambda one: one["products"], default=None)


def told(
    problem: Problem, device: Device, programs: int, warps: int, whole: Counts, loop: Counts | None
) -> list[float]:
    """Return what the trees see of a kernel's instructions: times, shares, sizes; times and sizes as log2.

    The times, over the device's sustained floor: the issue slots that the problem's products need by the loop's instructions, the cycles of
    shared memory's port likewise, and the issue slots of all programs that run all of their code once.
    """
    facts = sustained(device)
    if loop is None or 5 * loop["products"] < whole["products"]:
        loop = whole  # the products are unrolled outside of it
    total, every = max(1, _instructions(loop)), max(1, _instructions(whole))
    clocks = facts.sm_count * facts.clock / 1e6  # of all multiprocessors, in a microsecond
    rounds = problem.flops / (2 * loop["products"]) if loop["products"] else 0.0
    once = programs * warps * every
    floor = floor_us(problem, facts)
    times = (rounds * total / _SCHEDULERS / clocks, rounds * loop["port"] / clocks, once / _SCHEDULERS / clocks)  # fmt: skip
    shares = [sum(loop.get(kind, 0) for kind in kinds) / total for kinds in _SHARES]
    logs = [math.log2(max(us, 1e-3) / floor) if us else 0.0 for us in times]
    return [*logs, *shares, whole.get("local", 0) / every, math.log2(every), math.log2(total)]


def _instructions(counts: Counts) -> int:
    return sum(count for kind, count in counts.items() if kind not in _SUMS)


def _of(code: Sequence[tuple[str, str]]) -> Counts:
    kinds = Counter(_KIND.get(name.split(".")[0], "integer") for name, _ in code)
    return {
        **kinds,
        "products": sum(_products(name) for name, _ in code),
        "port": sum(_port(name) for name, _ in code),
    }


def _products(name: str) -> int:
    base, *rest = name.split(".")
    if base == "HMMA":
        return _HMMA.get(rest[0], 0)
    if shape := _HGMMA.match(name):
        return int(shape[1]) * int(shape[2]) * int(shape[3]) // 4  # four warps share it
    return {"FFMA": 32, "HFMA2": 64, "FFMA2": 64}.get(base, 0)


def _port(name: str) -> int:
    base, *rest = name.split(".")
    if base == "LDSM":
        return 4 if "4" in rest else 2 if "2" in rest else 1
    if base in ("LDS", "STS"):
        return 4 if "128" in rest else 2 if "64" in rest else 1
    return 0
