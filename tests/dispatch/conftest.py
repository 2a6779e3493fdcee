"""Answers for calls that are compiled, and plans that count how often they are made and run."""

import pytest
from compiled_answers import Answers
from isolated_plans import Planner, isolate

from tunedb.device import by_slug
from tunedb.dispatch import calls, lookup, operators


@pytest.fixture
def answers(monkeypatch):
    found = Answers()
    monkeypatch.setattr(operators, "DEVICES", ("cpu",))
    monkeypatch.setattr(operators, "_device", lambda _: by_slug("h100"))
    monkeypatch.setattr(lookup, "answer", found.answer)
    isolate(monkeypatch, found.make_plan)
    return found


@pytest.fixture
def planner(monkeypatch):
    """Plans that are noted by their tensors."""
    found = Planner(lambda op, x, weight, _: (op, x.dtype, x.stride(), weight.dtype))
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
