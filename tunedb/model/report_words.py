"""What a report says in sentences, the same in the terminal and on the page."""

from tunedb.describe import micros
from tunedb.model.report import RESTS_ON, Report, Totals

__all__ = ["counted", "gain", "here", "printable", "rest", "speedup", "trust"]

MEANS = {
    "measured": "measured on this device for exactly this problem",
    "proxy": "timed on another device in its place and moved to this one",
    "borrowed": "borrowed from a record of another problem, dtype or device, scaled by the work",
    "predicted": "predicted by the model, never timed",
}


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def speedup(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} times as fast as torch"


def gain(totals: Totals) -> list[str]:
    """Return what a forward pass gains in its convolutions."""
    if not totals.layers:
        return ["No layers: the suite is empty"]
    if totals.speedup is None:
        return [
            f"Nothing is known of torch's time for any of {counted(totals.layers, 'layer')}: nobody has swept them"
        ]
    known = totals.layers - totals.unswept
    change = "saved" if totals.saved_us >= 0 else "lost"
    amount = micros(abs(totals.saved_us)) if totals.saved_us else "nothing"
    times = f"torch {micros(totals.torch_us)}, tunedb {micros(totals.tunedb_us)}"
    lines = [f"A forward pass of the convolutions: {times}, {amount} {change}, {speedup(totals.speedup)}"]
    if totals.unswept:
        lines.append(f"Counted are the {known} of {totals.layers} layers whose torch time is known")
    return lines


def rest(totals: Totals) -> list[str]:
    """Return who answers, and what the unswept layers may be worth."""
    if not totals.layers:
        return []
    lines = [
        f"{counted(totals.layers, 'layer')}, {counted(totals.calls, 'call')} a pass: {totals.answered} answered by tunedb, {totals.torch} best left to torch, {totals.unswept} unswept"
    ]
    if totals.unswept > totals.not_estimated:
        lines.append(
            f"The unswept ones may be worth {micros(totals.estimated_saved_us)} of about {micros(totals.estimated_torch_us)} a pass: an estimate from similar measured layers, not an expectation"
        )
    if totals.not_estimated:
        lines.append(f"Unknown: what {counted(totals.not_estimated, 'unswept layer')} may be worth")
    return lines


def trust(report: Report) -> list[str]:
    """Return what the expected times rest on, and with which versions they were made."""
    shares = [
        f"{report.totals.rests_on[name]:.0%} {MEANS[name]}"
        for name in RESTS_ON
        if report.totals.rests_on[name]
    ]
    lines = [f"Expected time: {'; '.join(shares)}"] if shares else []
    return [*lines, *(f"Versions of the records: {text}" for text in report.versions)]


def here(report: Report) -> str:
    """Return whether the GPU is in this machine, as a sentence where it is not."""
    return (
        ""
        if report.here
        else f"{report.device.name} is not in this machine: every time here is from records."
    )


def printable(text: str) -> str:
    """Return text without what no reader and no terminal should take: control characters, half characters, turned directions."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
