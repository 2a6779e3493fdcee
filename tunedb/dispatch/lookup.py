"""The best known answer for a problem on a device, and why: user files over shipped ones, tier by tier."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from tunedb.device import CATALOGUE, Device, gpu_of
from tunedb.dispatch.reasons import times, why_near
from tunedb.distance import CLASS_LIMIT, LAYER_LIMIT, between_layers, between_neighbours, differing
from tunedb.errors import ConfigError, KernelError
from tunedb.kernel import Kernel, config_from_json, is_stale, load
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Record
from tunedb.store import remembered
from tunedb.store.budget import one_lookup
from tunedb.store.files import databases, fingerprint, opened, opened_elsewhere, read_or_default, reload
from tunedb.store.read import Database

__all__ = ["TIERS", "Answer", "answer", "databases", "fingerprint", "has_winner", "reload"]

TIERS = ("exact", "near", "other-device", "default", "aten")
TRIED = (
    500  # records at most whose config is looked at, the nearest first: a hostile file may hold any number
)
WIN = 1.5  # run a neighbour's winner untimed only if it beat torch by this factor there


class Answer(NamedTuple):
    """What to run, and why. `config` is the kernel's own NamedTuple, or None for aten."""

    tier: str
    kernel: str
    config: Any
    record: Record | None
    reason: str


class _Usable(NamedTuple):
    record: Record
    config: Any
    stale: bool


def answer(problem: Problem, device: Device) -> Answer:
    """Return the first tier's answer; the last, torch's own kernel, always answers.

    exact: a fresh record of this problem on this device.
    near: the nearest record of the same layer on this device within LAYER_LIMIT doublings (between_layers);
    where no fresh one can be used, a stale one of this problem or of a near one.
    other-device: the same from other devices' files, those of the same compute capability first. Records measured with
    an older generation's code ("h200-sm89") answer for no other device: torch ran the GPU's own code beside them.
    default: what won the nearest measured problem of the class by WIN times, at most CLASS_LIMIT doublings away: that
    config, or where it is not valid here the kernel's default one.
    Within a tier measured wins over proxy and predicted, then the nearest, then the first file.
    A predicted record does not know torch's time: where torch won the same problem when it was measured on another
    device, torch answers.
    A bfloat16 problem is answered by float16's record wherever that is of a better tier than bfloat16's own: the same kernel
    and config, compiled for bfloat16, do the same work in the same time.
    Raises nothing for what files hold: at most one TunedbWarning a file. Takes no more of them than tunedb/store/budget.py says.
    """
    with one_lookup():
        found = _answer(problem, device)
        if problem.dtype != "bfloat16" or found.tier == "exact":
            return found
        twin = _twin(problem, device)
    return found if twin is None or TIERS.index(found.tier) <= TIERS.index(twin.tier) else twin


def has_winner(problem: Problem, device: Device) -> bool:
    """Return whether a kernel of tunedb won some problem of this layer, of any batch and extents, on any GPU."""
    with one_lookup():
        return any(
            record.kernel != "aten" and record.device == gpu_of(record.device)
            for file in (*opened(device.slug), *opened_elsewhere(device.slug))
            for record in _layer(file, problem, None)
        )


def _twin(problem: Problem, device: Device) -> Answer | None:
    """Return what answers the same problem in float16, or None where it rests on no record or is not valid in bfloat16."""
    found = _answer(problem._replace(dtype="float16"), device)
    if found.record is None:
        return None
    if found.config is not None:
        kernel = load(found.kernel)
        if problem.op not in kernel.OPS or kernel.valid(problem, found.config, device):
            return None
    return found._replace(reason=f"float16's answer, compiled for bfloat16: {found.reason}")


def _answer(problem: Problem, device: Device) -> Answer:
    own = opened(device.slug)
    notes: list[str] = []
    found = _exact(problem, device, own, notes) or _near(problem, device, own)
    if found is None or _only_predicted(found):
        found = _elsewhere_instead(found, problem, device, own)
    found = found or _default(problem, device, own)
    if found is None:
        why = f"no record on {device.slug} or elsewhere is near enough, so torch's own kernel answers."
        found = Answer("aten", "aten", None, None, why)
    return found._replace(reason=" ".join([*notes, found.reason]))


def _exact(problem: Problem, device: Device, files: list[Database], notes: list[str]) -> Answer | None:
    usable = []
    for file in files:
        record = _record(file, problem, device)
        found = None if record is None else _use(record, problem, device, file)
        if found is not None and found.stale:
            notes.append(
                f"The record of this problem is stale: {found.record.kernel} has changed since {found.record.tuned_at}."
            )
        elif found is not None:
            usable.append(found)
    if not usable:
        return None
    best = min(usable, key=lambda found: PROVENANCES.index(found.record.provenance))
    reason = f"{best.record.provenance} on {device.slug} for exactly this problem: {times(best.record)}."
    return Answer("exact", best.record.kernel, best.config, best.record, reason)


def _near(problem: Problem, device: Device, files: list[Database]) -> Answer | None:
    def order(record: Record) -> tuple[Any, ...]:
        far = between_layers(problem, record.problem)
        return (PROVENANCES.index(record.provenance), far, differing(problem, record.problem))

    stale = None
    for found in _borrowed(problem, device, files, device.slug, order):
        if not found.stale:
            return _near_answer("near", found, problem, device)
        stale = stale or found
    if stale is None:
        return None
    reason = f"{why_near(problem, stale.record, device)} It is stale: its kernel has changed, so its config is a hint and untimed for this code."
    return Answer("near", stale.record.kernel, stale.config, stale.record, reason)


