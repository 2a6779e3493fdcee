"""What --json prints, as data: stable names, described in docs/command-line.md. Times are GPU microseconds; None: not known."""

from typing import TYPE_CHECKING, Any

from tunedb.describe import as_data
from tunedb.record import tied

if TYPE_CHECKING:
    from tunedb.dispatch.explanation import Explanation
    from tunedb.record import Record
    from tunedb.store.listing import Count, Shown
    from tunedb.store.profile import Profile
    from tunedb.tune.confirmed import Confirmed, Outcome
    from tunedb.tune.settings import Settings
    from tunedb.tune.summary import Summary

__all__ = ["of_confirmed", "of_count", "of_explanation", "of_profile", "of_shown", "of_summary"]


def of_count(count: "Count") -> dict[str, Any]:
    return {**count._asdict(), "path": str(count.path)}


def of_shown(shown: "Shown") -> dict[str, Any]:
    from tunedb.kernel import is_stale

    among = {one.choice for one in tied(shown.top)}
    candidates = [
        {
            "kernel": tried.kernel,
            "config": tried.config,
            **tried.measurement._asdict(),
            "tied": tried.choice in among,
        }
        for tried in shown.top
    ]
    return {
        "path": str(shown.path),
        **of_record(shown.record),
        "stale": is_stale(shown.record.kernel, shown.record.kernel_hash),
        "distribution": shown.distribution or None,
        **_of_counters(shown.profile, shown.sm_count),
        "candidates": candidates,
    }


def of_profile(label: str, record: "Record", profile: "Profile | None", sm_count: int) -> dict[str, Any]:
    return {"label": label, **as_data(record.problem), **_of_counters(profile, sm_count), "kernel": record.kernel, "config": record.config}  # fmt: skip


def _of_counters(profile: "Profile | None", sm_count: int) -> dict[str, Any]:
    """What ncu counted, each launch of a call; `limit` is said of the longest."""
    from tunedb.store.profile import limit

    if profile is None:
        return {"limit": None, "launches": None}
    return {
        "limit": limit(profile.longest, sm_count),
        "launches": [one._asdict() for one in profile.launches],
    }


def of_explanation(label: str, found: "Explanation") -> dict[str, Any]:
    answer = found.answer
    return {
        "label": label,
        **as_data(found.problem),
        "device": found.device.slug,
        "device_name": found.device.name,
        "tier": answer.tier,
        "kernel": answer.kernel,
        "config": None if answer.config is None else answer.config._asdict(),
        "why": answer.reason,
        "expected_us": found.expected_us,
        "expected_from": found.expected_from or None,
        "aten_us": found.aten_us,
        "floor_us": found.floor_us,
        "ties": [one._asdict() for one in found.ties],
        **_of_counters(found.profile, found.device.sm_count),
        "record": None if answer.record is None else of_record(answer.record),
    }


def of_summary(summary: "Summary", settings: "Settings") -> dict[str, Any]:
    return {
        "device": settings.device.slug,
        "device_name": settings.device.name,
        "provenance": settings.provenance,
        "gpus": list(settings.gpus) if settings.provenance == "measured" else [],
        "database": str(settings.db),
        "exit_status": summary.exit_status,
        "stopped": summary.ended or None,
        "seconds": summary.seconds,
        "trials": summary.trials,
        "failed_trials": dict(summary.failures),
        "problems": [
            {
                "label": summary.labels[problem],
                **as_data(problem),
                "state": state,
                "cause": summary.causes.get(problem),
                "record": of_record(summary.records[problem]) if problem in summary.records else None,
            }
            for problem, state in summary.states.items()
        ],
    }


def of_confirmed(result: "Confirmed", settings: "Settings") -> dict[str, Any]:
    from tunedb.tune.confirmed import ratios

    outcomes = {one.problem: one for one in result.outcomes}
    data = of_summary(result.summary, settings)
    for entry, problem in zip(data["problems"], result.summary.states, strict=True):
        entry.update(_of_outcome(outcomes.get(problem)))
    return {
        **data,
        "exit_status": result.exit_status,
        "versions": dict(result.versions),
        "confirmed_before": result.before,
        "without_record": result.unknown,
        "ratios": [
            {**one._asdict(), "problem": result.summary.labels[one.problem]}
            for one in ratios(result.outcomes)
        ],
        "changed": result.changed,
        "to_torch": result.demoted,
        "refused": dict(result.refused),
        "text": None if result.text is None else str(result.text),
    }


def _of_outcome(one: "Outcome | None") -> dict[str, Any]:
    if one is None:
        return {"stored": None, "ratio": None, "changed": None, "refused": []}
    refused = [
        {"kernel": tried.kernel, "config": tried.config, **tried.measurement._asdict()}
        for tried in one.refused
    ]
    return {"stored": of_record(one.stored), "ratio": one.ratio, "changed": one.changed, "refused": refused}


def of_record(record: "Record") -> dict[str, Any]:
    values = record._asdict()
    del values["problem"]
    return {**as_data(record.problem), **values}
