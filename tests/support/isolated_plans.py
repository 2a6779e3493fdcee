"""Plans of one test alone, on a machine with or without a GPU."""

from collections import OrderedDict

from tunedb.dispatch import calls, plans


def isolate(monkeypatch, make_plan=None):
    """Give a test no plans and nothing remembered of a weight; with `make_plan`, its plans run on the CPU."""
    monkeypatch.setattr(calls, "_plans", OrderedDict())
    monkeypatch.setattr(calls, "_latest", {})
    if make_plan is not None:
        monkeypatch.setattr(plans, "make_plan", make_plan)
        monkeypatch.setattr(calls, "_device_index", None)
