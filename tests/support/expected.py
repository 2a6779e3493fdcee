"""What a test needs from the machine: CI expects it, elsewhere the test is skipped."""

import os

import pytest

__all__ = ["require"]


def require(missing, variable):
    """Skip the test where something is missing, which a text says; fail it where the environment variable says that it must be there."""
    if missing and os.environ.get(variable):
        pytest.fail(f"{variable} is set, but {missing}.")
    if missing:
        pytest.skip(missing)
