"""Which finalist wins: the fastest, unless the difference is within the spread or torch is as fast."""

from collections.abc import Callable, Mapping, Sequence

from tunedb.record import Choice, Measurement, Record, Tried

__all__ = ["ATEN", "winner", "without_aten"]

ATEN = Choice("aten", "{}")

# Torch's own kernel wins within 1 %: it needs no database, no compilation and no trust.
_ATEN_MARGIN = 1.01
# However wide the spread, a config that is slower by more than this does not count as tied.
_TIE_LIMIT = 1.03


def winner(finalists: Sequence[Tried], aten: Measurement | None, wins: Mapping[Choice, int]) -> Tried | None:
    """Return the winner of a final pass, or None where nobody has a time.

    `wins` counts how often a config has already won: among ties the one that wins elsewhere is taken, so that
    repeated runs and neighbouring problems agree.
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
    tied = [tried for tried in right if _ties(tried.measurement, fastest)]
    return max(tied, key=lambda tried: (wins.get(tried.choice, 0), -_known(tried.measurement)))


def without_aten(
    record: Record, finalists: Sequence[Tried], wins: Mapping[Choice, int], source_hash: Callable[[str], str]
) -> Record | None:
    """Return the record that the same final gives when torch's own kernel may not win.

    None where no finalist has a time.
    """
    if record.kernel != ATEN.kernel:
        return record
    best = winner(finalists, None, wins)
    if best is None:
        return None
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


def _ties(measurement: Measurement, fastest: float) -> bool:
    time, low = _known(measurement), measurement.time_us_low
    return time == fastest or (low is not None and low <= fastest and time <= fastest * _TIE_LIMIT)


def _time(measurement: Measurement) -> float | None:
    return measurement.time_us if measurement.status == "ok" else None


def _known(measurement: Measurement) -> float:
    assert measurement.time_us is not None
    return measurement.time_us
