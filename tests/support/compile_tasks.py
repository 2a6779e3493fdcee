"""A task of compile processes that ends, hangs, raises or kills its process."""

import os
import time

from tunedb.record import Measurement


def work(kind, seconds=0.0):
    """What the pool calls: ends, hangs, raises or kills its process."""
    begin = time.monotonic()
    time.sleep(seconds)
    if kind == "span":
        return Measurement("ok", detail=f"{begin} {time.monotonic()}")
    if kind == "die":
        os._exit(9)
    if kind == "raise":
        raise TypeError("wrongly written")
    if kind == "environment":
        return Measurement(
            "ok", detail=f"{os.environ['CUDA_VISIBLE_DEVICES']!r} {os.environ.get('TRITON_INTERPRET')}"
        )
    return Measurement("ok", detail=kind)
