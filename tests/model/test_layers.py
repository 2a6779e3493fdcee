"""A captured suite is written and read without loss, whatever a model's modules are called."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tunedb
from tunedb.model.layers import Layers
from tunedb.problem import DTYPES, LAYOUTS, OPS, PRECISIONS, Problem, checked, is_transposed, rank
from tunedb.suite import load_suite, problems
from tunedb.suites.fields import LONGEST_TEXT, MOST_CALLS

# Among names of any characters, lone surrogates too, are some that a suffix makes equal, and some that a cut does.
NAMES = st.text(st.characters(), min_size=1, max_size=12) | st.sampled_from(
    ["a", "a#2", "a#2#2", "a#3", "up.0", 'say "x"', "a\nb", "a" * 200, "a" * 300, "a" * 299 + "b", "\n" * 150]
)
SAVED = "net.json"


@st.composite
def asked(draw):
    """Draw a problem that torch accepts."""
    op = draw(st.sampled_from(OPS))
    axes, transposed = rank(op), is_transposed(op)

    def sizes(least, most, absent):
        return (absent,) * (3 - axes) + tuple(draw(st.integers(least, most)) for _ in range(axes))

    dtype = draw(st.sampled_from(DTYPES))
    precision = draw(st.sampled_from(PRECISIONS)) if dtype == "float32" else "ieee"
    layout = draw(st.sampled_from(LAYOUTS)) if axes > 1 else "channels_first"
    groups = draw(st.integers(1, 3))
    c_in, c_out = (groups * draw(st.integers(1, 4)) for _ in range(2))
    stride, dilation = sizes(1, 3, 1), sizes(1, 3, 1)
    more = tuple(draw(st.integers(0, max(s, d) - 1)) if transposed else 0 for s, d in zip(stride, dilation, strict=True))  # fmt: skip
    return checked(Problem(
        op, dtype, precision, layout, draw(st.integers(1, 99)), c_in, c_out, groups, draw(st.integers(0, 1)),
        *sizes(12, 99, 1), *sizes(1, 4, 1), *stride, *sizes(0, 3, 0), *more, *dilation,
    ))  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("saved") / SAVED


@settings(max_examples=100, deadline=None)
@given(
    seen=st.dictionaries(
        asked(), st.tuples(st.integers(1, MOST_CALLS), st.lists(NAMES, max_size=3, unique=True)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_a_saved_capture_is_read_as_it_was(path, seen):
    """Every problem, count and module comes back in its order and in a line of its own; saved again, it is the same file."""
    layers = Layers()
    layers.fill(
        {problem: calls for problem, (calls, _) in seen.items()},
        {problem: tuple(names) for problem, (_, names) in seen.items()},
        {},
        0,
    )
    layers.save(path)
    again = Layers.load(path)
    assert [entry.line for entry in again] == list(range(2, len(seen) + 2))
    assert [entry._replace(line=0) for entry in again] == list(layers)
    assert list(again.problems) == problems(load_suite(path)) == list(seen)
    assert [entry.calls for entry in again] == [calls for calls, _ in seen.values()]
    assert [len(entry.modules) for entry in again] == [len(names) for _, names in seen.values()]
    written = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == written
    assert [one.name for one in path.parent.iterdir()] == [SAVED]


@settings(max_examples=100, deadline=None)
@given(seen=st.dictionaries(asked(), NAMES, min_size=1, max_size=8))
def test_ids_are_printable_and_stand_once(seen):
    """An id is printable text that fits a suite and stands once; a plain name is kept where a module asks for one problem."""
    layers = Layers()
    layers.fill(dict.fromkeys(seen, 1), {problem: (name,) for problem, name in seen.items()}, {}, 0)
    ids = [entry.id for entry in layers]
    assert len(set(ids)) == len(seen)
    assert all(name.isprintable() and 1 <= len(name) <= LONGEST_TEXT for name in ids)
    if len(set(seen.values())) == len(seen) and all(len(name) < 50 and name.isprintable() and "#" not in name for name in seen.values()):  # fmt: skip
        assert ids == list(seen.values())


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a", "a#2"], ["a", "a#2", "a#3", "a#2#2"]),
        (["a#2", "a"], ["a#2", "a", "a#2#2", "a#3"]),
        (["a\nb", "a\x1b[31m"], ["a\\nb", "a\\x1b[31m", "a\\nb#2", "a\\x1b[31m#2"]),
        (["ü", "\ud800"], ["ü", "\\ud800", "ü#2", "\\ud800#2"]),
    ],
    ids=ascii,
)
def test_odd_names_of_modules(path, names, ids):
    """A real module may have any name without a dot: two lengths of each are saved under ids that can be read."""
    net = nn.Module()
    for k, name in enumerate(names, 1):
        net.add_module(name, nn.Conv1d(2, 2, k))
    net.forward = lambda x: [layer(x) for layer in net.children()]
    with torch.no_grad(), tunedb.capture() as layers:
        for length in (9, 12):
            net(torch.randn(1, 2, length))
    layers.save(path)
    assert [entry.id for entry in Layers.load(path)] == ids
    assert [record["id"] for record in json.loads(path.read_text(encoding="utf-8"))] == ids


def test_layers_as_they_are_compiled():
    """Two-dimensional ones are in channels_last, the calls of both layouts together; others stay as they are."""
    flat, square = nn.Conv1d(4, 4, 3), nn.Conv2d(4, 4, 3)
    with torch.no_grad(), tunedb.capture() as layers:
        flat(torch.randn(1, 4, 20))
        for _ in range(2):
            square(torch.randn(1, 4, 9, 9))
        square(torch.randn(1, 4, 9, 9).to(memory_format=torch.channels_last))
    compiled = layers.compiled()
    assert len(layers) == 3
    assert [(one.op, one.layout, one.calls) for one in compiled] == [
        ("conv1d", "channels_first", 1),
        ("conv2d", "channels_last", 3),
    ]
