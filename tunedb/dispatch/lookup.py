"""The best known answer for a problem on a device, and why: user files over shipped ones, tier by tier."""

from collections.abc import Callable, Iterator
from math import inf, log2
from typing import Any

from tunedb.device import Device, catalogued, gpu_of
from tunedb.dispatch.likely import only_if_likely
from tunedb.dispatch.reasons import times, whence, why_near
from tunedb.dispatch.unswept import unswept
from tunedb.dispatch.usable import (
    TRIED,
    Answer,
    Usable,
    capabilities,
    kernel_named,
    layer_records,
    own_record,
    usable,
)
from tunedb.distance import LAYER_LIMIT, between_layers, differing
from tunedb.problem import Problem
from tunedb.record import PROVENANCES, Record
from tunedb.store.budget import one_lookup
from tunedb.store.files import databases, fingerprint, opened, opened_elsewhere, reload
from tunedb.store.read import Database

__all__ = ["TIERS", "Answer", "answer", "databases", "fingerprint", "has_winner", "reload"]

# Their products are torch's own.
_OF_TORCH = ("aten", "cudnn_last")
TIERS = ("exact", "near", "other-device", "expected", "default", "aten")


def answer(problem: Problem, device: Device) -> Answer:
    """Return the first tier's answer; the last, torch's own kernel, always answers.

    exact: a fresh record of this problem on this device.
    near: the nearest record of the same layer on this device within LAYER_LIMIT doublings (between_layers);
    where no fresh one can be used, a stale one of this problem or of a near one.
    other-device: the same from other devices' files, those of the same compute capability first, and of them the one whose number of
    multiprocessors is closest. Records measured with an older generation's code ("h200-sm89") answer for no other device: torch ran the GPU's own code beside them.
    expected: on a GPU that the shipped predictor knows, the config with the shortest expected time, where it is likely enough to be faster
    than torch (unswept.py); no other rule is asked then.
    default: on other GPUs what won the nearest measured problem of the class by WIN times, at most CLASS_LIMIT doublings away: that
    config, or where it is not valid here the kernel's default one.
    Within a tier measured wins over proxy and predicted, then the nearest, then the first file.
    A record by proxy or predicted, or measured on a GPU of another generation, answers where it is likely enough to be faster than torch
    (likely.py). A predicted record without torch's time gives way where torch, or nothing but cuDNN, won the problem on another device.
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
            for record in layer_records(file, problem, None)
        )


def _twin(problem: Problem, device: Device) -> Answer | None:
    """Return what answers the same problem in float16, or None where it rests on no record or is not valid in bfloat16."""
    found = _answer(problem._replace(dtype="float16"), device)
    if found.record is None:
        return None
    if found.config is not None:
        kernel = kernel_named(found.kernel)
        if kernel is None or problem.op not in kernel.OPS or kernel.valid(problem, found.config, device):
            return None
    return found._replace(reason=f"float16's answer, compiled for bfloat16: {found.reason}")


def _answer(problem: Problem, device: Device) -> Answer:
    own = opened(device.slug)
    notes: list[str] = []
    found = _exact(problem, device, own, notes) or _near(problem, device, own)
    if found is None or _knows_no_torch(found):
        found = _elsewhere_instead(found, problem, device, own)
    found = found or unswept(problem, device, own, opened_elsewhere(device.slug))
    if found is None:
        why = f"no record on {device.slug} or elsewhere is near enough, so torch's own kernel answers."
        found = Answer("aten", "aten", None, None, why)
    found = only_if_likely(found, device)
    return found._replace(reason=" ".join([*notes, found.reason]))


def _exact(problem: Problem, device: Device, files: list[Database], notes: list[str]) -> Answer | None:
    fresh = []
    for file in files:
        record = own_record(file, problem, device)
        found = None if record is None else usable(record, problem, device, file)
        if found is not None and found.stale:
            notes.append(
                f"The record of this problem is stale: {found.record.kernel} has changed since {found.record.tuned_at}."
            )
        elif found is not None:
            fresh.append(found)
    if not fresh:
        return None
    best = min(fresh, key=lambda found: PROVENANCES.index(found.record.provenance))
    reason = f"{whence(best.record)} for exactly this problem: {times(best.record)}."
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


def _elsewhere(problem: Problem, device: Device, files: list[Database]) -> Iterator[Answer]:
    known = capabilities(files)

    def order(record: Record) -> tuple[Any, ...]:
        capability = known.get(record.device, 0)
        far = between_layers(problem, record.problem)
        return (
            capability // 10 != device.capability // 10, capability != device.capability, _unlike(record.device, device),
            PROVENANCES.index(record.provenance), far, differing(problem, record.problem), record.device,
        )  # fmt: skip

    for found in _borrowed(problem, device, files, None, order):
        slug = found.record.device
        if not found.stale and slug != device.slug and slug == gpu_of(slug):
            yield _near_answer("other-device", found, problem, device)


def _unlike(slug: str, device: Device) -> float:
    """Return how many doublings the multiprocessors of a GPU of the catalogue are from a device's; of others, that it is far."""
    known = catalogued(slug)
    return inf if known is None else abs(log2(known.sm_count / device.sm_count))


def _near_answer(tier: str, found: Usable, problem: Problem, device: Device) -> Answer:
    return Answer(
        tier, found.record.kernel, found.config, found.record, why_near(problem, found.record, device)
    )


def _knows_no_torch(found: Answer) -> bool:
    """Return whether an answer is predicted, and torch's time is not."""
    record = found.record
    return record is not None and record.provenance == "predicted" and record.aten_us is None


def _elsewhere_instead(
    found: Answer | None, problem: Problem, device: Device, own: list[Database]
) -> Answer | None:
    """Return other devices' answer where there is none, or where it is torch's and the one here is a prediction."""
    others = _elsewhere(problem, device, [*own, *opened_elsewhere(device.slug)])
    if found is None:
        return next(others, None)
    same = [one for one in others if one.record and one.record.problem == problem and one.record.provenance == "measured"]  # fmt: skip
    torch = next((one for one in same if one.kernel == "aten"), None)
    if torch is None and same and all(one.kernel in _OF_TORCH for one in same):
        torch = same[0]
    if torch is None:
        return found
    reason = f"{found.kernel} is only predicted on {device.slug}, untimed against torch; {torch.reason}"
    return torch._replace(kernel="aten", config=None, reason=reason)


def _borrowed(
    problem: Problem,
    device: Device,
    files: list[Database],
    slug: str | None,
    order: Callable[[Record], tuple[Any, ...]],
) -> Iterator[Usable]:
    """Yield what this problem may borrow from its layer, best first."""
    found = [
        (record, file)
        for file in files
        for record in layer_records(file, problem, slug)
        if between_layers(problem, record.problem) <= LAYER_LIMIT
    ]
    for record, file in sorted(found, key=lambda pair: order(pair[0]))[:TRIED]:
        one = usable(record, problem, device, file)
        if one is not None:
            yield one
