"""A weight is packed once, again when it has changed, and never kept longer than it lives."""

import gc
import weakref

import pytest
import torch

from tunedb.weights import cache as module
from tunedb.weights.cache import Packer


def weight_of(given_problem, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(given_problem.weight_shape, generator=generator)
    return drawn.to(getattr(torch, given_problem.dtype))


class Counter:
    """A packer that doubles and remembers what it was given."""

    def __init__(self):
        self.given = []
        self.packer = Packer(self.pack)

    def pack(self, weight):
        self.given.append(weight)
        return 2 * weight


def test_packs_once():
    """A weight that does not change is packed once, and each weight has its own packing."""
    counter, weight, other = Counter(), torch.ones(3), torch.zeros(3)
    first = counter.packer(weight)
    assert counter.packer(weight) is first
    assert counter.packer(other) is not first
    assert counter.packer(weight) is first
    assert len(counter.given) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.mul_(3),
        lambda weight: weight[0].fill_(7),
        lambda weight: weight.view(3, 1).zero_(),
        lambda weight: setattr(weight, "data", torch.full((3,), 5.0)),
        lambda weight: torch.add(weight, 1, out=weight),
    ],
    ids=["in place", "through an index", "through a view", "new data", "as out"],
)
def test_packs_a_changed_weight_again(change):
    """A weight that was changed in place, through a view or by new data is packed again, once."""
    counter, weight = Counter(), torch.ones(3)
    counter.packer(weight)
    change(weight)
    assert torch.equal(counter.packer(weight), 2 * weight)
    counter.packer(weight)
    assert len(counter.given) == 2


def test_a_changed_base_is_seen_through_its_view():
    """A weight that is a view is packed again when its base changes."""
    counter, base = Counter(), torch.ones(2, 3)
    weight = base[1]
    counter.packer(weight)
    base.mul_(4)
    assert torch.equal(counter.packer(weight), torch.full((3,), 8.0))


def test_gradients_stay_out():
    """A parameter is packed without its gradient, and a step of its training is seen."""
    counter, weight = Counter(), torch.nn.Parameter(torch.ones(3))
    assert not counter.packer(weight).requires_grad
    with torch.no_grad():
        weight.sub_(0.5)
    assert torch.equal(counter.packer(weight), torch.ones(3))
    assert not any(one.requires_grad for one in counter.given)


def test_entries_die_with_their_weight():
    """When a weight is gone, its packing is freed; the others stay."""
    packer = Packer(lambda weight: 2 * weight)
    kept, weight = torch.ones(3), torch.ones(3)
    packer(kept)
    packed = weakref.ref(packer(weight))
    assert len(packer._entries) == 2
    del weight
    gc.collect()
    assert packed() is None
    assert list(packer._entries) == [id(kept)]


def test_a_new_weight_at_an_old_identity_is_packed():
    """Weights that come and go, at whatever identity, each get their own packing, and none is kept."""
    packer = Packer(lambda weight: 2 * weight)
    for number in range(50):
        assert packer(torch.full((3,), float(number)))[0] == 2 * number
    gc.collect()
    assert not packer._entries


def test_inference_tensors_are_never_kept():
    """A change of an inference tensor cannot be seen, so it is packed in every call."""
    counter = Counter()
    with torch.inference_mode():
        weight = torch.ones(3)
        counter.packer(weight)
        weight.mul_(2)
        assert torch.equal(counter.packer(weight), torch.full((3,), 4.0))
    assert torch.equal(counter.packer(weight), torch.full((3,), 4.0))
    assert not counter.packer._entries


def test_ordinary_weights_are_kept_under_inference_mode():
    """A weight made outside of inference mode is packed once, inside and outside of it."""
    counter, weight = Counter(), torch.ones(3)
    with torch.inference_mode():
        counter.packer(weight)
        counter.packer(weight)
    counter.packer(weight)
    assert len(counter.given) == 1


def test_another_stream_waits_once(monkeypatch):
    """On another stream the packing is waited for once and then belongs to that stream; nothing is packed again."""
    counter, weight, adopted, stream = Counter(), torch.ones(3), [], [7]
    monkeypatch.setattr(module, "_stream", lambda _: stream[0])
    monkeypatch.setattr(module, "_adopt", adopted.append)
    first = counter.packer(weight)
    stream[0] = 8
    assert counter.packer(weight) is first
    assert counter.packer(weight) is first
    assert len(adopted) == len(counter.given) == 1


def test_nothing_is_kept_while_a_graph_is_captured(monkeypatch):
    """Memory that belongs to a captured graph is not kept for other calls."""
    counter, weight = Counter(), torch.ones(3)
    monkeypatch.setattr(module, "_capturing", lambda _: True)
    counter.packer(weight)
    counter.packer(weight)
    assert len(counter.given) == 2
    assert not counter.packer._entries


def test_clear():
    """A cleared packer packs again, as after a change of `weight.data` that torch cannot see."""
    counter, weight = Counter(), torch.ones(3)
    counter.packer(weight)
    weight.data.mul_(2)
    counter.packer.clear()
    assert torch.equal(counter.packer(weight), torch.full((3,), 4.0))
