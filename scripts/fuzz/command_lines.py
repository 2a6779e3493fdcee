"""Random command lines: each ends with status 0, 1 or 2, without a traceback, and writes only where it may."""

import contextlib
import os
import random
import sys
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner

__all__ = ["run"]

SHAPES = (
    "16x32x64x128", "32x64x3x3", "1x4x64", "8x4x3", "4x8x3", "1x4x9x9", "4x4x3x3", "8x1x3x3", "x", "", "0x0x0x0", "1", "1x-4x9", "1x4x9x9x9", "9" * 30, "1x4x" + "9" * 5000,
    "2147483647x4x9x9", "2147483648x4x9x9", "\x1b[31m", "1X4", "\u0661x4x9",
)  # fmt: skip
NUMBERS = (
    "0",
    "1",
    "2",
    "-1",
    "3",
    "1x2",
    "2147483648",
    "9" * 30,
    "1e9",
    "nan",
    "inf",
    "0.001",
    "x",
    "",
    " 1",
    "\u0661",
)
OPS = (
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "all",
    "conv9d",
    "",
    "\x1b",
)
DEVICES = ("4090", "h100", "h200-sm89", "voodoo", "", "\x1b[31m", "a" * 300)
SUITES = ("kernelbench", "models", "suite.json", "broken.json", "none.json", ".", "a" * 300, "", "\x1b")
FILES = ("new.sqlite", "text.txt", ".", "none/x.sqlite", "empty", "suite.json", "loop")
IDS = ("kb81", "kb57", "a", "kb999", "", "\x1b[31m", "x" * 1000)
# Values that each option takes, beside some that none takes; an option that is not here is one without a value or a number.
VALUES = {
    "--op": OPS, "--kernel": OPS, "--suite": SUITES, "--x": SHAPES, "--w": SHAPES, "--only": IDS, "--device": DEVICES, "--gpus": ("all", "0", "0,1", "-1", "x", ""),
    "--dtype": ("float32", "float16", "float16,bfloat16", "float64", ",", ""), "--layout": ("channels_first", "channels_last", "nhwc", ""),
    "--precision": ("tf32", "ieee", "fp8"), "--db": FILES, "--triton-db": FILES, "--storage": ("new.log", "sqlite:///new.db", "text.txt", "."),
    "--html": ("page.html", ".", "none/page.html"), "--save": ("saved.json", ".", "none/x.json", "suite.json"),
}  # fmt: skip
ARGUMENTS = {
    "ls": FILES, "show": IDS, "merge": FILES, "report": SUITES, "tune": ("fuzzed:make", "fuzzed:wrong", "fuzzed:none", "none_such:make", "fuzzed", ":", ""),
}  # fmt: skip
MODEL = "import torch\nmake = lambda: (torch.nn.Conv1d(2, 2, 3), torch.zeros(1, 2, 9))\nwrong = lambda: 5\n"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
    "os.chmod",
}


def run(random: random.Random, folder: Path) -> str:
    """Run a random command line inside `folder`. Returns what is wrong with how it ended, or an empty text.

    A sweep is one that finds nothing: no search begins and no process starts. What the command changes outside of the
    folder (files, folders, databases) is a failure.
    """
    import tunedb.tune.sweep
    from tunedb.cli import main
    from tunedb.store.files import reload

    for name, text in (
        ("suite.json", "[]"),
        ("broken.json", '[\n{"id": "a"},\nx]'),
        ("text.txt", "some text\n"),
        ("empty", ""),
        ("fuzzed.py", MODEL),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    line = _line(random, main)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, _environment(folder)))
        stack.enter_context(mock.patch.object(tunedb.tune.sweep, "sweep", _finds_nothing))
        stack.enter_context(mock.patch.object(sys, "path", [str(folder), *sys.path]))
        stack.enter_context(mock.patch.object(sys, "dont_write_bytecode", True))
        stack.enter_context(warnings.catch_warnings(action="default"))  # pytest makes errors of tunedb's own
        reload()
        changed = stack.enter_context(_changes(folder))
        result = CliRunner().invoke(main, line)
    reload()
    said = f"tunedb {' '.join(map(ascii, line))[:1000]}\n"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return said + "".join(traceback.format_exception(result.exception))
    if result.exit_code not in {0, 1, 2}:
        return f"{said}status {result.exit_code}"
    if "Traceback" in result.output:
        return said + result.output[:3000]
    return f"{said}changed {', '.join(changed)}" if changed else ""


def _line(random: random.Random, main: Any) -> list[str]:
    name = random.choice(sorted(main.commands))
    options = [one for one in main.commands[name].params if one.param_type_name == "option"]
    line = [name]
    for option in random.sample(options, random.randrange(min(6, len(options)) + 1)):
        flag = random.choice(option.opts)
        line.append(flag)
        if not option.is_flag:
            values = next((VALUES[one] for one in option.opts if one in VALUES), NUMBERS)
            line.append(random.choice(values if random.random() < 0.95 else NUMBERS))
    if random.random() < 0.4 and "--x" in {opt for option in options for opt in option.opts}:
        line += ["--op", "conv2d", "--x", "1x4x9x9", "--w", "4x4x3x3"]
    for _ in range(random.choice((0, 1, 1, 2)) if name in ARGUMENTS else random.random() < 0.05):
        line.append(random.choice(ARGUMENTS.get(name, NUMBERS)))
    return line


def _environment(folder: Path) -> dict[str, str]:
    names = (
        "HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "TRITON_CACHE_DIR",
        "TMPDIR",
        "MPLCONFIGDIR",
        "TORCHINDUCTOR_CACHE_DIR",
    )
    return {**dict.fromkeys(names, str(folder)), "TUNEDB_PATH": str(folder / "user.sqlite")}


def _finds_nothing(problems: Any, settings: Any, **options: Any) -> Any:
    from tunedb.tune.summary import Summary

    return Summary(
        {},
        dict.fromkeys(problems, "done"),
        {},
        {},
        options["labels"],
        0,
        Counter(),
        0.0,
        len(settings.gpus),
        "",
    )


_watch = types.SimpleNamespace(folder="", changed=None)


@contextlib.contextmanager
def _changes(folder: Path) -> Iterator[list[str]]:
    """Collect the names of what is changed outside of a folder."""
    if not hasattr(_watch, "hooked"):
        sys.addaudithook(_heard)  # for the life of the process: Python takes none back
        _watch.hooked = True
    _watch.folder, _watch.changed = os.path.realpath(folder), []
    try:
        yield _watch.changed
    finally:
        _watch.changed = None


def _heard(event: str, given: tuple[Any, ...]) -> None:
    if _watch.changed is None or (event != "open" and event not in CHANGES):
        return
    path = given[0]
    if not isinstance(path, str | bytes | os.PathLike) or (event == "open" and not given[2] & WRITING):
        return
    changed, _watch.changed = _watch.changed, None  # what looks at the name is not heard itself
    whole = os.path.realpath(os.fsdecode(path))
    if not whole.startswith((_watch.folder + os.sep, "/dev/")) and whole != _watch.folder:
        changed.append(f"{event} {whole}")
    _watch.changed = changed
