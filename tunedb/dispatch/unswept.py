"""Answers for problems that no record is near enough to: what is expected to be fastest, where that is sure enough, or torch."""

from collections.abc import Iterator
from itertools import islice
from math import gcd, log2

from tunedb.describe import micros
from tunedb.device import Device, by_slug
from tunedb.dispatch.likely import LEAST, probability
from tunedb.dispatch.reasons import times
from tunedb.dispatch.unseen.choose import Guess, choose
from tunedb.dispatch.unseen.shipped import shipped_predictor
from tunedb.dispatch.unseen.trees import Predictor
from tunedb.dispatch.usable import (
    TRIED,
    Answer,
    Expected,
    devices_of,
    kernel_named,
    known_record,
    measured_near,
    usable,
)
from tunedb.distance import CLASS_LIMIT, between_neighbours
from tunedb.kernel import is_stale
from tunedb.problem import Problem
from tunedb.record import Choice, Record
from tunedb.store import remembered
from tunedb.store.read import Database

__all__ = ["chance", "default", "knows", "like_length", "unswept"]

WIN = 1.5  # run a neighbour's winner untimed only if it beat torch by this factor there
# How far log2 of the expected gain is off, as a standard deviation, where all trials of a device's searches are known, and where only their
# finalists are, so that a predictor has seen no config lose (docs/experiments.md, 2026-11-28).
SUREST = 0.99  # what is said at most: errors have longer tails than the normal distribution
SPREAD, SPREAD_OF_FINALISTS = 0.3, 0.45
KIN = 8  # winners of the nearest problems that are judged beside each kernel's own configs
REACH = 12.0  # doublings, of the farthest of them
ELSEWHERE = 0.5  # doublings that another GPU's winner is farther away
SHORT = 64  # lengths below this, in parts of what divides 16, decide for themselves


def unswept(
    problem: Problem, device: Device, own: list[Database], elsewhere: list[Database]
) -> Answer | None:
    """Return what the predictor expects to be fastest, or torch; without a predictor of the device what won a neighbour."""
    predictor = shipped_predictor()
    files = [*own, *elsewhere]
    if predictor is None or not knows(predictor, device) or not files:
        return default(problem, device, own)

    like = like_length(problem)

    def decide() -> Guess | None:
        try:
            return choose(predictor, like, device, islice(_kin(like, device, own, elsewhere), KIN))
        except ImportError:
            return None  # Triton is missing: torch answers
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None  # sizes that no kernel was made for: torch knows what they mean

    guess = remembered.decided(files[0], (device.slug, like), decide)
    return None if guess is None else _answer(guess, problem, device, predictor)


def knows(predictor: Predictor, device: Device) -> bool:
    """Return whether a predictor may answer for a device: it was fitted to trials there, or to whole searches on a GPU of its kind.

    Whole searches travel: fitted to the H100's alone none of 59 timed answers on the H200 lost. Finalists do not (docs/experiments.md,
    2026-11-27, third model). Code of another generation is another kind.
    """
    if device.slug in predictor.devices:
        return True
    whole = [by_slug(slug) for slug in predictor.facts.get("whole", ())]
    return device.arch is None and any(one.capability == device.capability for one in whole)


def chance(guess: Guess, predictor: Predictor, device: Device) -> float:
    """Return the probability that a config is faster than torch, by what is expected of both."""
    whole = device.slug in predictor.facts.get("whole", ())  # its searches are known whole
    return probability(guess.gain, SPREAD if whole else SPREAD_OF_FINALISTS)


def like_length(problem: Problem) -> Problem:
    """Return the problem that decides for its neighbours in length: to decide takes milliseconds, and audio has any length.

    It is at most 9 % longer or shorter, in steps of a quarter of a doubling, and its length has the same factor of 16.
    """
    even = gcd(problem.in_w, 16)
    length = problem.in_w // even
    if problem.rank != 1 or length < SHORT:
        return problem
    near = round(2 ** (round(4 * log2(length)) / 4))
    return problem._replace(in_w=even * (near if even == 16 else near | 1))


