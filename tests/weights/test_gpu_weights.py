"""Packed weights on a real GPU: one launch for each, read by every stream and graph, and memory that is given back."""

import gc

import pytest
import torch
from torch.nn import functional

import tunedb
from tunedb.weights import cache
from tunedb.weights.cache import Packer
from tunedb.weights.layout import pack_with_torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

PACKING = "pack"  # the kernel's name in a profile


@pytest.fixture
def layouts():
    pytest.importorskip("triton")
    from packing_cases import cases, weight_of

    return [(name, layout, weight_of(layout, dtype).cuda()) for name, layout, dtype in cases()]


def parameter(tensor):
    return torch.nn.Parameter(tensor, requires_grad=False)


def kernels(work):
    """Return the names of the kernels that some work launches."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    return [
        event.name for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and "mem" not in event.name.lower()
    ]  # fmt: skip


def packings(work):
    return sum(name == PACKING for name in kernels(work))


def usual_recipe(call, rounds=3):
    """Warm up on a side stream, capture on torch's own; return the graph and its output."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(rounds):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    return graph, out


@pytest.fixture
def packer(layouts):
    """A packer, prepared as a plan prepares it, and a weight of its layout."""
    _, layout, weight = next(one for one in layouts if one[0] == "k_major, large")
    found = Packer(layout)
    found.prepare(weight.dtype)
    return found, weight


def test_every_layout(layouts):
    """The kernel on the GPU gives the bytes of torch's evaluation, also for a weight with other strides."""
    from small_layout import same_bits

    for name, layout, weight in layouts:
        expected = pack_with_torch(layout, weight.cpu())
        turned = (
            weight.permute(*reversed(range(weight.ndim))).contiguous().permute(*reversed(range(weight.ndim)))
        )
        for one in (weight, turned):
            assert same_bits(Packer(layout)(parameter(one)).cpu(), expected), name


def test_one_launch(layouts):
    """A weight is packed in one launch, whether it is kept or not, and once more after a change; a known one in none."""
    for name, layout, weight in layouts:
        packer, kept = Packer(layout), parameter(weight)
        packer.prepare(weight.dtype)
        assert kernels(lambda packer=packer, kept=kept: packer(kept)) == [PACKING], name
        assert kernels(lambda packer=packer, kept=kept: packer(kept)) == []
        assert kernels(lambda packer=packer, weight=weight: packer(weight)) == [PACKING]
        first = packer(kept)
        kept.zero_()
        assert kernels(lambda packer=packer, kept=kept: packer(kept)) == [PACKING]
        assert packer(kept) is first


def test_other_streams_read_it(packer):
    """A weight packed on a busy stream is read at once by another, rightly and without packing again."""
    packs, weight = packer
    expected = pack_with_torch(packs._shelf.press.layout, weight)
    one, other = torch.cuda.Stream(), torch.cuda.Stream()
    torch.cuda.synchronize()
    kept = parameter(weight)
    with torch.cuda.stream(one):
        torch.cuda._sleep(50_000_000)
        first = packs(kept)
    with torch.cuda.stream(other):
        second = packs(kept)
        copy = second.clone()
    other.synchronize()
    assert second is first
    assert torch.equal(copy.view(torch.int32), expected.view(torch.int32))


def test_a_graph_by_the_usual_recipe(packer):
    """After a warm-up on a side stream the graph has no packing, and it reads a weight that is changed afterwards."""
    packs, weight = packer
    layout, kept = packs._shelf.press.layout, parameter(weight.nan_to_num(1, 1, 1))
    graph, out = usual_recipe(lambda: packs(kept) * 2)
    assert packings(graph.replay) == 0
    kept.mul_(0.5)
    packs(kept)  # the next call packs it, into the same memory
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, 2 * pack_with_torch(layout, kept))


