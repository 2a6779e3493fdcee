"""A real PostgreSQL of the tests' own: on 127.0.0.1, at a free port, in a temporary folder, gone afterwards.

Without its programs or a driver a test is skipped, and where TUNEDB_EXPECT_POSTGRES is set, as in CI, it fails.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from expected import require

PASSWORD = "s3cret/p@ss"
IN_A_URL = "s3cret%2Fp%40ss"
USER = "postgres"  # the server refuses to run as root


def binaries():
    """The folder of PostgreSQL's programs, the newest version's first; None where there are none."""
    found = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


def missing():
    """What a test with PostgreSQL lacks here, or an empty string."""
    if binaries() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (the extra tunedb[postgres])"
    return ""


class Cluster:
    """A running server, which makes databases."""

    def __init__(self, port):
        self.port = port
        self._numbers = itertools.count()

    def database(self):
        """The URL, password included, of a new and empty database."""
        name = f"sweep{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}:{IN_A_URL}@127.0.0.1:{self.port}/{name}"

    def connect(self, name="postgres"):
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=name, autocommit=True
        )


@contextlib.contextmanager
def cluster():
    """A new server, stopped at the end."""
    require(missing(), "TUNEDB_EXPECT_POSTGRES")
    programs = binaries()
    with tempfile.TemporaryDirectory(prefix="tunedb-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        _give_away(folder)
        data = folder / "data"
        _run(
            programs / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256",
            f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        _run(programs / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log", "-o", options, "start")
        try:
            yield Cluster(port)
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def _run(*command):
    given = [str(part) for part in command]
    if os.geteuid() == 0:
        given = ["runuser", "-u", USER, "--", *given]
    done = subprocess.run(given, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _give_away(folder):
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
