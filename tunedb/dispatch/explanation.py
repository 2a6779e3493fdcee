"""Why a problem is answered as it is, and what that should cost."""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tunedb.arguments import bound
from tunedb.describe import counted, describe, micros, versions
from tunedb.device import Device, by_slug, current, floor_us
from tunedb.dispatch.graphs_only import too_short_for_eager
from tunedb.dispatch.lookup import Answer, answer
from tunedb.dispatch.normalise import normalised
from tunedb.dispatch.reasons import whence
from tunedb.errors import DeviceError, ProblemError
from tunedb.problem import OPS, Problem
from tunedb.record import Choice, Record, Tried, tied
from tunedb.store.files import opened, read_or_default
from tunedb.store.profile import Profile, limit

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["UNTIMED", "Explanation", "explain", "explain_problem"]


# In these tiers the record only explains the choice: its time is not that of the kernel that will run.
UNTIMED = ("expected", "default", "aten")


class Explanation(NamedTuple):
    """An answer with what it expects. Times are GPU microseconds, None where nothing is known."""

    problem: Problem
    device: Device
    answer: Answer
    expected_us: float | None
    expected_from: str  # how that time was obtained, in words
    aten_us: (
        float | None
    )  # of the same run as the record's time, and of its problem; or predicted as the answer is
    floor_us: float
    ties: tuple[Choice, ...] = ()  # others that cannot be told from the answer, where its own record answers
    profile: Profile | None = None  # what ncu counted of the answer, where its own record answers

    def __str__(self) -> str:
        found, record = self.answer, self.answer.record
        lines = [
            ("problem", describe(self.problem)),
            ("device", f"{self.device.slug} ({self.device.name})"),
            ("tier", found.tier),
            ("kernel", found.kernel),
            ("why", found.reason),
            (
                "expects",
                "unknown"
                if self.expected_us is None
                else f"{micros(self.expected_us)}, {self.expected_from}",
            ),
            ("floor", f"{micros(self.floor_us)}" + ("" if self.device.measured else ", from the datasheet")),
        ]
        if found.config is not None:
            lines.insert(
                4, ("config", " ".join(f"{name}={value}" for name, value in found.config._asdict().items()))
            )
        if found.expected is not None:
            lines.append(("aten", f"{micros(found.expected.torch_us)} expected"))
        lines += [("tied", f"{one.kernel} {one.config}") for one in self.ties]
        if self.profile is not None:
            lines.append(("limit", limit(self.profile.longest, self.device.sm_count)))
        if record is not None and found.tier not in UNTIMED:
            if record.aten_us is not None:
                timed = "in the record's run" if record.provenance == "measured" else "expected"
                lines.append(("aten", f"{micros(record.aten_us)} {timed}"))
            if record.error is not None:
                aten = "" if record.aten_error is None else f" (aten {record.aten_error:.2e})"
                lines.append(("error", f"{record.error:.2e}{aten}"))
            lines.append(
                (
                    "record",
                    f"{whence(record)} at {record.tuned_at}, {counted(record.trials, 'trial')}",
                )
            )
            lines.append(
                ("versions", versions(record.triton, record.torch, record.cudnn, record.driver) or "unknown")
            )
        return "\n".join(f"{name:9}{text}" for name, text in lines)


def explain_problem(problem: Problem, device: Device) -> Explanation:
    """Return which tier answers a problem on a device, from which record, why, and the time to expect."""
    found = answer(problem, device)
    found = found._replace(reason=found.reason + too_short_for_eager(found))
    floor = floor_us(problem, device)
    record = found.record
    if found.expected is not None:
        how = "predicted by trials of other problems, untimed"
        return Explanation(problem, device, found, found.expected.us, how, found.expected.torch_us, floor)
    if record is None or found.tier in UNTIMED:
        return Explanation(problem, device, found, None, "", None, floor)
    how = (
        record.provenance
        if record.problem.dtype == problem.dtype
        else f"{record.provenance} in {record.problem.dtype}"
    )
    if found.tier == "exact":
        return Explanation(
            problem,
            device,
            found,
            record.time_us,
            how,
            record.aten_us,
            floor,
            _ties(record),
            _profile(record),
        )
    share = problem.positions / record.problem.positions
    how = f"{how} {micros(record.time_us)} on {record.device} scaled by {share:.3g} times the work, no less than the floor"
    return Explanation(problem, device, found, max(floor, share * record.time_us), how, None, floor)


def _ties(record: Record) -> tuple[Choice, ...]:
    """Return what cannot be told from a record's winner, by the candidates that the file keeps beside it."""
    own = Choice(record.kernel, record.config)
    for file in opened(record.device):
        none: list[Tried] = []
        top = read_or_default(file, partial(file.top, record.problem, record.device), none)
        among = [one.choice for one in tied(top)]
        if own in among:
            return tuple(one for one in among if one != own)
    return ()


def _profile(record: Record) -> Profile | None:
    """Return what ncu counted of a record's winner, from the first file that has it."""
    for file in opened(record.device):
        found = read_or_default(file, partial(file.profile, record), None)
        if found is not None:
            return found
    return None


def explain(
    op: str, input: "Tensor", weight: "Tensor", *args: Any, device: str | None = None, **kwargs: Any
) -> Explanation:
    """Say how a call would be answered: which tier, from which record, why, and what time to expect.

    `op` is the operation's name; tensors and further arguments are as for the operation. `device` names a GPU
    other than the one the tensors are on, which may then be on the CPU or on "meta".
    Raises ProblemError: for arguments that tunedb cannot answer or torch would refuse, with the reason.
    Raises DeviceError: for an unknown device, or for tensors on no GPU where `device` is left out.
    """
    if op not in OPS:
        raise ProblemError(f"op must be one of {', '.join(OPS)}, but got {op!r}.")
    try:
        given = bound(op, args, kwargs)
    except TypeError as error:
        raise ProblemError(str(error)) from error
    call = normalised(
        op, input, weight, given["bias"], given["stride"], given["padding"], given["output_padding"],
        given["groups"], given["dilation"],
    )  # fmt: skip
    if isinstance(call, str):
        raise ProblemError(f"torch answers this call itself: {call.removesuffix('.')}.")
    if device is None and not input.is_cuda:
        raise DeviceError(f"device must be named for tensors on {input.device.type}, as in device='4090'.")
    return explain_problem(call.problem, current(input.device.index) if device is None else by_slug(device))
