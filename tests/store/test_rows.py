import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb.problem import Problem
from tunedb.record import Record
from tunedb.store.rows import (
    LARGEST,
    RowError,
    candidate_from_row,
    checked_record,
    layer_from_row,
    record_from_row,
)


def repr_short(value):
    return repr(value)[:8]


NUMBERS = ("time_us", "time_us_low", "time_us_high", "aten_us", "floor_us", "error", "aten_error")
TEXTS = (
    "device",
    "kernel",
    "config",
    "provenance",
    "kernel_hash",
    "triton",
    "torch",
    "cudnn",
    "driver",
    "tuned_at",
)
ANYTHING = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=30), st.binary(max_size=30)
)


def row_of(record):
    return [*record.problem, *record[1:]]


def test_row_gives_its_record(record):
    """A sound row becomes the record it came from."""
    assert record_from_row(row_of(record)) == record


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, "100", b"100", 10**400], ids=repr_short)
def test_impossible_numbers(record, name, value):
    """A time or an error that is not a finite number of at least 0 is refused by its name."""
    with pytest.raises(RowError, match=f"{name} must be a finite number"):
        checked_record(record._replace(**{name: value}))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [None, 1, b"text", "\x1b[2J", "x" * 5000])
def test_impossible_texts(record, name, value):
    """A text that is no text, too long or drives a terminal is refused by its name."""
    with pytest.raises(RowError, match=f"{name} must be printable text"):
        checked_record(record._replace(**{name: value}))


@pytest.mark.parametrize("value", [None, "16", 16.0, -1, LARGEST + 1])
@pytest.mark.parametrize("name", ["n", "c_in", "in_w", "dilation_h"])
def test_impossible_sizes(record, name, value):
    """A size that is no integer in range is refused by its name."""
    with pytest.raises(RowError, match=f"{name} must be an integer"):
        checked_record(record._replace(problem=record.problem._replace(**{name: value})))


@pytest.mark.parametrize(
    "change", [{"op": "conv9d"}, {"groups": 5}, {"dtype": "float64"}, {"in_d": 2}, {"dtype": "float16"}]
)
def test_impossible_problems(record, change):
    """A problem that torch would refuse is refused."""
    with pytest.raises(RowError):
        checked_record(record._replace(problem=record.problem._replace(**change)))


def test_unknown_provenance(record):
    """A provenance that is none of the three is refused."""
    with pytest.raises(
        RowError, match="provenance must be one of measured, proxy, predicted, but got 'guessed'"
    ):
        checked_record(record._replace(provenance="guessed"))


@given(at=st.integers(0, len(Problem._fields) + len(Record._fields) - 2), value=ANYTHING)
def test_any_value_anywhere(at, value):
    """Whatever stands in whatever column, a row is a record of the same values or a RowError."""
    row = row_of(RECORD)
    row[at] = value
    with contextlib.suppress(RowError):
        assert row_of(record_from_row(row)) == row


@given(st.lists(ANYTHING, min_size=11, max_size=11))
def test_any_candidate(row):
    """Whatever a row of measurements holds, it is a candidate or a RowError."""
    with contextlib.suppress(RowError):
        candidate_from_row(row)


@given(st.lists(ANYTHING, min_size=26, max_size=26))
def test_any_layer(row):
    """Whatever a row of suites holds, it is a layer or a RowError."""
    with contextlib.suppress(RowError):
        layer_from_row(row)


RECORD = Record(
    Problem("conv1d", "float16", "ieee", "channels_first", 1, 2, 4, 1, 1, 1, 1, 9, 1, 1, 3, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1),
    "h200", "fake", "{}", 1.5, None, None, None, 1.0, None, None, "predicted", 3, "new", "3.7", "2.13", "", "", "2026-11-20",
)  # fmt: skip


@pytest.mark.parametrize("name", ["time_us", "time_us_low", "time_us_high", "aten_us", "floor_us"])
def test_times_have_usual_ratios(record, name):
    """A time that is too short to be one is refused, so that the ratio of two times is neither 0 nor infinite."""
    with pytest.raises(RowError, match=f"{name} must be a time of at least 1e-09 us"):
        checked_record(record._replace(**{name: 4e-320}))
