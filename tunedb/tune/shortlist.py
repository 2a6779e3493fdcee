"""Candidates that are named, in the place of a search: each is compiled once and then waits for the final pass."""

from collections.abc import Sequence

from tunedb.record import Choice, Measurement, Tried

__all__ = ["Shortlist"]


class Shortlist:
    """What a driver asks of a search, for choices that somebody else has made. Attribute: tried."""

    seeded = True  # no choice depends on a result: all are compiled ahead

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._open = list(dict.fromkeys(choices))
        self._count = len(self._open)
        self.tried: list[Tried] = []

    @property
    def pending(self) -> int:
        """How many have been given out and not been told."""
        return self._count - len(self._open) - len(self.tried)

    @property
    def finished(self) -> bool:
        return len(self.tried) == self._count

    def ask(self) -> Choice | None:
        """Return the next one; None where all have been given out."""
        return self._open.pop(0) if self._open else None

    def tell(self, choice: Choice, measurement: Measurement) -> Tried:
        """Note how one compiled."""
        self.tried.append(Tried(*choice, measurement))
        return self.tried[-1]

    def best(self, count: int) -> list[Tried]:  # noqa: ARG002 (of a search; here whoever named them has counted)
        """Return those that compiled, in the order in which they were named or done."""
        return [tried for tried in self.tried if tried.measurement.status == "ok"]
