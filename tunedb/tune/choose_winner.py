"""Which finalist wins: the fastest, unless the difference is within the spread or torch is as fast."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tunedb.problem import Problem
from tunedb.record import Choice, Measurement, Record, Tried, tied
from tunedb.tune.predict.proxies import PROXY

__all__ = ["ATEN", "UNTIMED", "settled", "surest", "winner", "without_aten", "won_by"]

ATEN = Choice("aten", "{}")
_ROUNDS = 20  # of deciding ties together: two or three are usual

# Torch's own kernel wins within 1 %: it needs no database, no compilation and no trust.
_ATEN_MARGIN = 1.01

# Where some configs were timed on a proxy, one that was timed nowhere must be expected to be so many times as fast to win.
UNTIMED = 2.0


def winner(finalists: Sequence[Tried], aten: Measurement | None, wins: Mapping[Choice, int]) -> Tried | None:
    """Return the winner of a final pass, or None where nobody has a time.

    `wins` counts how often a config has already won: among ties the one that wins elsewhere is taken, then the first by name
    and text, so that repeated runs and neighbouring problems agree. Which of them was a little faster today is noise.
    """
    right = [tried for tried in finalists if _time(tried.measurement) is not None]
    if aten is not None and _time(aten) is None:
        aten = None
    if not right:
        return None if aten is None else Tried(*ATEN, aten)
    best = min(right, key=lambda tried: _known(tried.measurement))
    fastest = _known(best.measurement)
    if aten is not None and _known(aten) <= fastest * _ATEN_MARGIN:
        return Tried(*ATEN, aten)
    return min(tied(right), key=lambda tried: (-wins.get(tried.choice, 0), tried.choice))


def surest(finalists: Sequence[Tried]) -> Tried | None:
    """Return the finalist whose 80th percentile is shortest, of times that nobody measured here; None where nobody has one.

    Where some were timed on a proxy, one that nobody timed anywhere must be expected to take less than half of the best of them: the best of
    many guesses is a lucky guess. Held against an H100, with the H200's first file alone known, picks reached 0.96 of the swept
    best so, and 0.88 where a guess needed to be the faster by a tenth (scripts/check_predicted.py, docs/experiments.md).
    """
    right = [one for one in finalists if _time(one.measurement) is not None]
    proxied = [one for one in right if one.measurement.detail.startswith(PROXY)]
    if proxied:
        enough = min(_known(one.measurement) for one in proxied) / UNTIMED
        right = [one for one in right if _known(one.measurement) < enough] or proxied
    return min(
        right,
        key=lambda one: (one.measurement.time_us_high or _known(one.measurement), one.choice),
        default=None,
    )


def settled(
    finals: Mapping[Problem, tuple[Record, Sequence[Tried]]], source_hash: Callable[[str], str]
) -> list[Record]:
    """Return the records of many problems with their ties decided by all of them together, whatever order they were swept in.

    Each goes to the config that wins most often among the problems of its operation; that is repeated until nothing changes.
    """
    records = {problem: record for problem, (record, _) in finals.items()}
    for _ in range(_ROUNDS):
        wins = Counter(
            (record.problem.op, Choice(record.kernel, record.config)) for record in records.values()
        )
        before = dict(records)
        for problem, (record, top) in finals.items():
            if record.kernel == ATEN.kernel:
                continue
            counts = {one.choice: wins[problem.op, one.choice] for one in top}
            among = [one for one in tied(top) if one.kernel != ATEN.kernel]
            if Choice(record.kernel, record.config) in {one.choice for one in among}:
                best = min(among, key=lambda one: (-counts[one.choice], one.choice))
                records[problem] = won_by(record, best, source_hash)
        if records == before:
            break
    return list(records.values())


def without_aten(
    record: Record, finalists: Sequence[Tried], wins: Mapping[Choice, int], source_hash: Callable[[str], str]
) -> Record | None:
    """Return the record that the same final gives when torch's own kernel may not win.

    None where no finalist has a time.
    """
    if record.kernel != ATEN.kernel:
        return record
    best = winner(finalists, None, wins)
    return None if best is None else won_by(record, best, source_hash)


def won_by(record: Record, best: Tried, source_hash: Callable[[str], str]) -> Record:
    """Return the record of a final that this finalist wins."""
    measured = best.measurement
    return record._replace(
        kernel=best.kernel,
        config=best.config,
        time_us=_known(measured),
        time_us_low=measured.time_us_low,
        time_us_high=measured.time_us_high,
        error=measured.error,
        kernel_hash=source_hash(best.kernel),
    )


def _time(measurement: Measurement) -> float | None:
    return measurement.time_us if measurement.status == "ok" else None


def _known(measurement: Measurement) -> float:
    assert measurement.time_us is not None
    return measurement.time_us
