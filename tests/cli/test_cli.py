import sqlite3
import subprocess
import sys
from collections import Counter

import click
import pytest
from click.testing import CliRunner

import tunedb.tune.sweep
from tunedb import cli
from tunedb.cli import main, process
from tunedb.errors import StorageError
from tunedb.store.schema import VERSION
from tunedb.store.write import Store
from tunedb.tune.summary import Summary

SHAPE = ["--x", "16x32x64x128", "--w", "32x64x3x3", "--stride", "5", "--padding", "1", "--dilation", "2"]


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def swept(monkeypatch):
    """What the sweep was called with; it finds nothing, quickly."""
    calls = []

    def sweep(problems, settings, **options):
        calls.append({"problems": problems, **settings._asdict(), **options})
        states = dict.fromkeys(problems, "done")
        return Summary({}, states, {}, {}, options["labels"], 0, Counter(), 0.0, len(settings.gpus), "")

    monkeypatch.setattr(tunedb.tune.sweep, "sweep", sweep)
    return calls


def only_message(result):
    """The output holds one message and no traceback."""
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


def test_every_command_has_help(run):
    """The group and each command say what they do."""
    for name in ([], *([name] for name in main.commands)):
        result = run(*name, "--help")
        assert result.exit_code == 0
        assert len(result.output.splitlines()[2]) > 10
    assert {
        "sweep",
        "ls",
        "show",
        "explain",
        "report",
        "merge",
        "prune",
        "tune",
        "doctor",
        "confirm",
        "profile",
    } == set(main.commands)


def test_sweep_calls_the_library(run, swept, tmp_path):
    """Options of a sweep arrive in the library, and the suite is noted in the database first."""
    result = run(
        "sweep", "--kernel", "conv_transpose2d", "--suite", "kernelbench", "--dtype", "float16,bfloat16", "--layout", "channels_last",
        "--device", "4080", "--trials", 7, "--time-limit", 60, "--storage", "sqlite:///x.db", "--db", tmp_path / "a.sqlite", "--only", "kb81",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (call,) = swept
    assert [(problem.dtype, problem.layout) for problem in call["problems"]] == [
        ("float16", "channels_last"),
        ("bfloat16", "channels_last"),
    ]
    assert (call["device"].slug, call["provenance"], call["gpus"]) == ("4080", "predicted", ())
    assert (call["trials"], call["deadline_s"], call["storage"]) == (7, 60.0, "sqlite:///x.db")
    assert call["db"] == tmp_path / "a.sqlite"
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM suites").fetchone() == (37,)


def test_sweep_of_a_shape(run, swept, tmp_path, problem):
    """A shape is swept in torch's terms, with the settings' own number of trials, with the history beside the database."""
    path = tmp_path / "a.sqlite"
    result = run(
        "sweep",
        "--kernel",
        "conv_transpose2d",
        *SHAPE,
        "--dtype",
        "float32",
        "--layout",
        "channels_first",
        "--db",
        path,
    )
    assert result.exit_code == 0, result.output
    assert swept[0]["problems"] == [problem]
    assert (swept[0]["trials"], swept[0]["minutes"]) == (None, None)
    assert swept[0]["storage"] == str(tmp_path / "a.history.log")


def test_kernel_is_another_name_of_op(run, swept, tmp_path):
    """`--kernel` names the operation as `--op` does: the same problems are swept."""
    for name in ("--op", "--kernel"):
        result = run("sweep", name, "conv_transpose2d", *SHAPE, "--db", tmp_path / "a.sqlite")
        assert result.exit_code == 0, result.output
    assert swept[0]["problems"] == swept[1]["problems"]


def test_every_option_has_help(run):
    """Each option of each command says what it does."""
    for command in main.commands.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert len(parameter.help or "") > 5, (command.name, parameter.name)


def test_sweep_into_two_databases(run, swept, tmp_path):
    """The database without torch's answers has the suites too, and the GPU's older code is a device like others."""
    path, own = tmp_path / "a.sqlite", tmp_path / "triton.sqlite"
    result = run("sweep", "--kernel", "conv1d", "--suite", "kernelbench", "--device", "h200-sm89", "--db", path, "--triton-db", own)  # fmt: skip
    assert result.exit_code == 0, result.output
    (call,) = swept
    assert (call["device"].slug, call["db"], call["triton_db"]) == ("h200-sm89", path, own)
    for file in (path, own):
        with sqlite3.connect(file) as connection:
            assert connection.execute("SELECT count(*) FROM suites").fetchone() == (37,)


def test_minutes_are_the_whole_commands(run, swept, monkeypatch, tmp_path):
    """What the command has taken before the sweep begins is taken off its minutes; trials are then the most of a layer."""
    monkeypatch.setattr(process, "age_s", lambda: 6.0)
    run(
        "sweep",
        "--kernel",
        "conv_transpose2d",
        *SHAPE,
        "--minutes",
        2,
        "--trials",
        60,
        "--db",
        tmp_path / "a.sqlite",
    )
    assert swept[0]["minutes"] == pytest.approx(1.9)
    assert swept[0]["trials"] == 60
    assert swept[0]["calls"] == dict.fromkeys(swept[0]["problems"], 1)


def test_a_command_knows_how_long_it_has_run():
    """A process that is the command counts its own start; one that calls it does not."""
    code = "import sys, time; sys.argv = ['{}']; time.sleep(0.5); from tunedb.cli import process; print(process.age_s())"
    ages = [
        float(subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True).stdout)
        for name in ("/usr/bin/tunedb", "/site-packages/tunedb/__main__.py", "/usr/bin/pytest")
    ]  # fmt: skip
    assert 0.5 < ages[0] < 60
    assert 0.5 < ages[1] < 60
    assert ages[2] == 0


