"""Calls of one layer with many lengths: the same answers as ever, few compilations, and memory that stays as it is."""

import gc
import random
import threading
import tracemalloc

import pytest
import torch
from fake_gpu import OnFakeGpu, fake_gpu

from tunedb import launch
from tunedb.device import by_slug
from tunedb.dispatch import calls, layer_plans, lookup, unswept
from tunedb.distance import kind
from tunedb.kernel import config_from_json, load
from tunedb.store import files, remembered

LAYERS = {  # by the kernel that answers it: GPU, operation, weight, groups, dtype, the length that is recorded, sizes
    "implicit_gemm": ("h100", "conv1d", (64, 64, 3), 1, torch.float16, 12800, (1, 1, 0, 1, 1)),
    "shared_rows": ("h200", "conv_transpose1d", (64, 32, 4), 1, torch.float16, 55168, (2, 1, 0, 1, 1)),
    "packed": ("h100", "conv_transpose1d", (256, 128, 8), 1, torch.float16, 800, (4, 2, 0, 1, 1)),
    "kn2row": ("h200", "conv_transpose1d", (256, 128, 12), 1, torch.float16, 8000, (6, 3, 0, 1, 1)),
    "direct": ("h200", "conv1d", (1, 32, 7), 1, torch.float32, 110336, (1, 3, 0, 1, 1)),
    "depthwise": ("h100", "conv1d", (512, 1, 3), 512, torch.float16, 4001, (1, 2, 0, 512, 2)),
}


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """The databases that come with tunedb, and none of the user's."""
    monkeypatch.setenv("TUNEDB_PATH", "")
    monkeypatch.setattr(files, "user_files", lambda: [tmp_path / "none.sqlite"])
    files.reload()
    yield
    files.reload()


def caller(name):
    """Return plan(length) of a layer."""
    _, op, weight, groups, dtype, _, sizes = LAYERS[name]
    transposed = "transpose" in op
    c_in = weight[0] if transposed else weight[1] * groups
    tensors = OnFakeGpu(weight, dtype), OnFakeGpu((weight[1] * groups if transposed else weight[0],), dtype)
    return lambda length: calls.planned(op, OnFakeGpu((1, c_in, length), dtype), *tensors, sizes)


