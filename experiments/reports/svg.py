"""Figures as SVG: the same figure gives the same bytes, and its colours follow the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ...baselines import baseline_kinds

FITS_THREE = 13  # letters of a name, of which three fit beside each other
LEGEND_ROW = 0.19  # inches
WIDTH = 5.0  # inches, 360 units: as wide as a phone, where ten units of type are ten pixels

# What a figure is drawn with, by name: in light, and in dark, where the page replaces it.
COLORS = {
    "paper": ("#ffffff", "#15181c"),
    "ink": ("#1a1f25", "#e9ecef"),
    "mute": ("#59636e", "#a3adb8"),
    "rule": ("#d4d9df", "#3b434c"),
    "blue": ("#0072b2", "#56b4e9"),
    "green": ("#00805e", "#35c99a"),
    "sky": ("#3d8fc4", "#9ad4f5"),
    "indigo": ("#5a4fb0", "#b3abf5"),
    "vermilion": ("#d55e00", "#ff9147"),
    "purple": ("#a3407f", "#e592c8"),
    "ochre": ("#a67700", "#f0c04a"),
    "brown": ("#7a4b2a", "#cf9c78"),
}
INK, MUTE, RULE, PAPER = (COLORS[name][0] for name in ("ink", "mute", "rule", "paper"))
RULES = ("blue", "green", "sky", "indigo")
POLICIES = ("vermilion", "purple", "ochre", "brown")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))
MARKERS = "osD^vPX<>"

_BLACK = "#000000"  # what matplotlib takes where it is told nothing
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLORS.items()}
_VARIABLES[_BLACK] = "var(--ink)"
_STYLE: dict[str, Any] = {
    "axes.edgecolor": MUTE,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTE,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": 72,
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    # DejaVu comes with matplotlib, so the layout is the same everywhere. It is as wide as any, so
    # that nothing collides when a page shows the text in a font of its own.
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
    "font.size": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.6,
    "savefig.dpi": 72,
    "svg.fonttype": "none",  # text stays text: to be read aloud, searched and set by the page
    "svg.hashsalt": "deephedge",
    "text.color": INK,
    "xtick.color": MUTE,
    "xtick.labelsize": 9.5,
    "ytick.color": MUTE,
    "ytick.labelsize": 9.5,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's defaults and the house style, whatever the user has set, for a while.

    Also a decorator.
    """
    with style.context(["default", _STYLE]):
        yield


def new_figure(height: float) -> Figure:
    """An empty figure of the common width and ``height`` inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 3) -> None:
    """A key under the figure, in fewer columns where names are long, and room for all its rows.

    What the page shows may not be wider than the figure: on a phone it would be cut off.
    """
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = min(columns, 3 if longest <= FITS_THREE else 2)
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(rows - 2, 0))
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        columnspacing=1.2 if columns == 3 else 0.8,
        handlelength=2.4 if columns == 3 else 1.8,
    )


@dataclass(frozen=True)
class Pen:
    """How one hedger is drawn in every figure: colour, line and marker all differ."""

    color: str
    dash: Any
    marker: str
    width: float


def pens(names: Sequence[str]) -> dict[str, Pen]:
    """A pen for each hedger: rules cool, policies warm, delta and the optimum in ink, none grey."""
    found = {}
    counts = {RULES: 0, POLICIES: 0}
    for i, name in enumerate(names):
        marker = MARKERS[i % len(MARKERS)]
        if name == "delta":
            found[name] = Pen(INK, (0, (5, 1.6)), marker, 1.4)
        elif name == "optimal":
            found[name] = Pen(INK, "-", "*", 1.8)
        elif name == "none":
            found[name] = Pen(MUTE, (0, (1, 1.4)), marker, 1.4)
        else:
            family, width = (RULES, 1.4) if is_rule(name) else (POLICIES, 2.0)
            n = counts[family]
            counts[family] += 1
            color = COLORS[family[n % len(family)]][0]
            dash = DASHES[(n + n // len(family)) % len(DASHES)]
            found[name] = Pen(color, dash, marker, width)
    return found


def is_rule(name: str) -> bool:
    """Whether a hedger of this name is one of the baselines; any other is called a policy."""
    return name.partition(":")[0] in baseline_kinds()


def svg(figure: Figure) -> str:
    """The figure as a file of its own, on paper, the same bytes every time."""
    text = io.StringIO()
    with drawing():
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        # Not savefig, which draws everything twice for no other result.
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(text, metadata=metadata)
    return text.getvalue()


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> str:
    """The figure as an element of a page.

    It is as wide as its container, takes its colours from the page's variables and its font from
    the page, and is announced by ``title`` and ``description``. Ids begin with ``prefix``, since
    other figures on the page have the same.
    """
    root = ElementTree.fromstring(svg(figure))
    bare = _without_namespaces(root)
    for child in [e for e in bare if e.tag in ("metadata", "defs") and not _clips(e)]:
        bare.remove(child)
    _tidy(bare, prefix)
    for key in ("width", "height", "version"):
        bare.attrib.pop(key, None)
    bare.attrib |= {"role": "img", "aria-labelledby": f"{prefix}-title {prefix}-description"}
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        name = "title" if tag == "title" else "description"
        element = ElementTree.Element(tag, {"id": f"{prefix}-{name}"})
        element.text = text
        bare.insert(position, element)
    return ElementTree.tostring(bare, encoding="unicode")


def _without_namespaces(element: ElementTree.Element) -> ElementTree.Element:
    """HTML knows which elements are SVG; matplotlib's indentation goes too."""
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    bare = ElementTree.Element(element.tag.rpartition("}")[2], attributes)
    bare.text = element.text if bare.tag in ("text", "tspan") else None
    bare.extend(_without_namespaces(child) for child in element)
    return bare


def _clips(element: ElementTree.Element) -> bool:
    return element.find("clipPath") is not None


def _tidy(root: ElementTree.Element, prefix: str) -> None:
    """Ids that are used, under a prefix; the page's colours and font; short numbers."""
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used |= set(re.findall(r"^#(\S+)$|url\(#(\S+?)\)", value))
    names = {name for pair in used for name in pair if name}
    for element in root.iter():
        found = element.attrib
        if "id" in found and found["id"] not in names:
            del found["id"]
        for key, value in found.items():
            if key == "id":
                value = f"{prefix}-{value}"
            elif key == "style":
                value = _of_page(value)
            elif key == "d":
                value = re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.2f}".rstrip("0"), value)
                value = re.sub(r"\.(?=\s|$)", "", value).replace("\n", "").strip()
            elif not value.startswith("data:"):
                value = re.sub(r"^#|(?<=url\(#)", lambda n: f"{n[0]}{prefix}-", value)
            found[key] = value


def _of_page(declarations: str) -> str:
    without_font = re.sub(r"font-family:[^;]*(;\s*|$)", "", declarations)
    return re.sub(r"#[0-9a-f]{6}", lambda found: page_color(found[0]), without_font)


def page_color(color: str) -> str:
    """A colour of the house as the page's variable; any other as it is."""
    return _VARIABLES.get(color, color)


def page_colors(dark: bool) -> str:
    """The colours as CSS declarations of the variables that `inline_svg` refers to."""
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in COLORS.items())