def test_incomplete_sweep_fails(run, monkeypatch, tmp_path):
    """A sweep that leaves a problem without an answer ends with status 1."""
    monkeypatch.setattr(
        tunedb.tune.sweep,
        "sweep",
        lambda problems, _, **__: Summary(
            {}, dict.fromkeys(problems, "failed"), {}, {}, {}, 0, Counter(), 0.0, 0, ""
        ),
    )
    assert run("sweep", "--kernel", "conv_transpose2d", *SHAPE, "--db", tmp_path / "a.sqlite").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--op", "conv9d"], "op must be one of conv1d"),
        (
            ["--kernel", "conv1d", "--suite", "nothing"],
            "suite must be one of kernelbench, models or a JSON file",
        ),
        (["--kernel", "conv1d", "--device", "voodoo"], "device must be one of 3090"),
        (["--kernel", "conv1d", "--dtype", "float64"], "dtype must be among"),
        (["--kernel", "conv1d", "--layout", "nhwc"], "layout must be among"),
        (["--kernel", "conv1d", "--precision", "fp8"], "--precision"),
        (["--kernel", "conv1d", "--trials", "0"], "--trials"),
        (["--kernel", "conv1d", "--gpus", "7"], "gpus must be all"),
        (["--kernel", "conv1d", "--only", "kb999"], "an id must stand in"),
        (["--kernel", "conv2d", "--x", "1x2x3x4"], "a shape must have all of one operation, --x and --w"),
        (["--kernel", "all", "--x", "1x2x3x4", "--w", "1x2x3x3"], "a shape must have all of one operation"),
        (
            ["--kernel", "conv2d", "--x", "1x2x3x4", "--w", "1x3x3x3"],
            "the second size of w times groups must be the channels of x",
        ),
        (["--kernel", "conv2d", "--x", "big", "--w", "1x3x3x3"], "x must be sizes joined by x"),
    ],
)
def test_usage_errors(run, swept, tmp_path, arguments, message):
    """What cannot work is refused in one message with status 2, before a file is made."""
    result = run("sweep", *arguments, "--db", tmp_path / "a.sqlite")
    assert result.exit_code == 2
    assert message in only_message(result)
    assert swept == []
    assert list(tmp_path.iterdir()) == []


def test_suite_file_with_errors(run, swept, tmp_path):
    """Every error of a suite file is named with its line, with status 2."""
    path = tmp_path / "mine.json"
    path.write_text('[\n{"id": "a"},\nnonsense,\n{"id": "b"}\n]')
    result = run("sweep", "--kernel", "conv1d", "--suite", path, "--db", tmp_path / "a.sqlite")
    assert result.exit_code == 2
    for line in (
        "line 2: a: a record must have op",
        "line 3: Expecting value",
        "line 4: b: a record must have op",
    ):
        assert line in only_message(result)
    assert swept == []


def test_unusable_database(run, swept, tmp_path, record):
    """A database that is damaged, newer, foreign, locked, or in no folder ends a sweep with status 1 and is left as it was."""
    path = tmp_path / "a.sqlite"
    with Store(path) as store:
        store.put(record)
    sound = path.read_bytes()
    spoiled = {
        "must be a sound SQLite file": b"nonsense" * 999,
        f"must be at most {VERSION}, but it is 9: update tunedb": sound[:60]
        + (9).to_bytes(4, "big")
        + sound[64:],
        "another program made it": sound[:68] + b"none" + sound[72:],
    }
    for message, data in spoiled.items():
        path.write_bytes(data)
        result = run("sweep", "--kernel", "conv_transpose2d", *SHAPE, "--db", path)
        assert result.exit_code == 1
        assert message in only_message(result)
        assert path.read_bytes() == data
    result = run("sweep", "--kernel", "conv_transpose2d", *SHAPE, "--db", tmp_path / "no" / "a.sqlite")
    assert result.exit_code == 1
    assert "must lie in a folder that exists" in only_message(result)
    assert swept == []


def test_history_that_cannot_be_opened(run, monkeypatch, tmp_path):
    """A search history that cannot be opened ends with its message and status 1."""

    def sweep(*_, **__):
        raise StorageError("the search history must be a journal file.")

    monkeypatch.setattr(tunedb.tune.sweep, "sweep", sweep)
    result = run("sweep", "--kernel", "conv_transpose2d", *SHAPE, "--db", tmp_path / "a.sqlite")
    assert result.exit_code == 1
    assert "the search history must be a journal file." in only_message(result)


def test_programming_errors_propagate(run, monkeypatch, tmp_path):
    """An error that nobody foresaw is not dressed up as a message."""
    monkeypatch.setattr(tunedb.tune.sweep, "sweep", lambda *_, **__: 1 // 0)
    result = run("sweep", "--kernel", "conv_transpose2d", *SHAPE, "--db", tmp_path / "a.sqlite")
    assert isinstance(result.exception, ZeroDivisionError)


def test_bodies_are_thin():
    """Each command is a call of the library: its body has about 15 lines at most."""
    import ast
    import inspect

    modules = [cli, *(sys.modules[command.callback.__module__] for command in main.commands.values())]
    for node in [node for module in modules for node in ast.parse(inspect.getsource(module)).body]:
        if isinstance(node, ast.FunctionDef) and (node.decorator_list or node.name.startswith("_")):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = {line for statement in body for line in range(statement.lineno, statement.end_lineno + 1)}
            assert len(lines) <= 16, node.name
