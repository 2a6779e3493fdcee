import os
import shutil
import sys
import warnings

import pytest

from tunedb.errors import DatabaseError, TunedbWarning
from tunedb.store import files
from tunedb.store.files import databases, opened, opened_elsewhere, reload, user_file, user_files
from tunedb.store.read import Database
from tunedb.store.write import Store


@pytest.fixture(autouse=True)
def _fresh():
    reload()
    yield
    reload()


def test_user_files_follow_the_variable(tmp_path, monkeypatch):
    """TUNEDB_PATH lists the user's files, first wins; without it there is one in the data directory."""
    monkeypatch.setenv("TUNEDB_PATH", f"{tmp_path / 'a'}{os.pathsep}{os.pathsep}{tmp_path / 'b'}")
    assert user_files() == [tmp_path / "a", tmp_path / "b"]
    assert user_file() == tmp_path / "a"
    monkeypatch.setenv("TUNEDB_PATH", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_files() == [tmp_path / "tunedb" / "tunedb.sqlite"]


def test_databases_in_order(shelf, record):
    """Files that exist are listed user first, then the device's own, then those of other devices."""
    own, other, user = shelf.put(record, ship="h200"), shelf.put(record, ship="4090"), shelf.put(record)
    assert databases("h200") == [user, own, other]
    assert [file.path for file in opened("h200")] == [user, own]
    assert [file.path for file in opened_elsewhere("h200")] == [other]
    user.unlink()
    assert databases("4090") == [other, own]


def test_a_named_file_that_is_missing(tmp_path, monkeypatch):
    """A file that TUNEDB_PATH names and that is not there is complained about once."""
    monkeypatch.setenv("TUNEDB_PATH", str(tmp_path / "nowhere.sqlite"))
    with pytest.warns(
        TunedbWarning, match="TUNEDB_PATH must name files, but there is none at .*nowhere.sqlite"
    ):
        opened("no-such-gpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened("no-such-gpu") == []


def test_bad_file_is_complained_about_once(shelf, record):
    """A damaged file gives one warning, and none again until reload."""
    shelf.put(record).write_text("no database")
    for _ in range(2):
        with pytest.warns(TunedbWarning, match="must be a sound SQLite file.*The next tier answers"):
            assert opened("h200") == []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert opened("h200") == []
        reload()


def test_opened_once_and_again_when_replaced(shelf, record):
    """A file is opened once, follows what is written to it, and is opened again when another takes its place."""
    path = shelf.put(record)
    first = opened("h200")[0]
    assert opened("h200")[0] is first
    later = record._replace(time_us=1.0)
    with Store(shelf.folder / "new.sqlite") as store:
        store.put(later)
    reload()
    first = opened("h200")[0]
    shutil.copy(shelf.folder / "new.sqlite", shelf.folder / "copy.sqlite")
    (shelf.folder / "copy.sqlite").replace(path)
    second = opened("h200")[0]
    assert second is not first
    assert second.record(record.problem, "h200") == later
    first.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_may_not_be_entered(shelf, record):
    """Files in a folder that is closed to the user are passed over, without an error."""
    path = shelf.put(record)
    shelf.folder.chmod(0o700)
    os.seteuid(65534)
    try:
        assert opened("h200") == []
        assert databases("h200") == []
        with pytest.raises(DatabaseError, match="there is none at"):
            Database(path)
        with pytest.raises(DatabaseError, match="may not be entered"):
            Store(path.with_name("other.sqlite"))
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_its_own(shelf, record):
    """A forked child answers from connections of its own, even if a lock was held at the fork."""
    shelf.put(record)
    file = opened("h200")[0]
    with files._lock, file._lock:
        child = os.fork()
        if child == 0:
            found = opened("h200")
            os._exit(0 if found[0] is not file and found[0].record(record.problem, "h200") == record else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_inference_needs_no_platformdirs(monkeypatch, tmp_path):
    """Where platformdirs is missing, the user's file is where the XDG convention has it."""
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.delenv("TUNEDB_PATH", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert files.user_files() == [tmp_path / "tunedb" / "tunedb.sqlite"]
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.user_files() == [tmp_path / ".local" / "share" / "tunedb" / "tunedb.sqlite"]
