import pytest

from tunedb.device import by_slug
from tunedb.errors import StorageError
from tunedb.tune.settings import Settings
from tunedb.tune.storage_url import masked, shown, unusable


@pytest.mark.parametrize(
    ("storage", "printed"),
    [
        ("a/history.log", "a/history.log"),
        ("sqlite:////tmp/x@y:z.sqlite", "sqlite:////tmp/x@y:z.sqlite"),
        ("postgresql://me:pw@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg://me:p%40w@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://me:p@ss/wo:rd@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=pw&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("grpc://host:13000", "grpc://host:13000"),
    ],
)
def test_a_url_is_shown_without_its_password(storage, printed):
    """Everything but passwords is printed, also where a password holds characters that should have been quoted."""
    assert shown(storage) == printed


def test_a_text_is_masked():
    """The password is found as it was written, as it is sent, and in parts where a library splits the URL elsewhere."""
    url = "postgresql://me:top%40secret@host/db"
    text = f"cannot parse {url}; password top@secret refused; no host secret@host"
    assert masked(text, url) == (
        "cannot parse postgresql://me:***@host/db; password *** refused; no host ***@host"
    )


def test_settings_print_no_password(tmp_path):
    """The text of settings, as a traceback or a log may show it, has the storage without its password."""
    settings = Settings(by_slug("h200"), "measured", 1, "postgresql://me:pw@h/d", tmp_path)
    assert "postgresql://me:***@h/d" in repr(settings)


@pytest.mark.parametrize("extra", ["postgres", "grpc"])
def test_a_missing_driver_is_named(extra):
    """A URL whose driver is not installed says which extra brings it."""
    url = {"postgres": "postgresql://me:pw@h/d", "grpc": "grpc://h:1"}[extra]
    error = unusable(url, ModuleNotFoundError("No module named 'x'"))
    assert isinstance(error, StorageError)
    assert f"pip install 'tunedb[{extra}]'" in str(error)
    assert "pw" not in str(error)
