"""What is known to become wrong machine code: instructions that ptxas spoils, and registers that are overwritten too early."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tunedb.device.catalogue import generation

__all__ = ["flaw", "overwrites"]

# ptxas 12.8 to 13.1 adds 0 where PTX adds a constant to two 16-bit numbers at once, for sm_90, sm_100 and sm_120.
_PACKED_ADDITION = re.compile(r"\badd\.[su]16x2\b")
# wgmma with its first operand in registers: the list behind that of the accumulators.
_FROM_REGISTERS = re.compile(r"wgmma\.mma_async[^;{]*\{[^}]*\}\s*,\s*\{([^}]*)\}")
_WAIT = re.compile(r"wgmma\.wait_group\.sync\.aligned\s+(\d+)")
_WRITTEN = re.compile(r"(?:@!?%\w+\s+)?[a-z][\w.:]*\s+(\{[^}]*\}|%\w+)")
_LABEL, _BRANCH = re.compile(r"\s*(\$\w+):"), re.compile(r"\bbra(?:\.uni)?\s+(\$\w+)")
_REGISTER = re.compile(r"%\w+")
# From so many stages on a kernel's loop leaves products under way, with one exception among 186 winners in float32.
_STAGES = {"implicit_gemm": 2, "kn2row": 3, "packed": 2}


def flaw(ptx: str) -> str:
    """Return why a kernel's machine code would be wrong, by its PTX; an empty string where nothing is known against it."""
    if _PACKED_ADDITION.search(ptx):
        return "it adds 16-bit numbers in pairs, which ptxas assembles wrongly (it drops constants)"
    if _FROM_REGISTERS.search(ptx) and any(map(_overwritten, _loops(ptx.splitlines()))):
        return "it overwrites the registers of an operand before the matrix unit has read them (Triton 3.6 and 3.7 wait for too little)"
    return ""


def overwrites(kernel: str, config: Any, capability: int) -> bool:
    """Return whether a config's code is expected to overwrite operands, so that it is not worth a trial; `flaw` decides.

    Inputs that are rounded to TF32 go from registers into wgmma where they are its first operand, unless a pass of its own has
    laid them down rounded. Smaller tiles and blocks of fewer warps are multiplied by mma.sync, which waits for itself.
    """
    if kernel not in _STAGES or not generation(capability).wgmma:
        return False
    positions = getattr(config, "BLOCK_M", 0) or config.BLOCK_R * config.BLOCK_W
    from_registers = config.DOT == "tf32" and not config.SWAP and not getattr(config, "REPACK", 0)
    return (
        from_registers and config.num_warps >= 4 and positions >= 64 and config.num_stages >= _STAGES[kernel]
    )


def _loops(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the lines of each loop: from a label to a branch behind it that goes back there."""
    labels = {found[1]: place for place, line in enumerate(lines) if (found := _LABEL.match(line))}
    for place, line in enumerate(lines):
        branch = _BRANCH.search(line)
        if branch and labels.get(branch[1], place) < place:
            yield lines[labels[branch[1]] : place]


def _overwritten(loop: Sequence[str]) -> bool:
    """Return whether a loop writes a register of an operand while a product that reads it may be under way.

    PTX leaves undefined what is then read: a product has read its operands only where a `wgmma.wait_group` has waited for
    its group. The loop is gone through twice, since what one round leaves under way the next one meets.
    """
    groups: list[set[str]] = []  # the operands of each group under way, the oldest first
    group: set[str] = set()
    for line in [*loop, *loop]:
        text = line.strip()
        if found := _FROM_REGISTERS.search(text):
            group |= set(_REGISTER.findall(found[1]))
        elif text.startswith("wgmma.commit_group"):
            groups, group = [*groups, group], set()
        elif waited := _WAIT.match(text):
            groups = groups[max(0, len(groups) - int(waited[1])) :]
        elif (written := _WRITTEN.match(text)) and set(_REGISTER.findall(written[1])) & group.union(*groups):
            return True
    return False
