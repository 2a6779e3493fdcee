"""What the databases hold of each problem on a device: the answer, the candidates to time again, and what that may save."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tunedb.errors import KernelError
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Choice, Record
from tunedb.store.read import Database
from tunedb.tune.choose_winner import ATEN

__all__ = ["VERSIONS", "Stored", "at_stake_us", "gains_elsewhere", "stored"]

VERSIONS = ("triton", "torch", "cudnn", "driver")  # that a measured time depends on


class Stored(NamedTuple):
    """A problem as the databases know it."""

    problem: Problem
    record: Record  # what answers it; that of the same sizes in float16, where bfloat16 has none
    choices: tuple[
        Choice, ...
    ]  # the answers of all files, then their best candidates; torch's own kernel left out
    trials: int  # of the longest search
    confirmed: bool  # the database that is written has all of them, measured under today's versions


class _File(NamedTuple):
    """A database, and its records of the device."""

    database: Database
    records: Mapping[Problem, Record]


def stored(
    slug: str,
    sources: Sequence[Database],
    own: Database | None,
    *,
    wanted: Iterable[Problem] | None,
    candidates: int,
    versions: Mapping[str, str],
    source_hash: Callable[[str], str],
) -> list[Stored]:
    """Return the wanted problems, or all, that the sources have records of on a device.

    `own` is the database that is to be written, if it is there. What it holds is among the candidates, so that a better answer
    of its own is never lost. `candidates` are those of a problem; the answers of all files are always among them.
    Raises DatabaseError: where a file cannot be read.
    """

    def stale(record: Record) -> bool:
        try:
            return source_hash(record.kernel) != record.kernel_hash
        except (KernelError, ImportError, KeyError):  # it is not installed
            return True

    def worth(record: Record) -> tuple[bool, int]:
        return stale(record), PROVENANCES.index(record.provenance)

    files = [_File(one, _records(one, slug)) for one in sources]
    mine = None if own is None else _File(own, _records(own, slug))
    known = dict.fromkeys(problem for file in files for problem in file.records)
    found = []
    for problem in known if wanted is None else dict.fromkeys(wanted):
        origin = problem if problem in known else _twin(problem)
        if origin not in known:
            continue
        answers = [file.records[origin] for file in files if origin in file.records]
        kept = None if mine is None else mine.records.get(problem)
        holding = files if mine is None else [*files, mine]
        choices = tuple(_choices(holding, {origin, problem}, slug, candidates))
        tried = set() if mine is None else {one.choice for one in mine.database.top(problem, slug)}
        # Which candidates come after the answers changes with the answers: then it is enough that as many were tried.
        needed = _choices(holding, {origin, problem}, slug, 0 if len(tried) >= candidates else candidates)
        confirmed = (
            kept is not None
            and worth(kept) == (False, 0)
            and all(getattr(kept, name) == versions.get(name, "") for name in VERSIONS)
            and set(needed) <= {*tried, Choice(kept.kernel, kept.config)}
        )
        trials = max(one.trials for one in (*answers, *([kept] if kept else [])))
        found.append(Stored(problem, min(answers, key=worth), choices, trials, confirmed))
    return found


def gains_elsewhere(files: Sequence[Database]) -> dict[Problem, float]:
    """Return by what factor torch's time exceeded the answer's on other devices, where that was measured."""
    found: dict[Problem, float] = {}
    for file in files:
        for record in file.records():
            if record.aten_us is not None and record.provenance == "measured":
                found.setdefault(record.problem, record.aten_us / record.time_us)
    return found


def at_stake_us(one: Stored, calls: int, elsewhere: Mapping[Problem, float]) -> tuple[float, float]:
    """Return what confirming a problem may save in one forward pass, in microseconds, and for ties what it takes in one.

    That is calls x (torch - answer), of either sign: an answer that is slower than torch costs as much as it is slower. A predicted
    record does not know torch's time: then the factor of another device counts, and where none knows it, all the time above the floor.
    """
    record = one.record
    factor = elsewhere.get(record.problem)
    if record.aten_us is not None:
        gain = abs(record.aten_us - record.time_us)
    elif factor is not None:
        gain = record.time_us * abs(factor - 1)
    else:
        gain = max(0.0, record.time_us - record.floor_us)
    return calls * gain, calls * record.time_us


def _records(file: Database, slug: str) -> dict[Problem, Record]:
    return {one.problem: one for one in file.records() if one.device == slug}


def _twin(problem: Problem) -> Problem:
    """Return the problem whose record answers this one where it has none."""
    return problem._replace(dtype="float16") if problem.dtype == "bfloat16" else problem


def _choices(files: Sequence[_File], problems: set[Problem], slug: str, candidates: int) -> Iterator[Choice]:
    """Yield the answers of all files, then their best candidates as far as there is room."""
    seen = {ATEN}
    holding = [(file, problem) for file in files for problem in sorted(problems) if problem in file.records]
    answers = [
        Choice(file.records[problem].kernel, file.records[problem].config) for file, problem in holding
    ]
    rest = [one.choice for file, problem in holding for one in file.database.top(problem, slug)]
    for choice, given in [*((one, True) for one in answers), *((one, False) for one in rest)]:
        if choice.kernel != ATEN.kernel and choice not in seen and (given or len(seen) <= candidates):
            seen.add(choice)
            yield choice
