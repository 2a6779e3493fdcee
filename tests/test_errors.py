"""What a message repeats of an input is short and printable."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunedb.errors import printable, quoted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@given(JSON, st.integers(10, 200))
def test_a_quotation_is_short_and_printable(value, most):
    """Any value is quoted in printable text of at most so many characters; a short simple one as Python writes it."""
    text = quoted(value, most)
    assert text.isprintable()
    assert len(text) <= most
    if isinstance(value, str | int) and len(repr(value)) <= min(most, 40):
        assert text == repr(value)


@pytest.mark.parametrize(
    "value", ["x" * 50_000_000, 10**100_000, -(10**5000), [0] * 10**6, {"x" * 10**7: 1}, "\x1b" * 10**6],
    ids=range(6),
)  # fmt: skip
def test_a_large_value_is_quoted_at_once(value):
    """50 MB of text or a number of any length cost no more than a short one, and raise nothing."""
    start = time.process_time()
    assert len(quoted(value)) <= 80
    assert time.process_time() - start < 1


@given(st.text(st.characters()))
def test_printable(text):
    """Unprintable characters become escapes, all others stay, and a cut ends in dots."""
    whole = printable(text, None)
    assert whole.isprintable()
    assert whole == text or not text.isprintable()
    assert len(printable(text, 20)) <= 20
    assert printable(text, 20) == whole or printable(text, 20).endswith("...")
