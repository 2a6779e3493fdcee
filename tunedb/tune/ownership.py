"""Who may write to a problem's study: a sweep whose problem was taken over meanwhile is told so, and changes nothing.

Each fence asks right before a write whether the state is still one that allows it. How closely the two belong together
depends on the storage: one transaction in a database, one lock on a file, and the next best thing behind a proxy.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import optuna
from optuna.storages import BaseStorage, RDBStorage

__all__ = ["Fence", "TakenOver", "fence_for"]

Allowed = Callable[
    [Mapping[str, Any]], bool
]  # of the state as it is in the history, empty where there is none

_SETTLE_S = 0.2  # behind a proxy: write a claim, wait, and read whether another one overwrote it


class TakenOver(Exception):  # noqa: N818 (no error: what happens to a sweep that gave no sign of life)
    """The state of a problem no longer allows a write: another sweep has the problem, or has ended it."""


class Lock(Protocol):
    """What keeps other processes out between `acquire` and `release`."""

    def acquire(self) -> None: ...

    def release(self) -> None: ...


class Fence(Protocol):
    """Lets writes to a study through as long as its state allows them."""

    settle_s: float  # how long a claim must stand before it counts

    def writing(self, study: optuna.Study, allowed: Allowed) -> contextlib.AbstractContextManager[None]:
        """Guard the writes of a block. Raises TakenOver: where the state does not allow them; nothing is written then."""


class FileFence:
    """For a journal file: the state is read and the write is made under one lock."""

    settle_s = 0.0

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    @contextlib.contextmanager
    def writing(self, study: optuna.Study, allowed: Allowed) -> Iterator[None]:
        self._lock.acquire()
        try:
            _check(study.user_attrs.get("state", {}), allowed)
            yield
        finally:
            self._lock.release()


class ProxyFence:
    """For Optuna's gRPC proxy, which has neither locks nor transactions: the state is read shortly before the write."""

    settle_s = _SETTLE_S

    @contextlib.contextmanager
    def writing(self, study: optuna.Study, allowed: Allowed) -> Iterator[None]:
        _check(study.user_attrs.get("state", {}), allowed)
        yield


class SqlFence:
    """For a database: the state is read and locked in the very transaction of the write, just before it is committed."""

    settle_s = 0.0

    def __init__(self, storage: RDBStorage) -> None:
        from sqlalchemy import event

        self._guarded: tuple[int, Allowed] | None = None
        event.listen(storage.scoped_session, "before_commit", self._before_commit)

    @contextlib.contextmanager
    def writing(self, study: optuna.Study, allowed: Allowed) -> Iterator[None]:
        self._guarded = study._study_id, allowed  # noqa: SLF001 (Optuna has no public name for it)
        try:
            yield
        finally:
            self._guarded = None

    def _before_commit(self, session: Any) -> None:
        """Raise TakenOver, with which Optuna rolls back. Reading goes past the session, so that the change stays pending."""
        if self._guarded is None or not (session.new or session.dirty or session.deleted):
            return
        from sqlalchemy import select

        study, allowed = self._guarded
        table = optuna.storages._rdb.models.StudyUserAttributeModel.__table__  # noqa: SLF001 (its schema is versioned)
        row = select(table.c.value_json).where(table.c.study_id == study, table.c.key == "state")
        connection = session.connection()
        # SQLite knows no lock on a row and begins its transaction with the first change only.
        if connection.dialect.name == "sqlite" and not connection.connection.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        text = connection.execute(row.with_for_update()).scalar()
        _check(json.loads(text) if text else {}, allowed)


def fence_for(storage: BaseStorage, lock: Lock | None) -> Fence:
    """Return what guards the writes to a storage."""
    if lock is not None:
        return FileFence(lock)
    return SqlFence(storage) if isinstance(storage, RDBStorage) else ProxyFence()


def _check(state: Mapping[str, Any], allowed: Allowed) -> None:
    if not allowed(state):
        raise TakenOver
