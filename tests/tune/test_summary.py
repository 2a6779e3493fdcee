"""What a sweep by gain came to, in the time of one forward pass."""

from collections import Counter

import landscape
import pytest

from tunedb.tune.summary import Layer, Summary, endings, table_of

ONE, TWO, THREE, FOUR = (landscape.problem("conv2d", in_w=width) for width in (16, 32, 64, 128))
LAYERS = {
    ONE: Layer("dec.1", 2, 100.0, 90.0, 20.0, 12, "done"),
    TWO: Layer("dec.2", 10, 50.0, 30.0, 20.0, 40, "done"),
    THREE: Layer("enc.1", 1, 20.0, None, 19.0, 0, "left", "its 20 us are 1.05 times its floor"),
    FOUR: Layer("enc.2", 1, 60.0, None, 10.0, 0, "waiting"),
}


def summary(layers=LAYERS, **more):
    states = {problem: layer.state for problem, layer in layers.items()}
    labels = {problem: layer.label for problem, layer in layers.items()}
    return Summary(
        {}, states, {}, {}, labels, 52, Counter(), 10.0, 1, "minutes are over", layers, True
    )._replace(**more)


def test_the_largest_saving_comes_first():
    """A row has calls, torch's time, the answer's, and what they save in a forward pass."""
    head, first, second, *rest = table_of(summary())
    assert head[2:6] == ("calls", "before", "after", "saved a forward pass")
    assert first == ("dec.2", "done", "10", "50.0 us", "30.0 us", "200.0 us", "40")
    assert second == ("dec.1", "done", "2", "100.0 us", "90.0 us", "20.0 us", "12")
    assert [row[0] for row in rest] == ["enc.2", "enc.1"]
    assert rest[0][4:6] == ("-", "-")


def test_the_whole_pass_stands_under_the_table():
    """The total before and after, and the part of what remains that was left or never searched."""
    lines = endings(summary())
    assert lines[0] == "enc.1: left: its 20 us are 1.05 times its floor"
    assert lines[1] == (
        "convolutions of one forward pass: 780.0 us before -> 560.0 us after, 220.0 us saved (28.2%); "
        "3.6% of what remains in layers left; 10.7% of what remains in layers waiting"
    )
    assert lines[2].startswith("4 problems: 2 done, 1 left, 1 waiting; ")


def test_a_layer_without_a_time_is_counted_aloud():
    """What nobody has timed is no part of the total."""
    unknown = Layer("enc.3", 1, None, None, 10.0, 0, "waiting")
    (line, _) = endings(summary({ONE: LAYERS[ONE], TWO: unknown}))
    assert line.endswith("; 1 layer without a time is not counted")


@pytest.mark.parametrize(
    ("states", "more", "complete"),
    [
        ({}, {}, True),
        ({}, {"ended": "interrupted"}, False),
        ({ONE: "failed"}, {}, False),
        ({}, {"layers": {ONE: LAYERS[ONE]._replace(before_us=None, after_us=None)}}, False),
        ({}, {"by_gain": False}, False),
    ],
)
def test_left_and_waiting_layers_are_no_failure(states, more, complete):
    """By gain a sweep is complete unless a layer failed, someone stopped it, or nothing could be timed."""
    made = summary()
    assert made._replace(states={**made.states, **states}, **more).complete is complete
