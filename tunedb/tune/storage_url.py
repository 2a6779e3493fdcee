"""A search history behind a URL: how it is opened, and how it is shown. A password in it is never printed."""

import contextlib
import random
import re
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

import optuna
from optuna.storages import BaseStorage, RDBStorage

from tunedb.errors import StorageError, printable

__all__ = ["explained", "masked", "open_url", "shown", "unusable"]

_CONNECT_S = 10
# The server ends a session that stays idle inside a transaction for so long: a process that was stopped there would keep
# its locks, and others would wait for it without limit.
_IDLE_S = 20
_TRIES = 8  # to open a database while others make its tables
_SHORTEST = (
    3  # characters of a secret that is searched for in a text; a shorter one would be found everywhere
)

# The user's password ends at the last @, also where somebody forgot to write %40 for one inside it.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):(.*)@", re.DOTALL)
_PARAMETER = re.compile(r"([?&][^=&#]*pass[^=&#]*=)([^&#]*)", re.IGNORECASE)


def shown(storage: str) -> str:
    """Return a storage as it may be printed: a journal file as it is, a URL without its passwords."""
    if "://" not in storage:
        return storage
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", storage))


def masked(text: str, storage: str) -> str:
    """Return a text, such as an exception's, without the passwords of a storage."""
    text = text.replace(storage, shown(storage))
    for secret in sorted(_secrets(storage), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def open_url(url: str) -> BaseStorage:
    """Return the storage of a URL: a database's tables are made where there are none, also while other sweeps make them."""
    if url.startswith("grpc://"):
        return _open_proxy(url)
    url = re.sub(
        r"^postgres(ql)?://", "postgresql+psycopg://", url
    )  # psycopg 3, whatever SQLAlchemy's default is
    postgres = url.startswith("postgresql+psycopg")
    options: dict[str, Any] = {"pool_pre_ping": True}
    if postgres:
        options["connect_args"] = {"connect_timeout": _CONNECT_S, "keepalives_idle": _CONNECT_S}
    for tries_left in reversed(range(_TRIES)):
        try:
            storage = RDBStorage(url, engine_kwargs=dict(options))
        except Exception as error:
            if not tries_left or not _made_by_another(error):
                raise
            time.sleep(random.uniform(0.05, 0.3))
        else:
            break
    if postgres:
        _limit_idle(storage)
    return storage


def unusable(storage: str, error: Exception) -> StorageError:
    """Return the error to raise for a storage that cannot be opened."""
    # What must not be printed is masked before the text is cut, which could leave a part of it.
    text = printable(masked(f"{type(error).__name__}: {error}".splitlines()[0], storage))
    remedy = "name another with --storage"
    if isinstance(error, ImportError) and "://" in storage:
        extra = "grpc" if storage.startswith("grpc") else "postgres"
        if extra == "grpc" or storage.startswith("postgres"):
            remedy = (
                f"install its driver with `pip install 'tunedb[{extra}]'`, or name another with --storage"
            )
    return StorageError(
        f"the search history must be a journal file of Optuna or a database URL it can open, but {shown(storage)!r} gave {text}: {remedy}."
    )


@contextlib.contextmanager
def explained(storage: str) -> Iterator[None]:
    """Turn what a database or proxy raises in the middle of a sweep into StorageError, without its passwords."""
    from sqlalchemy.exc import SQLAlchemyError

    grpc = sys.modules.get("grpc")
    broken = (optuna.exceptions.StorageInternalError, SQLAlchemyError, *([grpc.RpcError] if grpc else []))
    try:
        yield
    except broken as error:
        cause = error.__cause__ or error
        text = next(iter(str(cause).splitlines()), "") or type(cause).__name__
        raise StorageError(
            f"the search history must answer throughout a sweep, but {shown(storage)!r} gave {masked(text, storage)}: see to its server, then repeat the command, which goes on from there."
        ) from (None if _secrets(storage) else error)


def _secrets(storage: str) -> set[str]:
    """Return what must not be printed, as it is written and as it is sent."""
    if "://" not in storage:
        return set()
    found = [match[2] for match in (*_PASSWORD.finditer(storage), *_PARAMETER.finditer(storage))]
    forms = {form for text in found for form in (text, unquote(text), unquote_plus(text))}
    # A library that splits the URL elsewhere shows a part of a password as a host.
    forms |= {part for form in forms for part in re.split("[@/:?]", form)}
    return {form for form in forms if len(form) >= _SHORTEST}


def _open_proxy(url: str) -> BaseStorage:
    """Return the client of Optuna's gRPC proxy, once that answers."""
    host, _, port = url.removeprefix("grpc://").rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("a proxy's URL must be grpc://HOST:PORT")
    import grpc  # noqa: F401 (Optuna imports it later, where a missing one is no ImportError)

    proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
    proxy.wait_server_ready(timeout=_CONNECT_S)
    return proxy


def _made_by_another(error: Exception) -> bool:
    """Return whether tables could not be made, or were found half made, because another process was at it."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    if isinstance(error, optuna.exceptions.StorageInternalError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, OperationalError):  # SQLite's and MySQL's word for it, and for much else
        return "already exists" in str(error)
    return isinstance(error, (AssertionError, IntegrityError, ProgrammingError))


def _limit_idle(storage: RDBStorage) -> None:
    from sqlalchemy import event

    def limit(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_S}s'")
        connection.commit()

    event.listen(storage.engine, "connect", limit)
    storage.engine.dispose()  # those that are open lack it
