import random

import landscape
import pytest

from tunedb import kernel
from tunedb.device import by_slug
from tunedb.record import Choice
from tunedb.suite import load_suite
from tunedb.tune.space import Space, searched

DEVICE = by_slug("h200")


def space(op="conv2d"):
    return Space(landscape.problem(op), DEVICE, landscape.KERNELS)


def test_only_kernels_that_apply_have_a_part():
    """The space is the union over the kernels whose OPS name the operation and whose space is not empty."""
    assert set(space("conv2d").kernels) == {"alpha"}
    assert set(space("conv_transpose2d").kernels) == {"alpha", "beta"}
    assert not space("conv3d").kernels
    assert space("conv_transpose2d").size == 2 * 5 * 5 * 3 * 3 * 5


def test_draws_are_valid_and_new():
    """A random draw is valid, never known, and None once everything is known."""
    hostile = space("conv1d")
    rng, known = random.Random(0), set()
    while (choice := hostile.draw(rng, known)) is not None:
        assert choice not in known
        known.add(choice)
    assert len(known) == len(landscape.HOSTILE)
    for _ in range(50):
        drawn = space().draw(rng, set())
        assert landscape.parse(*drawn).BLOCK_M * landscape.parse(*drawn).BLOCK_N <= 128 * 128


def test_covering_tries_every_value():
    """With room enough, the covering set and its start hold each value of each field of each kernel."""
    both = space("conv_transpose2d")
    start = both.defaults()
    covered = {
        part
        for choice in [*start, *both.covering(random.Random(1), start, 100)]
        for part in both._parts(choice)
    }
    assert covered == {
        (name, field, value)
        for name, fields in both.fields.items()
        for field, values in fields.items()
        for value in values
    }


def test_covering_keeps_to_its_limit():
    """The covering set is no longer than asked for and the same for the same seed."""
    both = space("conv_transpose2d")
    first = both.covering(random.Random(1), [], 3)
    assert len(first) == 3
    assert first == both.covering(random.Random(1), [], 3)


def test_at_most_counts_valid_configs():
    """A small space is returned whole; a larger one is None."""
    assert len(space("conv1d").at_most(20)) == len(landscape.HOSTILE)
    assert space("conv1d").at_most(3) is None
    assert space("conv2d").at_most(100) is None


def test_a_choice_from_elsewhere_is_checked():
    """A hint of another kernel, with foreign fields or an invalid config is not admitted."""
    text = '{"BLOCK_M":%d,"BLOCK_N":256,"ORDER":"row","num_warps":4,"num_stages":1}'
    assert space().admits(Choice("alpha", text % 16)) == Choice("alpha", text % 16)
    assert space().admits(Choice("alpha", text % 256)) is None
    assert space().admits(Choice("beta", text % 16)) is None
    assert space().admits(Choice("alpha", '{"MODE":"fine"}')) is None


def test_a_step_changes_little():
    """A step changes one field or two, integers to the next value only, and is valid and not known."""
    one, rng = space(), random.Random(2)
    (start,) = one.defaults()
    at = landscape.parse(*start)
    for _ in range(50):
        values = landscape.parse(*one.step(rng, start, {start: None}))
        assert 1 <= sum(a != b for a, b in zip(at, values, strict=True)) <= 2
        assert values.BLOCK_M in (16, 32)
        assert values.num_warps in (2, 4, 8)


def test_without_a_gpu_only_kernels_that_the_time_model_ranks():
    """A search on a GPU goes through every kernel that applies, one that predicts leaves out what the model misjudges; older code on a GPU calls no torch."""
    pytest.importorskip("triton")
    given = next(entry for entry in load_suite("kernelbench") if entry.id == "kb57").problem(
        "float16", "ieee", "channels_first"
    )
    for slug, measured, torchs in (
        ("4090", True, True),
        ("4090", False, False),
        ("h200", False, False),
        ("h100-sm89", True, False),
    ):
        found = searched(given, by_slug(slug), kernel, measured=measured).kernels
        assert {"shared_rows", "packed"} <= set(found)
        assert ("cudnn_last" in found) == torchs, slug


def test_without_a_gpu_fields_that_the_time_model_cannot_judge_are_held():
    """A search that predicts has no config with another value, not as a seed or a hint either; one that measures has."""
    pytest.importorskip("triton")
    given = next(entry for entry in load_suite("kernelbench") if entry.id == "kb50").problem(
        "float32", "ieee"
    )
    measured, predicted = (searched(given, by_slug("h200"), kernel, measured=here) for here in (True, False))
    assert measured.fields["direct"]["COMPENSATED"] == (0, 1)
    assert predicted.fields["direct"]["COMPENSATED"] == (0,)
    compensated = [choice for choice in measured.defaults() if '"COMPENSATED":1' in choice.config]
    assert compensated
    assert not any(predicted.admits(choice) for choice in compensated)
    assert all('"COMPENSATED":0' in name.config for name in predicted.defaults() if name.kernel == "direct")
