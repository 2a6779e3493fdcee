"""Completion of the shell offers what tunedb knows, through click's own interface."""

import pytest
from click.shell_completion import ShellComplete

from tunedb.cli import main
from tunedb.device.catalogue import CARDS
from tunedb.problem import DTYPES, LAYOUTS, OPS
from tunedb.suite import load_suite, shipped_suites


def offered(line):
    """What is offered for the last word of a command line, files apart."""
    *words, last = line.split(" ")
    found = ShellComplete(main, {}, "tunedb", "_TUNEDB_COMPLETE").get_completions(words, last)
    return [item.value for item in found if item.type == "plain"]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("sweep --op ", ["all", *OPS]),
        ("sweep --kernel conv_tr", [op for op in OPS if op.startswith("conv_tr")]),
        ("show --op conv1", ["conv1d"]),
        ("explain --op ", list(OPS)),
        *((f"{command} --device ", [card.slug for card in CARDS]) for command in ("sweep", "tune", "show", "explain", "report")),
        ("sweep --device h200-sm", ["h200-sm80", "h200-sm86", "h200-sm89"]),
        ("sweep --suite ", list(shipped_suites())),
        ("explain --suite kern", ["kernelbench"]),
        ("report ", list(shipped_suites())),
        ("show kb8", [one.id for one in load_suite("kernelbench") if one.id.startswith("kb8")]),
        ("explain kb81", ["kb81"]),
        ("sweep --suite kernelbench --only kb81", ["kb81"]),
        ("sweep --suite models --only kb81", []),
        ("sweep --dtype ", list(DTYPES)),
        ("sweep --dtype float32,b", ["float32,bfloat16"]),
        ("sweep --dtype float32,f", ["float32,float16"]),
        ("show --dtype b", ["bfloat16"]),
        ("sweep --layout ", list(LAYOUTS)),
        ("explain --layout channels_l", ["channels_last"]),
        ("explain --precision ", ["tf32", "ieee"]),
        ("doc", ["doctor"]),
    ],
)  # fmt: skip
def test_names_are_offered(line, names):
    """Operations, devices, suites, ids, dtypes and layouts are offered where they are asked for."""
    assert offered(line) == names


def test_a_suite_may_be_a_file():
    """Where a suite is asked for, files are offered too, and before the names: bash forgets what stands before them."""
    found = ShellComplete(main, {}, "tunedb", "_TUNEDB_COMPLETE").get_completions(["sweep", "--suite"], "k")
    assert [item.type for item in found] == ["file", "plain"]


def test_a_suite_that_cannot_be_read_offers_nothing(tmp_path):
    """Completion raises nothing for a file that is no suite."""
    (tmp_path / "bad.json").write_text("nonsense")
    assert offered(f"sweep --suite {tmp_path / 'bad.json'} --only ") == []
