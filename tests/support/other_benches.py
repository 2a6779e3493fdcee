"""The landscape on another day: after an upgrade, which changes times and breaks a config, and on a slow machine."""

import time

import landscape
from landscape import KERNELS, parse

from tunedb.record import Measurement


def environment():
    return {**landscape.ENVIRONMENT, "triton": "4.0"}


class Upgraded(landscape.Bench):
    """Columns take half the time, everything else a tenth more; five stages are wrong."""

    def _measure(self, kernel, config):
        parsed = parse(kernel, config)
        if parsed.num_stages == 5:
            return Measurement("wrong", error=1.0, detail="error 1 against 1e-4")
        return self._timed(KERNELS[kernel].time_us(parsed) * (0.5 if parsed.ORDER == "column" else 1.1))


class Slow(landscape.Bench):
    """A final pass takes half a second."""

    def final(self, candidates):
        time.sleep(0.5)
        return super().final(candidates)
