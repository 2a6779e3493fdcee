"""The command answers at once: what only helps to type a command imports no torch."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "optuna", "triton", "sqlalchemy", "sqlite_utils", "rich", "numpy"}
HELP = """
import json, sys
from tunedb.cli import main
try:
    main(sys.argv[1:], prog_name="tunedb")
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def last_line(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], ["sweep", "--help"], ["report", "-h"], ["doctor", "-h"]]
)
def test_help_imports_nothing_heavy(arguments):
    """`tunedb --help` and the like import neither torch nor optuna nor triton."""
    assert not HEAVY & set(json.loads(last_line(HELP, *arguments)))


def test_completion_imports_nothing_heavy():
    """Completion of the shell, of ids too, imports neither torch nor optuna nor triton."""
    code = HELP.replace("main(sys.argv[1:]", "main([]")
    complete = {"_TUNEDB_COMPLETE": "bash_complete", "COMP_WORDS": "tunedb show kb8", "COMP_CWORD": "2"}
    assert not HEAVY & set(json.loads(last_line(code, **complete)))


def test_the_module_is_the_command():
    """`python -m tunedb` is the command, under its name."""
    done = subprocess.run(
        [sys.executable, "-m", "tunedb", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: tunedb ")


FIRST_USE = """
import sys, tunedb
assert "torch" not in sys.modules
import torch
x, weight = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)
expected = torch.nn.functional.conv2d(x, weight, padding=1)
{}
assert tunedb.conv2d is vars(tunedb)["conv2d"]
print(torch.equal(found, expected))
"""


@pytest.mark.parametrize(
    "use",
    [
        "found = tunedb.conv2d(x, weight, padding=1)",
        "torch.nn.functional.conv2d = tunedb.conv2d; layer = torch.nn.functional.conv2d; found = layer(x, weight, padding=1)",
        "found = torch.compile(lambda x, w: tunedb.conv2d(x, w, padding=1), fullgraph=True, backend='eager')(x, weight)",
        "from tunedb import *; found = conv2d(x, weight, padding=1)",
    ],
)
def test_an_operation_is_bound_at_its_first_use(use):
    """Imported before torch, an operation is bound at its first use, under Dynamo and in torch's place too."""
    assert last_line(FIRST_USE.format(use)) == "True"
