from tunedb.problem import Problem
from tunedb.record import PROVENANCES, STATUSES, Measurement, Record

# The contract of the view `winners`: what people and tools query.
WINNERS = [
    "device", "op", "dtype", "precision", "layout", "n", "c_in",
    "c_out", "groups", "bias", "in_d", "in_h", "in_w", "k_d",
    "k_h", "k_w", "stride_d", "stride_h", "stride_w", "padding_d", "padding_h",
    "padding_w", "output_padding_d", "output_padding_h", "output_padding_w", "dilation_d", "dilation_h", "dilation_w",
    "kernel", "config", "time_us", "time_us_low", "time_us_high", "aten_us", "floor_us",
    "error", "aten_error", "provenance", "trials", "kernel_hash", "triton", "torch",
    "cudnn", "driver", "tuned_at",
]  # fmt: skip


def test_row_is_the_contract(record):
    """A record's row has the columns of the view `winners`, in the view's order."""
    assert list(record.row()) == WINNERS


def test_row_keeps_every_value(record):
    """Nothing of a record is lost or renamed in its row."""
    row = record.row()
    assert Problem(**{field: row[field] for field in Problem._fields}) == record.problem
    assert [row[field] for field in Record._fields[1:]] == list(record[1:])


def test_words():
    """Provenances go from the best to the least trusted, and only the first status may win."""
    assert PROVENANCES == ("measured", "proxy", "predicted")
    assert STATUSES[0] == "ok"
    assert len(set(STATUSES)) == len(STATUSES) == 8


def test_a_failure_needs_no_numbers():
    """A trial that failed is a status and a reason."""
    failed = Measurement("timed-out", detail="no answer in 30 s")
    numbers = {name: value for name, value in failed._asdict().items() if name not in {"status", "detail"}}
    assert set(numbers.values()) == {None}
    assert failed.detail == "no answer in 30 s"
