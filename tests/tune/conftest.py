"""Storages for sweeps to share: each test gets a new and empty one."""

import postgres
import pytest


@pytest.fixture(scope="session")
def cluster():
    """A PostgreSQL server for all tests of a process."""
    with postgres.cluster() as running:
        yield running


@pytest.fixture(params=["journal", "sqlite", "postgres"])
def shared(request, tmp_path):
    """A storage of each kind that can tell who owns a problem."""
    if request.param == "postgres":
        return request.getfixturevalue("cluster").database()
    return (
        str(tmp_path / "history.journal") if request.param == "journal" else f"sqlite:///{tmp_path}/h.sqlite"
    )
