"""An empty cache of packed weights for each test."""

import pytest

from tunedb.weights import cache, press
from tunedb.weights.layout import pack_with_torch


@pytest.fixture(autouse=True)
def nothing_kept():
    """Each test begins and ends with no packed weights."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def evaluated(monkeypatch):
    """The list of the weights that layouts were evaluated for."""
    found = []

    def noted(layout, weight):
        found.append(weight)
        return pack_with_torch(layout, weight)

    monkeypatch.setattr(press, "pack_with_torch", noted)
    return found
