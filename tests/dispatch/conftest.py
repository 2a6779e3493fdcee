"""Answers for calls that are compiled."""

import pytest
from compiled_answers import Answers
from isolated_plans import isolate

from tunedb.device import by_slug
from tunedb.dispatch import lookup, operators


@pytest.fixture
def answers(monkeypatch):
    found = Answers()
    monkeypatch.setattr(operators, "DEVICES", ("cpu",))
    monkeypatch.setattr(operators, "_device", lambda _: by_slug("h100"))
    monkeypatch.setattr(lookup, "answer", found.answer)
    isolate(monkeypatch, found.make_plan)
    return found
