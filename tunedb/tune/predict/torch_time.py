"""What torch's own kernel should take on a GPU that is not here.

On a Hopper GPU the H200's time, moved by the devices' facts (scale.py): cuDNN takes the same kernels there. On others, which run Ampere's
instructions, cuDNN takes other kernels: extra trees (Geurts, Ernst, Wehenkel 2006) learned how much longer 33 convolutions take
on an L40S than on an H200, from published times of L40S and L4; from the L40S it is moved to the card. docs/experiments.md says how far off
both are.
"""

from math import log2

from tunedb.device import Device, by_slug, floor_us
from tunedb.device.catalogue import generation
from tunedb.device.sustained import sustained
from tunedb.dispatch.unseen.features import floor_log, problem_features, scale_log
from tunedb.dispatch.unseen.shipped import shipped_predictor
from tunedb.dispatch.unseen.trees import Predictor
from tunedb.problem import Problem
from tunedb.store import files
from tunedb.tune.predict.scale import moved_us
from tunedb.tune.predict.time_model import time_model

__all__ = ["ADA", "HOPPER", "ratio_features", "torch_us"]

HOPPER, ADA = "h200", "l40s"  # whose times are known: the H200's of many problems, the L40S's of 33


def torch_us(problem: Problem, device: Device) -> float | None:
    """Return the microseconds that torch should take, at least the hardware floor; None where nothing is known of such problems."""
    known = _on_hopper(problem)
    if known is None:
        return None
    if generation(device.own_capability or device.capability).wgmma:
        us = moved_us(known, problem, by_slug(HOPPER), device._replace(capability=90, own_capability=0))
    else:
        try:
            model = time_model()
        except (OSError, ValueError):
            return None
        ada = known * 2.0 ** model.forests["torch"].value(ratio_features(problem, known))
        us = moved_us(ada, problem, by_slug(ADA), device) * slower(model, device)
    return max(us, floor_us(problem, device))


def slower(model: Predictor, device: Device) -> float:
    """Return how much longer a card takes than its facts say, where that is known: an L4 has 72 W."""
    return float(model.facts.get("slower", {}).get(device.slug, 1.0))


def ratio_features(problem: Problem, hopper_us: float) -> list[float]:
    """Return what tells how much longer torch takes on an L40S than on an H200: the problem there, and the H200's time."""
    facts = sustained(by_slug(ADA))
    without_products = max(1e6 * problem.bytes / facts.bandwidth, 1e6 * problem.flops / facts.fp32_rate)
    time = log2(hopper_us)
    return [
        *problem_features(problem, facts),
        time - floor_log(problem, facts),
        time,
        log2(max(without_products, 1e-3)),
    ]


def _on_hopper(problem: Problem) -> float | None:
    """Return torch's time on the H200: measured where that problem was swept, else what the predictor expects."""
    device = by_slug(HOPPER)
    for file in [*files.opened(HOPPER), *files.opened_elsewhere(HOPPER)]:
        record = file.record(problem, HOPPER)
        if record is not None and record.provenance == "measured" and record.aten_us:
            return record.aten_us
    predictor = shipped_predictor()
    if predictor is None or HOPPER not in predictor.devices:
        return None
    over = predictor.forests["torch"].value(problem_features(problem, device))
    return float(2 ** (over + scale_log(problem, device)))
