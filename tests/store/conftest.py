"""Files of older schema versions to test with."""

import shutil
from pathlib import Path

import pytest
from older_files import VERSION1


@pytest.fixture
def old(tmp_path):
    """A copy of the file of version 1."""
    return Path(shutil.copy(VERSION1, tmp_path / "old.sqlite"))