def _elsewhere(problem: Problem, device: Device, files: list[Database]) -> Answer | None:
    capabilities = _capabilities(files)

    def order(record: Record) -> tuple[Any, ...]:
        capability = capabilities.get(record.device, 0)
        far = between_layers(problem, record.problem)
        return (
            capability // 10 != device.capability // 10, capability != device.capability,
            PROVENANCES.index(record.provenance), far, differing(problem, record.problem), record.device,
        )  # fmt: skip

    for found in _borrowed(problem, device, files, None, order):
        slug = found.record.device
        if not found.stale and slug != device.slug and slug == gpu_of(slug):
            return _near_answer("other-device", found, problem, device)
    return None


def _near_answer(tier: str, found: _Usable, problem: Problem, device: Device) -> Answer:
    return Answer(
        tier, found.record.kernel, found.config, found.record, why_near(problem, found.record, device)
    )


def _only_predicted(found: Answer) -> bool:
    return found.record is not None and found.record.provenance == "predicted"


def _elsewhere_instead(
    found: Answer | None, problem: Problem, device: Device, own: list[Database]
) -> Answer | None:
    """Return other devices' answer where there is none, or where it is torch's and the one here is a prediction."""
    other = _elsewhere(problem, device, [*own, *opened_elsewhere(device.slug)])
    if found is None or other is None or other.record is None:
        return found or other
    same = other.record.problem == problem and other.record.provenance == "measured"
    if other.kernel != "aten" or not same:
        return found
    reason = f"{found.kernel} is only predicted on {device.slug}, untimed against torch; {other.reason}"
    return other._replace(reason=reason)


def _default(problem: Problem, device: Device, files: list[Database]) -> Answer | None:
    neighbours = [
        (between_neighbours(problem, known), place, known)
        for place, file in enumerate(files)
        for known in _measured(file, problem, device)
    ]
    for far, place, known in sorted(neighbours)[:TRIED]:
        record = _known_record(files[place], known, device) if far <= CLASS_LIMIT else None
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
    found = _use(record, problem, device, file)
    if found is not None:
        reason = f"{which} ({times(record)}), so its config answers, untimed for this problem."
        return Answer("default", record.kernel, found.config, record, reason)
    kernel = _kernel(record.kernel)
    config = None if kernel is None or problem.op not in kernel.OPS else kernel.default(problem, device)
    if kernel is None or config is None or kernel.valid(problem, config, device):
        return None
    reason = f"{which} ({times(record)}), so its default config answers, untimed for this problem."
    return Answer("default", record.kernel, config, record, reason)


def _borrowed(
    problem: Problem,
    device: Device,
    files: list[Database],
    slug: str | None,
    order: Callable[[Record], tuple[Any, ...]],
) -> Iterator[_Usable]:
    """Yield what this problem may borrow from its layer, best first."""
    found = [
        (record, file)
        for file in files
        for record in _layer(file, problem, slug)
        if between_layers(problem, record.problem) <= LAYER_LIMIT
    ]
    for record, file in sorted(found, key=lambda pair: order(pair[0]))[:TRIED]:
        usable = _use(record, problem, device, file)
        if usable is not None:
            yield usable


def _use(record: Record, problem: Problem, device: Device, file: Database) -> _Usable | None:
    """Return a record with its config if that can solve the problem on the device."""
    own = record.problem == problem and record.device == device.slug
    try:
        kernel = load(record.kernel)
        stale = is_stale(record.kernel, record.kernel_hash)
        config = config_from_json(kernel, record.config)
        # `valid` expects configs of the space; a file may hold any number, so it may fail in any way.
        why = (
            kernel.valid(problem, config, device)
            if problem.op in kernel.OPS
            else f"{record.kernel} cannot do {problem.op}."
        )
    except ImportError:
        return None  # Triton is missing: torch answers
    except ConfigError as error:
        if not is_stale(
            record.kernel, record.kernel_hash
        ):  # older code may have had other fields: no reason to complain
            file.reject(str(error))
        return None
    except (ArithmeticError, KernelError, LookupError, TypeError, ValueError) as error:
        file.reject(f"{error}")
        return None
    if why and own and not stale:
        file.reject(f"The config {record.config} of {record.kernel} cannot solve its problem: {why}")
    return None if why else _Usable(record, None if record.kernel == "aten" else config, stale)


def _capabilities(files: list[Database]) -> dict[str, int]:
    nothing: dict[str, tuple[str, int]] = {}
    found = {
        slug: number
        for file in files
        for slug, (_, number) in read_or_default(file, partial(remembered.devices, file), nothing).items()
    }
    return found | {known.slug: known.capability for known in CATALOGUE}


def _record(file: Database, problem: Problem, device: Device) -> Record | None:
    return read_or_default(file, lambda: remembered.record_of_layer(file, problem, device.slug), None)


def _known_record(file: Database, known: Problem, device: Device) -> Record | None:
    return read_or_default(file, lambda: remembered.record(file, known, device.slug), None)


def _layer(file: Database, problem: Problem, slug: str | None) -> list[Record]:
    return read_or_default(file, lambda: remembered.layer(file, problem, slug), [])


def _measured(file: Database, problem: Problem, device: Device) -> list[Problem]:
    return read_or_default(
        file, lambda: remembered.measured_within(file, problem, device.slug, CLASS_LIMIT), []
    )


def _kernel(name: str) -> Kernel | None:
    try:
        return load(name)
    except (ImportError, KernelError):
        return None
