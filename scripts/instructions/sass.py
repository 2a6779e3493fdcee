"""What nvdisasm prints of a kernel, counted: all of it, and the loop with the most products."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Counts", "counted"]

_KINDS = {
    "local": ("LDL", "STL"), "lds": ("LDS", "LDSM"), "sts": ("STS",), "async": ("LDGSTS", "UBLKCP", "UTMALDG", "LDGDEPBAR", "DEPBAR"),
    "ldg": ("LDG", "LD"), "stg": ("STG", "ST", "RED", "ATOM"), "mma": ("HMMA", "HGMMA", "IMMA"),
    "fma": ("FFMA", "FADD", "FMUL", "HFMA2", "HADD2", "HMUL2", "FFMA2"), "convert": ("F2F", "F2FP", "I2F", "F2I"),
    "control": ("BRA", "BAR", "EXIT", "BSSY", "BSYNC", "WARPSYNC", "NOP", "WARPGROUP", "CALL", "RET", "SYNCS"),
}  # fmt: skip
_KIND = {name: kind for kind, names in _KINDS.items() for name in names}
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z][A-Z0-9_.x]*)(.*?);")
_LABEL = re.compile(r"^(\.L_\w+):")
_TARGET = re.compile(r"`\((\.L_\w+)\)")
_HMMA = {"16816": 16 * 8 * 16, "1688": 16 * 8 * 8, "1684": 16 * 8 * 4}
_HGMMA = re.compile(r"HGMMA\.(\d+)x(\d+)x(\d+)")


class Counts(NamedTuple):
    """Instructions by kind, the multiply-adds of one warp that they make, and the cycles of 128 bytes that they take of shared memory's port."""

    kinds: dict[str, int]  # what is in no list of kinds counts as "integer"
    products: int
    port: int

    @property
    def total(self) -> int:
        return sum(self.kinds.values())


def counted(text: str) -> tuple[Counts, Counts | None]:
    """Return the counts of a whole kernel, and of its loop with the most products; None where it has none."""
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
    return _of(code), max(loops, key=lambda one: one.products, default=None)


def _of(code: Sequence[tuple[str, str]]) -> Counts:
    kinds = Counter(_KIND.get(name.split(".")[0], "integer") for name, _ in code)
    return Counts(dict(kinds), sum(_products(name) for name, _ in code), sum(_port(name) for name, _ in code))


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
