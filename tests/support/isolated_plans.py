"""Plans of one test alone, on a machine with or without a GPU."""

from collections import OrderedDict

import torch

from tunedb.dispatch import calls, plans
from tunedb.dispatch.plans import Plan


class Planner:
    """Stands in for plans.make_plan: plans that give zeros. It counts what runs, and notes each plan as `noted(op, x, weight, sizes)`.

    `torchs` are the operations that torch answers; with `graphs_only` it answers eager calls too.
    """

    def __init__(self, noted):
        self.asked, self.ran, self.torchs, self.graphs_only = [], 0, set(), False
        self._noted = noted

    def make_plan(self, op, x, weight, _bias, *sizes):
        self.asked.append(self._noted(op, x, weight, sizes))
        run = None if op in self.torchs else self.run
        return Plan(run, 0, "a test's", sizes, graphs_only=self.graphs_only)

    def run(self, *_):
        self.ran += 1
        return torch.zeros(1)


def isolate(monkeypatch, make_plan=None):
    """Give a test no plans and nothing remembered of a weight; with `make_plan`, its plans run on the CPU."""
    monkeypatch.setattr(calls, "_plans", OrderedDict())
    monkeypatch.setattr(calls, "_latest", {})
    if make_plan is not None:
        monkeypatch.setattr(plans, "make_plan", make_plan)
        monkeypatch.setattr(calls, "_device_index", None)
