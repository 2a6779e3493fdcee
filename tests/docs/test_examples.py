"""The examples of README.md and of the pages work: what needs no GPU runs, the rest is parsed and named."""

import ast
import contextlib
import io
import logging
import re
import shlex
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner
from pages import DOCS, ROOT, blocks, in_nav

from tunedb.cli import main
from tunedb.store import files

PAGES = [ROOT / "README.md", ROOT / "db/README.md", *(DOCS / name for name in in_nav() if (DOCS / name).exists())]  # fmt: skip
SHELL, PYTHON = ("", "sh"), "python"
# Programs whose commands are only looked at: pip changes the environment, the others come from elsewhere.
ELSEWHERE = ("pip", "sqlite-utils", "python -c")


class Command(NamedTuple):
    """A command of a shell block, and why it is not run."""

    block: str
    words: list[str]
    not_run: str


def why_not(block, words):
    """Why a command is not run: its block's comment, or that a sweep is of more than a few trials of one shape."""
    if block.comment:
        return block.comment
    if words[:2] == ["tunedb", "sweep"] and not {"--x", "--trials"} <= set(words):
        return "takes minutes or a GPU"
    return "" if words[0] == "tunedb" else "is not tunedb's"


def commands(page):
    found = []
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True) if re.match(r"(tunedb|make|python|pytest|pip|sqlite-utils) ", line) else []  # fmt: skip
            if words:
                found.append(Command(block.name, words, why_not(block, words)))
    return found


COMMANDS = {page: commands(page) for page in PAGES}
PYTHONS = [block for page in PAGES for block in blocks(page) if block.language == PYTHON]
RUN = [block for block in PYTHONS if not block.comment and "cuda" not in block.text]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all pages, in their order: a page may use what its own earlier commands made."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(files, "user_files", lambda: [folder / "user.sqlite"])
    files.reload()
    yield lambda words: CliRunner().invoke(main, words)
    files.reload()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(not one.not_run for one in COMMANDS[page])], ids=lambda page: str(page.relative_to(ROOT))
)  # fmt: skip
def test_commands_run(page, run):
    """Every command of tunedb that needs no GPU and little time ends well and says something."""
    pytest.importorskip("triton")
    for command in COMMANDS[page]:
        if not command.not_run:
            result = run(command.words[1:])
            assert result.exit_code == 0, (command, result.output, result.exception)
            assert result.output.strip()


def test_what_is_not_run_is_named():
    """The commands of tunedb that are only parsed are these, so that none is left out by mistake."""
    found = {}
    for page, ones in COMMANDS.items():
        for one in ones:
            if one.not_run and one.words[0] == "tunedb":
                found.setdefault(f"{page.relative_to(ROOT)}: {one.not_run}", []).append(one.words[1])
    assert {reason: len(names) for reason, names in found.items()} == {
        "README.md: takes minutes or a GPU": 4,
        "README.md: needs a GPU": 3,
        "db/README.md: needs a GPU": 1,
        "db/README.md: takes minutes or a GPU": 5,
        "docs/developers/add-a-device.md: takes minutes or a GPU": 1,
        "docs/command-line.md: needs a GPU": 2,
        "docs/sweeping.md: needs a GPU": 7,
        "docs/shared-storage.md: takes minutes or a GPU": 2,
        "docs/developers/add-a-kernel-family.md: installs a package": 2,
        "docs/sweeping.md: takes minutes or a GPU": 1,
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    """Every command has the options and files that it names: tunedb's are parsed, targets of make and scripts are looked up."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in COMMANDS[page]:
        program, *rest = command.words
        if program == "tunedb":
            with click.Context(main) as context:
                main.commands[rest[0]].make_context(rest[0], rest[1:], parent=context)
        elif program == "make":
            assert re.search(rf"^{rest[0]}:", makefile, re.MULTILINE), command
        elif program == "python" and rest[0] != "-c":
            source = (ROOT / rest[0]).read_text(encoding="utf-8")
            source += "".join(
                path.read_text(encoding="utf-8") for path in (ROOT / "scripts/bench").glob("*.py")
            )
            assert all(f'"{word}"' in source for word in rest if word.startswith("--")), command
        elif program == "pytest":
            assert all((ROOT / word).exists() for word in rest if "/" in word), command
        else:
            assert " ".join(command.words).startswith(ELSEWHERE), command


@contextlib.contextmanager
def logging_as_it_was():
    """Take back what a page says about logging: else later tests of this process write every debug line."""
    own, root = logging.getLogger("tunedb"), logging.getLogger()
    level, handlers = own.level, root.handlers[:]
    try:
        yield
    finally:
        own.setLevel(level)
        root.handlers[:] = handlers


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_python_runs(block, folder, monkeypatch):
    """A block of Python that needs no GPU runs as it stands, and prints what a block of text behind it says."""
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed, logging_as_it_was():
        exec(compile(block.text, block.name, "exec"), {"__name__": block.name})
    behind = blocks(ROOT / block.page)[block.number :][:1]
    if behind and behind[0].language == "text":
        assert printed.getvalue().rstrip() == behind[0].text.rstrip()


@pytest.mark.parametrize("block", PYTHONS, ids=lambda block: block.name)
def test_python_names_exist(block):
    """Every block of Python is Python, and what it names of torch and tunedb is there."""
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"torch", "tunedb"}:  # fmt: skip
            module = __import__(node.value.id)
            assert hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


def test_blocks_that_need_a_gpu_are_few():
    """Of all blocks of Python these need a GPU; the others run or are excerpts of tested files."""
    left = [
        block.name for block in PYTHONS if block not in RUN and not block.comment.startswith("excerpt of ")
    ]
    assert left == [
        "README.md-1",
        "README.md-3",
        "docs/shared-storage.md-3",
        "docs/developers/add-a-device.md-3",
    ]
