"""Optuna's gRPC proxy in front of PostgreSQL: sweeps that reach the database through it."""

import socket
import subprocess
import sys
import warnings

import landscape
import pytest
from fake_sweep import DEVICE, LIMITS, PARTS
from optuna.storages import GrpcStorageProxy

from tunedb.errors import StorageError
from tunedb.store.read import Database
from tunedb.tune import storage_url
from tunedb.tune.journal import History
from tunedb.tune.settings import Settings
from tunedb.tune.sweep import sweep

SERVER = """
import sys
from optuna.storages import get_storage, run_grpc_proxy_server
run_grpc_proxy_server(get_storage(sys.argv[1]), host="localhost", port=int(sys.argv[2]))
"""
pytest.importorskip("grpc")


@pytest.fixture
def proxy(cluster):
    """The URL of a proxy, and that of the database behind it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = cluster.database()
    url = database.replace("postgresql:", "postgresql+psycopg:")
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-c", SERVER, url, str(port)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental
        GrpcStorageProxy(port=port).wait_server_ready(timeout=120)
    yield f"grpc://localhost:{port}", database
    server.kill()
    server.wait()


def test_a_sweep_goes_through_the_proxy(proxy, tmp_path):
    """What a sweep writes through the proxy is in the database behind it, and counts for a sweep that names that."""
    storage, database = proxy
    problems = [landscape.problem("conv2d", in_w=width) for width in (16, 32)]
    settings = Settings(
        DEVICE, "predicted", 12, storage, tmp_path / "a.sqlite", workers=1, parts=PARTS, limits=LIMITS
    )
    summary = sweep(problems, settings)
    assert summary.complete, (summary.ended, summary.causes, summary.states.values(), summary.bugs)
    assert len(summary.records) == 2
    again = sweep(problems, settings._replace(storage=database, db=tmp_path / "b.sqlite", collect=True))
    assert again.complete
    assert Database(tmp_path / "b.sqlite").record(problems[0], "h200") == summary.records[problems[0]]


@pytest.mark.parametrize("url", ["grpc://localhost", "grpc://localhost:port", "grpc://localhost:1"])
def test_a_proxy_that_is_not_there_is_named(url, monkeypatch):
    """A URL without a port, or where nobody answers, ends with the remedy."""
    monkeypatch.setattr(storage_url, "_CONNECT_S", 1)
    with pytest.raises(StorageError, match=f"{url}.*--storage"):
        History(url)
