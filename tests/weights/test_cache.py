"""A weight is packed once for all plans of a layout, again when it has changed, and never kept longer than it lives."""

import gc
import weakref

import pytest
import torch
from small_layout import LAYOUT, OTHER, drawn, same_bits

from tunedb.errors import ProblemError
from tunedb.weights import cache as module
from tunedb.weights.cache import Packer
from tunedb.weights.layout import Layout, pack_with_torch


def parameter(*values):
    return torch.nn.Parameter(torch.tensor(values), requires_grad=False)


def ones():
    return parameter(1.0, 1.0, 1.0)


class Counter:
    """A packer by a function that doubles and remembers what it was given."""

    def __init__(self):
        self.given = []
        self.packer = Packer(self.pack)

    def pack(self, weight):
        self.given.append(weight)
        return 2 * weight


def test_packs_once():
    """A weight that does not change is packed once, and each weight has its own packing."""
    counter, weight, other = Counter(), ones(), parameter(0.0, 0.0, 0.0)
    first = counter.packer(weight)
    assert counter.packer(weight) is first
    assert counter.packer(other) is not first
    assert counter.packer(weight) is first
    assert len(counter.given) == 2


def test_plans_of_a_layout_share(evaluated):
    """Plans of other lengths have equal layouts, and one packed copy; another layout has its own."""
    weight = drawn()
    first = Packer(LAYOUT)(weight)
    assert Packer(Layout(*LAYOUT))(weight) is first
    assert same_bits(first, pack_with_torch(LAYOUT, weight))
    assert Packer(OTHER)(weight).shape == (5, 4)
    assert len(evaluated) == 2


def test_kept_beyond_the_plan():
    """A packed weight outlives the plan that made it, for a CUDA graph may read it; a new plan finds it."""
    weight = drawn()
    first = weakref.ref(Packer(LAYOUT)(weight))
    gc.collect()
    assert first() is not None
    assert Packer(LAYOUT)(weight) is first()


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.mul_(3),
        lambda weight: weight[0].fill_(7),
        lambda weight: weight.view(3, 1).zero_(),
        lambda weight: setattr(weight, "data", torch.full((3,), 5.0)),
        lambda weight: torch.add(weight, 1, out=weight),
        lambda weight: weight.copy_(torch.arange(3.0)),
    ],
    ids=["in place", "through an index", "through a view", "new data", "as out", "copied"],
)
def test_packs_a_changed_weight_again(change):
    """A weight that was changed is packed again, once, into the same memory: a graph that was captured reads it there."""
    counter, weight = Counter(), ones()
    first = counter.packer(weight)
    change(weight)
    assert counter.packer(weight) is first
    assert torch.equal(first, 2 * weight)
    counter.packer(weight)
    assert len(counter.given) == 2


def test_a_loaded_state_reaches_the_same_memory(evaluated):
    """load_state_dict changes a parameter in place; a layout's memory stays too."""
    model = torch.nn.Linear(4, 3, bias=False)
    first = Packer(LAYOUT)(model.weight)
    model.load_state_dict({"weight": drawn(5)})
    assert Packer(LAYOUT)(model.weight) is first
    assert same_bits(first, pack_with_torch(LAYOUT, drawn(5)))
    assert len(evaluated) == 2


def test_another_dtype_of_the_same_parameter():
    """`module.to(dtype)` changes a parameter's data: other memory, of the new dtype."""
    model = torch.nn.Linear(4, 3, bias=False).requires_grad_(False)
    first, packer = Packer(LAYOUT)(model.weight), Packer(LAYOUT)
    model.half()
    found = packer(model.weight)
    assert found.dtype == torch.float16
    assert found is not first
    assert same_bits(found, pack_with_torch(LAYOUT, model.weight))


def test_a_changed_base_is_seen_through_its_view():
    """A weight that is a view is packed again when its base changes."""
    counter, base = Counter(), torch.ones(2, 3)
    weight = base[1]
    counter.packer(weight)
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


@pytest.mark.parametrize("how", [LAYOUT, lambda weight: 2 * weight], ids=["layout", "function"])
def test_entries_die_with_their_weight(how):
    """When a weight is gone, its packing is freed; the others stay."""
    packer, kept, weight = Packer(how), drawn(1), drawn(2)
    packer(kept)
    packed = weakref.ref(packer(weight))
    assert module.stats()["cpu"].weights == 2
    del weight
    gc.collect()
    assert packed() is None
    assert list(packer._entries) == [id(kept)]


def test_a_computed_weight_is_not_kept(evaluated):
    """Weight norm's weight is another tensor in every call: packed in every call, from the first to the last, and dropped."""
    packer = Packer(LAYOUT)
    for number in range(50):
        weight = drawn(number) + 0.0
        assert same_bits(packer(weight), pack_with_torch(LAYOUT, weight))
    del weight
    gc.collect()
    assert not packer._entries
    assert not packer._shelf.seen
    assert len(evaluated) == 50


def test_a_tensor_is_kept_when_it_comes_again(evaluated):
    """A tensor that is no parameter is kept from its second call on."""
    packer, weight = Packer(LAYOUT), drawn() + 0.0
    first = packer(weight)
    second = packer(weight)
    assert second is not first
    assert packer(weight) is second
    assert packer(weight) is second
    assert len(evaluated) == 2


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


@pytest.mark.parametrize("how", [LAYOUT, lambda weight: 2 * weight], ids=["layout", "function"])
def test_ordinary_weights_are_kept_under_inference_mode(how):
    """A weight made outside of inference mode is packed once, inside and outside of it, and may be packed again."""
    packer, weight = Packer(how), drawn()
    with torch.inference_mode():
        first = packer(weight)
        assert packer(weight) is first
    assert packer(weight) is first
    with torch.no_grad():
        weight.mul_(2)
    assert packer(weight) is first


def test_a_weight_of_another_shape():
    """A plan refuses a weight of another shape: the kernel would read beyond its end."""
    with pytest.raises(ProblemError, match=r"must have the shape \(3, 4\)"):
        Packer(LAYOUT)(torch.nn.Parameter(torch.zeros(4, 3)))


def test_clear():
    """A cleared packer packs again, as after a change of `weight.data` that torch cannot see."""
    counter, weight = Counter(), ones()
    counter.packer(weight)
    weight.data.mul_(2)
    counter.packer.clear()
    assert torch.equal(counter.packer(weight), torch.full((3,), 4.0))
