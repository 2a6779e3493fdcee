"""A kernel family of another distribution is swept, recorded, dispatched and tested as tunedb's own are, with no line of tunedb changed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from awkward import AWKWARD
from awkward import problem as problem_of

from tunedb import kernel
from tunedb.device import by_slug
from tunedb.dispatch import lookup
from tunedb.kernel import config_from_json, is_stale, load, names, source_hash
from tunedb.record import tied
from tunedb.store import files
from tunedb.store.read import Database
from tunedb.tune.settings import Settings
from tunedb.tune.space import searched
from tunedb.tune.sweep import sweep
from tunedb.tune.workers import Parts

ROOT = Path(__file__).parents[2]
DEVICE = by_slug("4090")
PROBLEM = problem_of("conv_transpose2d", n=2, c=(6, 10), extents=(5, 7), k=3, s=2, p=1, groups=2, bias=1)
# Of its awkward problems those that the interpreter computes in less than a second.
QUICK = ("one of everything", "padding beyond the kernel's reach", "depthwise transposed", "k < s")
# Leaves only naive to a sweep, so that four trials are all its own, and torch's time unknown, so that it answers.
ONLY_NAIVE = """from tunedb.kernel import load, source_hash


def names():
    return ("aten", "naive")


def torch_us(problem, device):
    return None
"""


def forget():
    for function in (names, load, source_hash, kernel._modules):
        function.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "foreign_conv"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip has installed the distribution, on the path of this process and of its children."""
    folder = tmp_path_factory.mktemp("foreign")
    source = folder / "source"
    shutil.copytree(ROOT / "tests/foreign", source, ignore=shutil.ignore_patterns("__pycache__"))
    target = folder / "site"
    command = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target"]
    subprocess.run([sys.executable, *command, str(target), str(source)], check=True, timeout=120)
    (target / "only_naive.py").write_text(ONLY_NAIVE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(target))
        forget()
        yield target
    forget()


@pytest.fixture(scope="module")
def swept(installed, tmp_path_factory):
    """The database of a sweep of four trials for a GPU that is not here: each is compiled for it in earnest."""
    folder = tmp_path_factory.mktemp("swept")
    settings = Settings(
        DEVICE,
        "predicted",
        4,
        str(folder / "history.log"),
        folder / "naive.sqlite",
        workers=1,
        parts=Parts(kernels="only_naive", torch_time="only_naive:torch_us"),
    )
    summary = sweep([PROBLEM], settings)
    assert summary.complete, summary
    return folder / "naive.sqlite"


@pytest.fixture
def answering(swept, monkeypatch):
    """That database in use, and no other."""
    monkeypatch.setenv("TUNEDB_PATH", str(swept))
    monkeypatch.setattr(files, "shipped_files", dict)
    files.reload()
    yield swept
    files.reload()


def in_another_process(*arguments, installed, **environment):
    """Run Python with the distribution installed."""
    path = os.pathsep.join([str(installed), str(ROOT / "tests/support")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_its_name_is_known(installed):
    """Its entry point alone makes it a kernel, and a sweep of every kernel has its configs in the space."""
    assert "naive" in names()
    space = searched(PROBLEM, DEVICE, kernel, measured=False)
    assert set(space.fields["naive"]) == {"BLOCK", "LOOP", "num_warps"}
    assert len(space.fields) > 1


def test_it_is_swept_and_recorded(swept):
    """The sweep's record names the kernel, a config of its space, and the hash of its code."""
    file = Database(swept)
    (record,) = file.records()
    assert (record.kernel, record.provenance, record.trials) == ("naive", "predicted", 4)
    assert record.kernel_hash == source_hash("naive")
    config = config_from_json(load("naive"), record.config)
    assert load("naive").valid(PROBLEM, config, DEVICE) == ""
    assert record.config in {one.config for one in tied(file.top(PROBLEM, DEVICE.slug))}
    file.close()


def test_it_answers(answering, installed):
    """The dispatcher finds the record, and the plan that it makes gives torch's numbers in Triton's interpreter."""
    found = lookup.answer(PROBLEM, DEVICE)
    assert (found.tier, found.kernel) == ("exact", "naive")
    code = f"""
import torch
from tunedb.device import by_slug
from tunedb.dispatch.lookup import answer
from tunedb.kernel import load
from tunedb.launch import launcher
from tunedb.problem import Problem

problem = Problem(*{tuple(PROBLEM)!r})
found = answer(problem, by_slug("4090"))
assert (found.tier, found.kernel) == ("exact", "naive"), found
torch.manual_seed(0)
x, w, b = (torch.randn(size) for size in (problem.input_shape, problem.weight_shape, problem.c_out))
y = load(found.kernel).plan(problem, found.config, launcher)(x, w, b)
torch.testing.assert_close(y, torch.nn.functional.conv_transpose2d(x, w, b, **problem.torch_sizes))
print("agrees")
"""
    done = in_another_process("-c", code, installed=installed, TRITON_INTERPRET="1")
    assert done.stdout == "agrees\n", done.stderr


def test_conformance_tests_take_it_up(installed):
    """tests/kernels/test_conformance.py finds it by its name: every awkward problem is enrolled, and the quick ones pass."""
    assert set(QUICK) <= set(AWKWARD)
    chosen = [f"test_agrees_with_float64[naive-{reason}]".replace(" ", "_") for reason in QUICK]
    page = "tests/kernels/test_conformance.py"
    flags = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore")
    every = in_another_process(*flags, page, "-k", "naive", "--collect-only", installed=installed)
    enrolled = re.findall(r"test_agrees_with_float64\[naive-", every.stdout)
    assert len(enrolled) == len(AWKWARD), every.stdout + every.stderr
    cases = [f"{page}::{case}" for case in (*chosen, "test_is_enrolled[naive]")]
    done = in_another_process(*flags, *cases, installed=installed)
    assert f"{len(cases)} passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "before", "after", "stale"),
    [
        ("jit.py", "acc += x.to(tl.float32)", "acc += 2 * x.to(tl.float32)", True),
        ("launch.py", '"BLOCK must be', '"a BLOCK must be', True),
        ("weights.py", "c_in=problem.c_in", "k_w=problem.c_in", True),
        ("space.py", "128, 256, 512, 1024", "128, 256", False),
        ("jit.py", "# [BLOCK]", "# one an output", False),
    ],
)
def test_an_edit_of_what_decides_results_makes_records_stale(
    answering, installed, file, before, after, stale
):
    """An edit of its device code, launch or weight layout makes its record stale; one of its space or a comment does not."""
    path = installed / "foreign_conv" / file
    source = path.read_text()
    known = source_hash("naive")
    try:
        assert before in source
        assert not is_stale("naive", known)
        path.write_text(source.replace(before, after))
        source_hash.cache_clear()
        assert is_stale("naive", known) == stale
        found = lookup.answer(PROBLEM, DEVICE)
        assert found.tier == ("near" if stale else "exact")
        assert ("stale" in found.reason) == stale
    finally:
        path.write_text(source)
        source_hash.cache_clear()
