"""What a model needs is compiled several kernels at a time, into the cache that launches read."""

import os
import subprocess
import sys
import threading

import pytest

from tunedb import kernel as kernels
from tunedb.device import by_slug
from tunedb.model import compile_together as module
from tunedb.model.compile_together import compile_together
from tunedb.suite import load_suite
from tunedb.triton_internals import python_function

DEVICE = by_slug("h100")
LAYERS = [entry for entry in load_suite("models") if entry.op == "conv2d" and entry.kernel == (3, 3)][:3]
PROBLEMS = [entry.problem("float16", "ieee", "channels_first") for entry in LAYERS]


def need(problem, name="implicit_gemm"):
    return name, problem, kernels.load(name).default(problem, DEVICE)


@pytest.fixture
def for_a_gpu(monkeypatch):
    """Take the interpreter's functions for ones that are compiled."""
    monkeypatch.setattr(module, "is_interpreted", lambda _: False)
    monkeypatch.setattr(module, "toolchain", lambda _: "some")


@pytest.fixture
def compiled(monkeypatch, for_a_gpu):
    """Each kernel that was compiled, and in which thread; the first two meet, so that they must be under way together."""
    found, both = [], threading.Barrier(2, timeout=20)

    def noted(signature, device):
        assert device is DEVICE
        found.append((python_function(signature.fn).__name__, threading.get_ident()))
        if len(found) <= 2:
            both.wait()

    monkeypatch.setattr(module, "compiled", noted)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return found


def test_kernels_are_compiled_side_by_side(compiled):
    """Each once, passes too; a batch more needs no other code."""
    more = PROBLEMS[0]._replace(n=2)
    needs = [
        need(PROBLEMS[0]),
        (*need(PROBLEMS[0])[:1], more, need(PROBLEMS[0])[2]),
        need(PROBLEMS[0], "packed"),
    ]
    count = compile_together(needs, DEVICE)
    names = [name for name, _ in compiled]
    assert len(names) == count == 3
    assert names.count("implicit_gemm") == 1
    assert threading.get_ident() not in {thread for _, thread in compiled}


def test_one_kernel_alone_is_left_to_its_launch(compiled):
    """So is what no kernel that is installed computes."""
    assert compile_together([need(PROBLEMS[0]), ("gone", PROBLEMS[0], None)], DEVICE) == 0
    assert compiled == []


def test_a_failure_is_left_to_the_plan(monkeypatch, for_a_gpu):
    """Which meets it again, and says what it is."""

    def refused(*_):
        raise RuntimeError("ptxas is missing")

    monkeypatch.setattr(module, "compiled", refused)
    assert compile_together([need(PROBLEMS[0]), need(PROBLEMS[0], "packed")], DEVICE) == 3


def test_the_interpreter_needs_no_code(monkeypatch):
    """Nothing is compiled for it."""
    monkeypatch.setattr(module, "is_interpreted", lambda _: True)
    assert compile_together([need(PROBLEMS[0]), need(PROBLEMS[0], "packed")], DEVICE) == 0


SAME = """
import hashlib, sys
from tunedb.compile import compiled
from tunedb.device import by_slug
from tunedb.kernel import load
from tunedb.model import compile_together as module
from tunedb.suite import load_suite

device, made = by_slug("h100"), []
layers = [entry for entry in load_suite("models") if entry.op == "conv2d" and entry.kernel == (3, 3)][:3]
needs = [("implicit_gemm", one, load("implicit_gemm").default(one, device)) for one in (entry.problem("float16", "ieee", "channels_first") for entry in layers)]
if sys.argv[1] == "together":
    module.compile_together(needs, device)
for name, problem, config in needs:
    made.append(compiled(load(name).signature(problem, config), device).asm["ptx"])
print(hashlib.sha256("".join(made).encode()).hexdigest())
"""


def test_what_is_compiled_together_is_what_is_compiled_alone(tmp_path):
    """The same code, to the byte, in Triton's cache."""
    said = set()
    for way in ("together", "alone"):
        environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path / way)}
        done = subprocess.run([sys.executable, "-c", SAME, way], env=environment, capture_output=True, text=True, timeout=100, check=True)  # fmt: skip
        said.add(done.stdout)
    assert len(said) == 1