def lengths_of(name, count, seed=1):
    """Return lengths around the recorded one, all different."""
    recorded = LAYERS[name][5]
    return random.Random(seed).sample(range(recorded // 2, recorded * 2), count)


def answered_anew(problem, device, monkeypatch):
    """Return the answer of files that nothing is remembered of, all problems of a class compared."""

    def measured(file, problem, slug, _):
        return [known for known in file.measured_problems(problem, slug) if kind(known) == kind(problem)]

    with monkeypatch.context() as patch:
        patch.setattr(remembered, "_kept", lambda _: None)
        patch.setattr(unswept, "measured_near", measured)
        return lookup.answer(problem, device)


@pytest.mark.parametrize("slug", ["h100", "h200", "4090"])
def test_answers_are_those_of_the_files(shipped, monkeypatch, slug):
    """For random lengths, batches, paddings and dtypes of recorded layers, tier, record, config and reason are as if just read."""
    device, chance = by_slug(slug), random.Random(slug)
    known = [
        record.problem
        for ship in ("h100", "h200")
        for file in files.opened(ship)
        for record in file.records()
    ]
    tiers = set()
    for problem in chance.sample(known, 60):
        for _ in range(3):
            width = max(problem.k_w * problem.dilation_w, int(problem.in_w * 2 ** chance.uniform(-3, 3)))
            asked = problem._replace(
                in_w=width, n=chance.choice([problem.n, 1, 3]), bias=chance.choice([0, 1]),
                padding_w=chance.choice([problem.padding_w, 0]),
            )  # fmt: skip
            if asked.dtype == "float16" and chance.random() < 0.3:
                asked = asked._replace(dtype="bfloat16")
            found = lookup.answer(asked, device)
            assert found == answered_anew(asked._replace(), device, monkeypatch)
            tiers.add(found.tier)
    assert tiers >= ({"near", "expected"} if slug != "4090" else {"other-device"})


@pytest.mark.parametrize("name", LAYERS)
def test_few_lengths_compile(shipped, monkeypatch, name):
    """Of 200 lengths only the first few compile: what enters the code is which powers of two divide them."""
    compiled = fake_gpu(monkeypatch, LAYERS[name][0])
    plan = caller(name)
    found = [plan(length) for length in lengths_of(name, 200)]
    assert {one.tier for one in found} <= {"near", "exact"}
    assert name in {signature.fn.__name__ for signature in compiled}
    assert len(compiled) <= 32
    before = len(compiled)
    for length in lengths_of(name, 200):
        plan(length)
    assert len(compiled) == before


@pytest.mark.parametrize("slug", ["h100", "h200"])
def test_shared_plans_are_the_kernels_own(shipped, monkeypatch, slug):
    """The plan of another length has the signatures and the layout that the kernel's own plan would have."""
    fake_gpu(monkeypatch, slug)
    seen = []
    monkeypatch.setattr(launch, "launcher", lambda signature: seen.append(signature) or (lambda *_: None))
    device, chance, shared = by_slug(slug), random.Random(slug), set()
    known = [record for file in files.opened(slug) for record in file.records() if record.kernel != "aten"]
    for record in chance.sample(known, 150):
        kernel = load(record.kernel)
        config = config_from_json(kernel, record.config)
        layer_plans.clear()
        layer_plans.plan(record.kernel, kernel, record.problem, config)
        for _ in range(4):
            asked = record.problem._replace(
                n=chance.randint(1, 3), in_w=chance.randint(record.problem.in_w, 2 * record.problem.in_w)
            )
            if kernel.valid(asked, config, device):
                continue
            seen.clear()
            ours, signatures = layer_plans.plan(record.kernel, kernel, asked, config), list(seen)
            seen.clear()
            theirs = kernel.plan(asked, config, launch.launcher)
            assert signatures == seen
            assert ours.made_of[1] == theirs.made_of[1]
            if layer_plans._layouts:
                shared.add(record.kernel)
    assert shared == {
        name for name in {one.kernel for one in known} if getattr(load(name), "ONE_LAYOUT", False)
    }


def test_a_known_length_keeps_its_plan(shipped, monkeypatch):
    """A layer whose length stays keeps its plan, however many lengths another one sees."""
    fake_gpu(monkeypatch, "h200")
    monkeypatch.setattr(calls, "LIMIT", 16)
    steady, other = caller("kn2row"), caller("shared_rows")
    first = steady(8000)
    for length in lengths_of("shared_rows", 100):
        other(length)
        assert steady(8000) is first
        assert len(calls._plans) <= 16


def test_memory_is_flat(shipped, monkeypatch):
    """When as many plans are held as ever are, thousands of further lengths take no memory."""
    fake_gpu(monkeypatch, "h200")
    monkeypatch.setattr(calls, "LIMIT", 256)
    plan, lengths = caller("shared_rows"), lengths_of("shared_rows", 3000)
    held = []
    tracemalloc.start()
    try:
        for number, length in enumerate(lengths, 1):
            plan(length)
            if number % 1000 == 0:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held) - min(held) < 200_000


def test_threads_share_plans(shipped, monkeypatch):
    """Eight threads that see the same lengths, with few plans held, get the answers that one would."""
    fake_gpu(monkeypatch, "h200")
    monkeypatch.setattr(calls, "LIMIT", 32)
    plan, lengths = caller("shared_rows"), lengths_of("shared_rows", 60)
    expected = {length: plan(length).why for length in lengths}
    failures = []

    def see(seed):
        try:
            for length in random.Random(seed).sample(lengths, len(lengths)):
                assert plan(length).why == expected[length]
        except Exception as error:  # noqa: BLE001 (told by the test itself)
            failures.append(error)

    threads = [threading.Thread(target=see, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(calls._plans) <= 32 + 8
