"""Wall time of calls that take turns, host waiting to host waiting."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["turns"]

EACH_S = 0.02  # of calls, at least, between two waits
ROUNDS = (5, 40)


def turns(
    calls: Sequence[Callable[[], Any]], wait: Callable[[], Any], budget_s: float = 6.0, each_s: float = EACH_S
) -> list[list[float]]:
    """Return the milliseconds a call of each, as many times as there were rounds, within about `budget_s`.

    Before each time stands a call that is not timed, so that all find the host's caches as their own side leaves them: else what is
    given twice would be timed behind itself every other time, and what is given once never. The same call may be given twice: what
    differs between the two is noise.
    """

    def once(call: Callable[[], Any], times: int) -> float:
        call()
        wait()
        start = time.perf_counter()
        for _ in range(times):
            call()
        wait()
        return (time.perf_counter() - start) / times

    for call in calls:
        call()
    alone = [once(call, 2) for call in calls]
    counts = [max(1, math.ceil(each_s / max(one, 1e-6))) for one in alone]
    a_round = sum(one * (1 + count) for one, count in zip(alone, counts, strict=True))
    rounds = min(max(int(budget_s / max(a_round, 1e-6)), ROUNDS[0]), ROUNDS[1])
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        for index in range(len(calls))[:: 1 if turn % 2 else -1]:
            times[index].append(1e3 * once(calls[index], counts[index]))
    return times
