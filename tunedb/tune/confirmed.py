"""What a confirmation came to: how far stored times were off, which answers changed, and which candidates were refused."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tunedb.describe import counted
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Record, Tried
from tunedb.tune.choose_winner import ATEN
from tunedb.tune.summary import Summary

__all__ = ["Confirmed", "Outcome", "Ratios", "ratios"]

_SHOWN = 10  # refused candidates that the summary names


class Outcome(NamedTuple):
    """One confirmed problem. Times are GPU microseconds of one call."""

    problem: Problem
    stored: Record  # what the databases had
    record: Record  # what was written
    again_us: float | None  # the stored answer, timed today; None where it was refused
    refused: Sequence[Tried]  # candidates without a time, each with its status and why

    @property
    def ratio(self) -> float | None:
        """The stored answer's time today divided by its stored one."""
        return None if self.again_us is None else self.again_us / self.stored.time_us

    @property
    def changed(self) -> bool:
        return (self.stored.kernel, self.stored.config) != (self.record.kernel, self.record.config)

    @property
    def demoted(self) -> bool:
        """Whether torch's own kernel has taken the place of another answer."""
        return self.changed and self.record.kernel == ATEN.kernel


class Ratios(NamedTuple):
    """Times of today divided by stored ones, of one provenance."""

    provenance: str
    problems: int
    median: float
    worst: float  # the farthest from 1, in either direction
    problem: Problem  # which has it


class Confirmed(NamedTuple):
    """What a confirmation came to."""

    summary: Summary  # of the problems that were still to be confirmed
    outcomes: Sequence[Outcome]  # in the order in which they were confirmed
    before: int  # problems that earlier runs have confirmed under the same versions
    unknown: int  # problems of a suite that no database has a record of
    versions: Mapping[str, str]
    text: Path | None  # the file to send; None where there is nothing to say or it could not be written

    @property
    def exit_status(self) -> int:
        """The status that a command ends with: 0, 1 where a problem failed, 130 after Ctrl-C, 143 after SIGTERM."""
        failed = {"failed", "timed out"} & set(self.summary.states.values())
        return self.summary.exit_status if self.summary.exit_status > 128 else int(bool(failed))

    @property
    def changed(self) -> int:
        return sum(one.changed for one in self.outcomes)

    @property
    def demoted(self) -> int:
        return sum(one.demoted for one in self.outcomes)

    @property
    def refused(self) -> Counter[str]:
        """How many candidates were refused, by status."""
        return Counter(tried.measurement.status for one in self.outcomes for tried in one.refused)

    def lines(self) -> list[str]:
        """Return what stands under the table of problems."""
        lines = [
            f"{one.provenance} times: {counted(one.problems, 'problem')}, measured / stored {one.median:.2f} at the median, {one.worst:.2f} at worst ({self.summary.labels[one.problem]})"
            for one in ratios(self.outcomes)
        ]
        if self.outcomes:
            kept = len(self.outcomes) - self.changed
            lines.append(f"answers: {kept} kept, {self.changed} changed, {self.demoted} of them to torch")
        lines += self._refusals()
        waiting = list(self.summary.states.values()).count("waiting")
        counts = [f"{counted(len(self.outcomes), 'problem')} confirmed"]
        counts += [f"{self.before} before under the same versions"] if self.before else []
        counts += [f"{waiting} not yet, with which the same command goes on"] if waiting else []
        counts += (
            [f"{self.unknown} of the suite without a record: tunedb sweep finds one"] if self.unknown else []
        )
        return [*lines, ", ".join(counts)]

    def _refusals(self) -> list[str]:
        refused = [(one, tried) for one in self.outcomes for tried in one.refused]
        if not refused:
            return []
        lines = [
            f"candidates refused: {', '.join(f'{count} {status}' for status, count in self.refused.most_common())}"
        ]
        lines += [
            f"  {self.summary.labels[one.problem]}: {tried.kernel} {tried.config}: {tried.measurement.status}: {tried.measurement.detail}"
            for one, tried in refused[:_SHOWN]
        ]
        rest = len(refused) - _SHOWN
        return [*lines, *([f"  and {rest} more, which --json names"] if rest > 0 else [])]


def ratios(outcomes: Sequence[Outcome]) -> list[Ratios]:
    """Return how far the stored times were off, by their provenance."""
    found = []
    for provenance in PROVENANCES:
        known = [
            (ratio, one.problem)
            for one in outcomes
            if one.stored.provenance == provenance and (ratio := one.ratio) is not None
        ]
        if known:
            worst, problem = max(known, key=lambda pair: abs(math.log(pair[0])))
            median = statistics.median(ratio for ratio, _ in known)
            found.append(Ratios(provenance, len(known), median, worst, problem))
    return found
