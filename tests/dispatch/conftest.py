"""Answers for calls that are compiled, and plans that count how often they are made and run."""

import pytest
import torch
from compiled_answers import Answers
from isolated_plans import isolate

from tunedb.device import by_slug
from tunedb.dispatch import calls, lookup, operators
from tunedb.dispatch.plans import Plan


@pytest.fixture
def answers(monkeypatch):
    found = Answers()
    monkeypatch.setattr(operators, "DEVICES", ("cpu",))
    monkeypatch.setattr(operators, "_device", lambda _: by_slug("h100"))
    monkeypatch.setattr(lookup, "answer", found.answer)
    isolate(monkeypatch, found.make_plan)
    return found


class Planner:
    """Counts plans and runs; `torchs` are the operations that torch answers."""

    def __init__(self):
        self.asked, self.ran, self.torchs, self.graphs_only = [], 0, set(), False

    def make_plan(self, op, x, weight, _bias, *sizes):
        self.asked.append((op, x.dtype, x.stride(), weight.dtype))
        run = None if op in self.torchs else self.run
        return Plan(run, 0, "a test's", sizes, graphs_only=self.graphs_only)

    def run(self, *_):
        self.ran += 1
        return torch.zeros(1)


@pytest.fixture
def planner(monkeypatch):
    found = Planner()
    isolate(monkeypatch, found.make_plan)
    return found


@pytest.fixture
def searched(monkeypatch):
    """How often a call was not recognised by its weight."""
    found, search = [], calls._search

    def counted(*args):
        found.append(args[0])
        return search(*args)

    monkeypatch.setattr(calls, "_search", counted)
    return found
