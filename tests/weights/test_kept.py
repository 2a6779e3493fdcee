"""Packed weights and the GPU: captures, launches, the memory that is kept, threads, and what is given back."""

import gc
import threading
import weakref

import pytest
import torch
from small_layout import LAYOUT, OTHER, drawn, same_bits

from tunedb.errors import CaptureError
from tunedb.weights import cache as module
from tunedb.weights import memory, press
from tunedb.weights.cache import Packer
from tunedb.weights.layout import Layout, pack_with_torch


def test_nothing_is_kept_while_a_graph_is_captured(monkeypatch, evaluated):
    """What a captured graph packs is the graph's own, in every call; what is kept already serves the graph too."""
    packer, weight, kept = Packer(LAYOUT), drawn(), drawn(1)
    before = packer(kept)
    monkeypatch.setattr(module, "_capturing", lambda _: True)
    assert packer(kept) is before
    first, second = packer(weight), packer(weight)
    assert first is not second
    assert same_bits(first, second)
    assert list(packer._entries) == [id(kept)]
    assert len(evaluated) == 3


def test_a_weight_changed_while_a_graph_is_captured(monkeypatch):
    """A graph that changes a weight packs it itself; the memory that others read is left alone."""
    packer, weight = Packer(LAYOUT), drawn()
    before = packer(weight)
    old = before.clone()
    monkeypatch.setattr(module, "_capturing", lambda _: True)
    weight.mul_(2)
    assert torch.equal(packer(weight), 2 * old)
    assert torch.equal(before, old)


def test_a_changed_weight_is_packed_again_in_all_its_layouts():
    """A call that passes by one layout renews the memory of the others, which a graph may read."""
    first, second, weight, moved = Packer(LAYOUT), Packer(OTHER), drawn(), drawn(1)
    kept = [packer(one) for one in (weight, moved) for packer in (first, second)]
    weight.mul_(2)
    moved.data = moved.data.double()
    for one in (weight, moved):
        first(one)
    assert same_bits(kept[1], pack_with_torch(OTHER, weight))
    assert second(weight) is kept[1]
    assert second(moved).dtype is torch.float64


def test_what_is_kept_for_later_calls(monkeypatch, evaluated):
    """A parameter at once, any other tensor when seen again, nothing while a graph is captured; a weight that is new each time costs nothing."""
    packer, parameter, other = Packer(LAYOUT), drawn(), drawn(1).data
    packer.keep(parameter)
    assert list(packer._entries) == [id(parameter)]
    for weight in (other, drawn(2).data, drawn(3).data):
        packer.keep(weight)
    assert len(evaluated) == 1
    packer.keep(other)
    assert list(packer._entries) == [id(parameter), id(other)]
    parameter.add_(1)
    monkeypatch.setattr(module, "_capturing", lambda _: True)
    packer.keep(parameter)
    assert len(evaluated) == 2
    monkeypatch.setattr(module, "_capturing", lambda _: False)
    packer.keep(parameter)
    assert same_bits(packer(parameter), pack_with_torch(LAYOUT, parameter))
    assert len(evaluated) == 3


class FakePress(press.Press):
    """A press for a GPU that is not there: it notes its launches, and evaluates with torch."""

    launches = 0

    def _launch(self, weight, made, _strides, elements):
        self.launches += 1
        if elements:
            made.copy_(pack_with_torch(self.layout._replace(rounded=False), weight))


@pytest.fixture
def gpu(monkeypatch):
    """Weights on the CPU take the way of those on a GPU."""
    monkeypatch.setattr(press, "_loaded", set())
    monkeypatch.setattr(press, "_by_kernel", lambda *_: True)
    monkeypatch.setattr(module, "Press", FakePress)


def test_a_capture_without_a_table(monkeypatch, gpu):
    """What cannot be made during a capture is asked for before: the error says so, and after `prepare` it is right."""
    packer, weight, capturing = Packer(LAYOUT), drawn(), [True]
    monkeypatch.setattr(module, "_capturing", lambda _: capturing[0])
    with pytest.raises(CaptureError, match="make one call"):
        packer(weight)
    capturing[0] = False
    Packer(Layout(*LAYOUT))(drawn(1))  # another weight, of another plan
    capturing[0] = True
    assert same_bits(packer(weight), pack_with_torch(LAYOUT, weight))


def test_one_launch_for_a_weight(gpu):
    """A weight is one launch, the first of a dtype one more, which writes nothing and loads the kernel."""
    packer = Packer(LAYOUT)
    counts = []
    for weight in (drawn(), drawn(1), drawn(2).half(), drawn(3).bfloat16()):
        packer(torch.nn.Parameter(weight, requires_grad=False))
        counts.append(packer._shelf.press.launches)
    assert counts == [2, 3, 5, 6]  # float16 and bfloat16 are one size


def test_kept_memory_is_of_another_thread(monkeypatch):
    """Memory that is kept on a GPU is allocated by a thread of its own, on the caller's stream and outside inference mode."""
    place, seen = torch.device("cuda", 1), {}
    stream = object()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda one: seen.setdefault("stream", one) and torch.no_grad())

    def empty(shape, dtype, device):
        seen.update(thread=threading.current_thread(), inference=torch.is_inference_mode_enabled())
        if shape == (7,):
            raise torch.cuda.OutOfMemoryError("seven")
        return shape, dtype, device

    monkeypatch.setattr(torch, "empty", empty)
    with torch.inference_mode():
        assert memory.kept_empty((3, 4), torch.float16, place) == ((3, 4), torch.float16, place)
    assert seen["thread"] is not threading.current_thread()
    assert (seen["stream"], seen["inference"]) == (stream, False)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="seven"):
        memory.kept_empty((7,), torch.float16, place)


def test_threads_pack_once():
    """Threads that ask for one weight at once get one copy, packed once."""
    begun, given = threading.Barrier(4), []

    def pack(weight):
        given.append(weight)
        return 2 * weight

    packer, weight, found = Packer(pack), drawn(), []

    def ask():
        begun.wait(10)
        found.append(packer(weight))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({id(one) for one in found}) == len(given) == 1


def test_stats():
    """What is held is counted by device, and given back with the weight."""
    packer, weight, other = Packer(LAYOUT), drawn(), drawn(1)
    assert module.stats() == {}
    packer(weight)
    packer(other)
    assert module.stats() == {"cpu": module.Held(2, 2 * 20 * 4)}
    del other
    gc.collect()
    assert module.stats() == {"cpu": module.Held(1, 20 * 4)}
    module.clear()
    assert module.stats() == {}


def test_clear_frees_what_a_layout_has():
    """A trial's packed weights go when its plan's packer is cleared, while other layouts' stay."""
    weight = drawn()
    packer = Packer(LAYOUT)
    gone, stays = weakref.ref(packer(weight)), weakref.ref(Packer(OTHER)(weight))
    packer.clear()
    assert gone() is None
    assert stays() is not None
    assert LAYOUT in module._of_layout  # the packer may be asked again
    del packer
    gc.collect()
    assert LAYOUT not in module._of_layout
    assert OTHER in module._of_layout
