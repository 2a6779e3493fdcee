"""Names of the processes that work on a history, and which of them have ended."""

import os
import socket
from pathlib import Path

__all__ = ["is_dead", "owner"]


def owner() -> str:
    """Return a name for this process that no other process with the same storage has."""
    return f"{_host()}:{os.getpid()}:{_started(os.getpid())}"


def _host() -> str:
    """Return a name for what process ids count in. Hosts and containers may share a hostname: ids say nothing there."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").partition("-")[0]
        return f"{socket.gethostname()}-{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def is_dead(name: str) -> bool:
    """Return whether an owner on this host has ended. Of an owner on another host this is unknown, so it is False."""
    host, _, rest = name.partition(":")
    pid, _, started = rest.partition(":")
    return host == _host() and pid.isdigit() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot: it tells a process from a later one with the same id."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]  # a zombie or dead process does no work