def _answer(guess: Guess, problem: Problem, device: Device, predictor: Predictor) -> Answer:
    """Return a guess as the answer if it is sure enough and valid for this problem, else torch."""
    kernel, sure = kernel_named(guess.kernel), chance(guess, predictor, device)
    torch = Expected(guess.torch_us, guess.torch_us)
    means = (
        f"{guess.kernel} is expected to take {micros(guess.own_us)} where torch takes {micros(guess.torch_us)}, and to be faster "
        f"with a probability of {100 * min(sure, SUREST):.0f} %, by {predictor.facts.get('trials', 0):,} trials on {' and '.join(predictor.devices)}"
    )
    if kernel is None or sure < LEAST:
        reason = f"{means}: at least {100 * LEAST:.0f} % are asked for, so torch's own kernel answers."
        return Answer("aten", "aten", None, None, reason, torch)
    if kernel.valid(problem, guess.config, device):
        return Answer(
            "aten", "aten", None, None, f"{means}, but its config is not valid here: torch answers.", torch
        )
    reason = f"{means}; untimed for this problem."
    return Answer(
        "expected", guess.kernel, guess.config, None, reason, Expected(guess.own_us, guess.torch_us)
    )


def _kin(
    problem: Problem, device: Device, own: list[Database], elsewhere: list[Database]
) -> Iterator[Choice]:
    """Yield what won the nearest problems of the class, of this GPU and of others, each once."""
    places = [(file, device.slug, 0.0) for file in own]
    places += [(file, slug, ELSEWHERE) for file in elsewhere for slug in devices_of(file)]
    near = sorted(
        (between_neighbours(problem, known) + away, place, known)
        for place, (file, slug, away) in enumerate(places)
        for known in measured_near(file, problem, slug, REACH)
    )
    seen = set()
    for far, place, known in near[:TRIED]:
        if far > REACH:
            return
        file, slug, _ = places[place]
        record = known_record(file, known, slug)
        # What a file holds may be no config at all, and `usable` finds that out safely.
        if record is None or record.kernel == "aten" or usable(record, problem, device, file) is None:
            continue
        choice = Choice(record.kernel, record.config)
        if choice not in seen:
            seen.add(choice)
            yield choice


def default(problem: Problem, device: Device, files: list[Database]) -> Answer | None:
    neighbours = [
        (between_neighbours(problem, known), place, known)
        for place, file in enumerate(files)
        for known in measured_near(file, problem, device.slug, CLASS_LIMIT)
    ]
    for far, place, known in sorted(neighbours)[:TRIED]:
        record = known_record(files[place], known, device.slug) if far <= CLASS_LIMIT else None
        if record is None or record.aten_us is None or is_stale(record.kernel, record.kernel_hash):
            continue
        which = f"the nearest measured problem of this class on {device.slug}, {far:.2f} doublings away, was won by {record.kernel}"
        if record.kernel != "aten" and record.aten_us >= WIN * record.time_us:
            return _default_of(record, problem, device, files[place], which)
        return Answer(
            "aten",
            "aten",
            None,
            record,
            f"{which} ({times(record)}): too little to run another kernel untimed.",
        )
    return None


def _default_of(
    record: Record, problem: Problem, device: Device, file: Database, which: str
) -> Answer | None:
    """Return the neighbour's config: it fits similar sizes better than the kernel's default (docs/experiments.md, sixth round)."""
    found = usable(record, problem, device, file)
    if found is not None:
        reason = f"{which} ({times(record)}), so its config answers, untimed for this problem."
        return Answer("default", record.kernel, found.config, record, reason)
    kernel = kernel_named(record.kernel)
    config = None if kernel is None or problem.op not in kernel.OPS else kernel.default(problem, device)
    if kernel is None or config is None or kernel.valid(problem, config, device):
        return None
    reason = f"{which} ({times(record)}), so its default config answers, untimed for this problem."
    return Answer("default", record.kernel, config, record, reason)
