"""From a matplotlib figure to SVG that stands in a page: its colours and font are the page's, its ids its own.

Figures are drawn in pixels, y downwards, in the colours below. Each stands for a variable of the page's style sheet, so that
a dark page has dark plots.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from tunedb.errors import TunedbError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "NARROW", "WIDE", "Canvas", "Size", "cut"]

INK, MUTED, TUNEDB, TORCH, ESTIMATE, ON_TUNEDB = (f"#0{n}0{n}0{n}" for n in range(1, 7))
COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    TUNEDB: "var(--tunedb)",
    TORCH: "var(--torch)",
    ESTIMATE: "var(--estimate)",
    ON_TUNEDB: "var(--on-tunedb)",
}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
LETTER = 7.4  # pixels of a letter of 11.5 pixels in a wide font
_FONT = re.compile(
    r"font: (?:(bold|\d+) )?([\d.]+)px [^;]+"
)  # as matplotlib writes a font that is not bold, or all of them
_FAMILY = re.compile(r"font-family: [^;]+; ")


class Size(NamedTuple):
    """The two forms of a plot: beside the bars are their names, or, where there is no room for that, above them."""

    name: str
    width: int
    names: int  # pixels for the names, 0 for names above
    letters: int  # of a name
    step: int  # pixels from bar to bar

    def scale(self, bars: Sequence[tuple[float, str]]) -> float:
        """Return the pixels of a unit so that each bar and its value behind it have room."""
        rooms = (
            max(16.0, self.width - self.names - 10 - LETTER * len(value)) / length
            for length, value in bars
            if length > 0
        )
        return min(rooms, default=1.0)


WIDE = Size("wide", 1000, 290, 38, 25)
NARROW = Size("narrow", 360, 0, 46, 42)


class Canvas:
    """A drawing of some pixels. Text is never read as mathematics, and lies where it is put.

    Raises TunedbError: where matplotlib is not installed.
    """

    def __init__(self, width: int, height: int) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise TunedbError(
                "a page must have its plots drawn by matplotlib, which is not installed: `pip install 'tunedb[report]'`."
            ) from error
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")

    def bar(
        self, x: float, y: float, width: float, height: float, fill: str = "none", edge: str = "none", hatch: str = "", dashed: bool = False
    ) -> None:  # fmt: skip
        """Draw a bar whose left end is at x and whose middle is at y."""
        self.axes.barh(
            y, width, height, left=x, facecolor=fill, edgecolor=edge, hatch=hatch or None, linewidth=1,
            linestyle=(0, (3, 2)) if dashed else "solid",
        )  # fmt: skip

    def tick(self, x: float, y: float, height: float) -> None:
        """Draw a short upright line around y."""
        self.axes.plot(
            [x, x], [y - height / 2, y + height / 2], color=INK, linewidth=2, solid_capstyle="butt"
        )

    def text(
        self, x: float, y: float, words: str, colour: str = INK, size: float = 12, bold: bool = False, align: str = "left"
    ) -> None:  # fmt: skip
        """Write words whose middle is at y, and whose left, right or middle is at x."""
        self.axes.text(
            x, y, words, color=colour, fontsize=size, fontweight="bold" if bold else "normal",
            horizontalalignment=align, verticalalignment="center_baseline", parse_math=False,
        )  # fmt: skip

    def svg(self, name: str, title: str, description: str) -> str:
        """Return it as an element for HTML; `name` makes its ids unique in the page."""
        import warnings

        from matplotlib import rc_context

        file = io.StringIO()
        with (
            rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "hatch.linewidth": 1.0}),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings(
                "ignore", message="Glyph", category=UserWarning
            )  # the browser has more fonts
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        ET.register_namespace("", _SVG)
        ET.register_namespace("xlink", _XLINK)
        root = ET.fromstring(file.getvalue().encode())  # noqa: S314 (we have just drawn it)
        for metadata in root.findall(f"{{{_SVG}}}metadata"):
            root.remove(metadata)
        _own_ids(root, name)
        for attribute in ("width", "height", "version"):
            root.attrib.pop(attribute, None)
        root.set("role", "img")
        root.set("class", "plot")
        root.set("aria-labelledby", f"{name}-title {name}-desc")
        for place, (tag, words) in enumerate((("title", title), ("desc", description))):
            element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
            element.text = words
            root.insert(place, element)
        text = ET.tostring(root, encoding="unicode")
        for colour, variable in COLOURS.items():
            text = text.replace(colour, variable)
        return text


def cut(words: str, length: int) -> str:
    """Return words of at most that length: of a long module name the end says most, so its first parts are left out."""
    if len(words) <= length:
        return words
    end = words[1 - length :]
    _, dot, parts = end.partition(".")
    return f"…{parts if dot and len(parts) > length // 2 else end}"


def _own_ids(root: ET.Element, name: str) -> None:
    """Prefix ids and what refers to them, and let text have the page's font."""
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key in {"href", f"{{{_XLINK}}}href"} and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
            elif key == "style" and "font" in value:
                sized = _FONT.sub(
                    lambda found: f"font-size: {found[2]}px; font-weight: {found[1] or 400}", value
                )
                element.set(key, _FAMILY.sub("", sized))
