"""Reads the Markdown pages: their fenced blocks with the comment in front, and their links."""

import re
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(?:<!-- ([^\n]*?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block; `comment` is the HTML comment in the line before it, which says why it is not run."""

    page: str
    number: int
    comment: str
    language: str
    text: str

    @property
    def name(self):
        return f"{self.page}-{self.number}"


def pages():
    return sorted(DOCS.rglob("*.md"))


def blocks(path):
    text = path.read_text(encoding="utf-8")
    page = str(path.relative_to(ROOT))
    return [Block(page, n, comment or "", language, body) for n, (comment, language, body) in enumerate(_BLOCK.findall(text), 1)]  # fmt: skip


def links(path):
    """The links of a page, without those in fenced blocks."""
    return _LINK.findall(_BLOCK.sub("", path.read_text(encoding="utf-8")))


def anchors(path):
    """The anchors of a page's headings, as Markdown's table of contents makes them."""
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def in_nav():
    """The pages of the navigation of mkdocs.yml."""
    found = []

    def walk(node):
        for entry in node if isinstance(node, list) else node.values():
            found.append(entry) if isinstance(entry, str) else walk(entry)

    walk(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    return found
