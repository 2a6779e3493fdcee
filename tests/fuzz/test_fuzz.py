"""A small budget of random suites and command lines; `scripts/fuzz/` runs the same for as long as one likes."""

import json
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOME = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
RANDOM = st.randoms(use_true_random=False)


@SOME
@given(random=RANDOM)
def test_a_random_suite_is_read_or_refused(scripts_once, tmp_path_factory, random):
    """Whatever a suite holds, it is read or refused in a short printable SuiteError, quickly."""
    assert not scripts_once("fuzz.suites").run(random, tmp_path_factory.mktemp("suite"))


@SOME
@given(random=RANDOM)
def test_a_mutated_history_is_read_or_refused(scripts_once, tmp_path_factory, random):
    """Whatever a history holds, it is read, or refused in a short printable StorageError and left as it was."""
    assert not scripts_once("fuzz.journals").run(random, tmp_path_factory.mktemp("history"))


@SOME
@given(random=RANDOM)
def test_a_random_command_line_ends_in_words(scripts_once, tmp_path_factory, random):
    """Whatever stands in a command line, it ends with status 0, 1 or 2, without a traceback and without a write elsewhere."""
    assert not scripts_once("fuzz.command_lines").run(random, tmp_path_factory.mktemp("line"))


@pytest.mark.parametrize("kind", ["suites", "command_lines"])
def test_what_fails_is_said(scripts_once, tmp_path, monkeypatch, kind):
    """Both would see a traceback: one that is put in is returned as text."""
    module = scripts_once(f"fuzz.{kind}")
    if kind == "suites":
        monkeypatch.setattr(module, "load_suite", lambda _: 1 // 0)
    else:
        monkeypatch.setattr(module, "_line", lambda *_: ["ls"])
        monkeypatch.setattr("tunedb.store.listing.count", lambda _: 1 // 0)
    assert "ZeroDivisionError" in module.run(random.Random(0), tmp_path)


def test_a_write_elsewhere_is_said(scripts_once, tmp_path, monkeypatch):
    """A file that a command writes outside of the folder is a failure; one inside is none."""
    module = scripts_once("fuzz.command_lines")
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    monkeypatch.setattr(module, "_line", lambda *_: ["ls"])
    monkeypatch.setattr("tunedb.store.listing.count", lambda _: (outside.write_text("x"), [])[1])
    assert f"open {os.path.realpath(outside)}" in module.run(random.Random(0), inside)
    monkeypatch.setattr("tunedb.store.listing.count", lambda _: ((inside / "x").write_text("x"), [])[1])
    assert module.run(random.Random(0), inside) == ""


def test_random_suites_are_of_both_kinds(scripts_once):
    """Some of the random suites are sound, others broken JSON: neither path is left out."""
    text = scripts_once("fuzz.suites")._text
    broken = 0
    for seed in range(100):
        try:
            json.loads(text(random.Random(seed)))
        except ValueError:
            broken += 1
    assert 5 < broken < 95


def test_a_killed_sweep_loses_nothing(scripts_once, tmp_path):
    """A sweep that is killed at random moments ends with every trial once, and takes its children along."""
    assert not scripts_once("fuzz.kills").run(random.Random(5), tmp_path)
