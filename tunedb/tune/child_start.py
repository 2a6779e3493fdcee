"""What a child process of a sweep runs first: python -P child_start.py DESCRIPTOR PARENT.

Run by its path, not imported: it asks to die with its parent before `import tunedb` brings torch, which takes seconds on a busy
machine, in which a child would outlive a parent that is killed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        pass  # not Linux: the closed pipe ends it, a little later
    else:
        if os.getppid() != parent:
            return  # the parent died before the request was made
    from tunedb.tune.workers import serve

    serve(descriptor)


if __name__ == "__main__":
    main()
