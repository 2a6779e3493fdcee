"""The pages hold together: every page is in the navigation, every link leads somewhere, excerpts are what the files say."""

import re

import click
import pytest
from pages import DOCS, ROOT, anchors, blocks, in_nav, links, pages

from tunedb.cli import main

COMMAND_LINE = DOCS / "command-line.md"


def test_every_page_is_in_the_navigation():
    """The navigation names each page once, and no page that is not there."""
    assert sorted(in_nav()) == [str(page.relative_to(DOCS)) for page in pages()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """A link leads to a page or picture of docs/, so that the site has it too, and its anchor to a heading there."""
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name} links to {link}, which is not there"
        assert target.is_relative_to(DOCS), f"{page.name} links to {link}, which the site will not have"
        assert not anchor or anchor in anchors(target), f"{target.name} has no heading {anchor}"


def test_excerpts_are_what_the_files_say():
    """A block that names the file it is an excerpt of stands in that file, word by word."""
    found = [block for page in pages() for block in blocks(page) if block.comment.startswith("excerpt of ")]
    assert len(found) >= 8
    for block in found:
        source = (ROOT / block.comment.removeprefix("excerpt of ")).read_text(encoding="utf-8")
        assert block.text.strip() in source, f"{block.name} is not in the file any more"


def sections():
    """The text of the page on the command line, by command."""
    parts = re.split(r"^## tunedb (\w+)$", COMMAND_LINE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_the_command_line_page_names_every_command():
    """Each command has its section, and no section is of a command that is gone."""
    assert set(sections()) - {""} == set(main.commands)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_the_command_line_page_names_every_option(name):
    """The table of a command has each option with its default and its help, and none that is gone."""
    command = main.commands[name]
    rows = dict(re.findall(r"^\| (`--.*?) \| (.*) \|$", sections()[name].replace(r"\|", "/"), re.MULTILINE))
    told = {tuple(re.findall(r"--[\w-]+", first)): rest for first, rest in rows.items()}
    options = {tuple(option.opts): option for option in command.params if isinstance(option, click.Option)}
    assert set(told) == set(options)
    for names, option in options.items():
        default, help_text = told[names].split(" | ", 1) if " | " in told[names] else ("", told[names])
        assert help_text.strip(" |") == (option.help or "").replace("|", "/"), names
        if isinstance(option.default, str | int) and not option.is_flag:
            assert default == f"`{option.default}`", names
        if option.required:
            assert default == "required", names
    for argument in (one for one in command.params if isinstance(one, click.Argument)):
        assert argument.make_metavar(click.Context(command)) in sections()[name]
    assert set(re.findall(r"--[a-z][\w-]*", sections()[name])) <= {one for names in options for one in names} | {"--help"}  # fmt: skip


def test_the_page_on_hashes_names_the_options_of_carry():
    """Every option that the page names is one of scripts/carry.py."""
    page = (DOCS / "developers/what-a-hash-covers.md").read_text(encoding="utf-8")
    known = set(re.findall(r'"(--[\w-]+)"', (ROOT / "scripts/carry.py").read_text(encoding="utf-8")))
    assert set(re.findall(r"--[a-z][\w-]*", page)) <= known