def test_weight_norm_in_a_graph(packer):
    """A weight that the graph computes is packed once in every replay, from what the replay computes."""
    packs, weight = packer
    layout, scale = packs._shelf.press.layout, torch.ones((), device="cuda")
    kept = weight.nan_to_num(1, 1, 1)
    graph, out = usual_recipe(lambda: packs(kept * scale))
    assert packings(graph.replay) == 1
    scale.fill_(3)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, pack_with_torch(layout, kept * 3))
    assert len(packs._entries) == 0


def test_first_seen_in_a_capture(packer):
    """A parameter first seen during a capture is packed by the graph in one launch, and kept by the next call outside."""
    packs, weight = packer
    kept = parameter(weight)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = packs(kept)
    assert packings(graph.replay) == 1
    assert packs(kept) is not out
    assert torch.equal(out.view(torch.int32), packs(kept).view(torch.int32))


def test_memory_is_given_back(packer):
    """A packed weight's memory goes with its weight, or when its layout is cleared: nothing stays behind."""
    packs, weight = packer
    gc.collect()
    before = torch.cuda.memory_allocated()
    kept = parameter(weight.clone())
    own = torch.cuda.memory_allocated() - before
    packs(kept)
    held = cache.stats()["cuda:0"]
    assert held.bytes == packs._shelf.press.layout.elements * 4
    assert torch.cuda.memory_allocated() >= before + own + held.bytes
    del kept
    gc.collect()
    assert torch.cuda.memory_allocated() == before
    kept = parameter(weight)
    packs(kept)
    packs.clear()
    assert torch.cuda.memory_allocated() <= before  # the table of the layout goes too
    assert cache.stats() == {}


def test_kept_memory_is_outside_of_private_pools(packer):
    """What is kept while allocations go to a private pool is none of the pool's: the pool can be freed whole."""
    packs, weight = packer
    pool = torch.cuda.MemPool()
    kept = parameter(weight)
    with torch.cuda.use_mem_pool(pool):
        inside = torch.empty(1 << 20, device="cuda")
        packed = packs(kept)
    where = [
        range(part["address"], part["address"] + part["total_size"]) for part in torch.cuda.memory_snapshot()
        if part["segment_pool_id"] == pool.id
    ]  # fmt: skip
    assert any(inside.data_ptr() in one for one in where)
    assert not any(packed.data_ptr() in one for one in where)


def test_reduce_overhead(packer, recwarn):
    """In torch.compile's CUDA graphs a parameter's packed copy is the eager call's; no warning about memory, no packing."""
    packs, weight = packer

    @torch.library.custom_op("tunedb_test::packed", mutates_args=())
    def op(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x * packs(w).sum()

    op.register_fake(lambda x, _: torch.empty_like(x))
    layer = torch.nn.ParameterList([parameter(weight.nan_to_num(1, 1, 1))])
    compiled = torch.compile(lambda x: op(x, layer[0]), mode="reduce-overhead", fullgraph=True)
    x = torch.ones(8, device="cuda")
    with torch.no_grad():
        for _ in range(4):
            found = compiled(x).clone()
        assert packings(lambda: compiled(x)) == 0
        assert torch.equal(found, x * packs(layer[0]).sum())
    assert len(packs._entries) == 1
    assert not [one for one in recwarn if "pool" in str(one.message).lower()]


def test_lengths_share_one_copy(monkeypatch, tmp_path):
    """Calls of several lengths, by tunedb's own function, hold one packed copy of a layer's weight."""
    monkeypatch.delenv("TUNEDB_PATH", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    tunedb.clear()
    layer = torch.nn.Conv1d(64, 64, 3, padding=1, bias=False).half().cuda()
    with torch.no_grad():
        for length in (4096, 5120, 6144):
            x = torch.randn(1, 64, length, device="cuda", dtype=torch.float16)
            ours = tunedb.conv1d(x, layer.weight, padding=1)
            theirs = functional.conv1d(x, layer.weight, padding=1)
            assert (ours.double() - theirs.double()).norm() <= 3e-3 * theirs.double().norm()
    layouts = {shelf.press.layout for shelf in cache._filled}
    assert cache.stats().get("cuda:0", cache.Held(0, 0)).weights == len(layouts)
    tunedb.clear()
