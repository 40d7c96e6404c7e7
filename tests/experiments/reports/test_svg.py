"""Figures as SVG: repeatable, coloured by the page, safe to put beside each other."""

import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from deephedge.experiments.reports.svg import (
    COLORS,
    INK,
    PAPER,
    drawing,
    inline_svg,
    new_figure,
    page_colors,
    svg,
)

NS = "{http://www.w3.org/2000/svg}"


@drawing()
def picture() -> Figure:
    figure = new_figure(2.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0.125, -0.5], "o--", color=COLORS["blue"][0])
    axes.axhline(0.0, color="k")
    axes.set_title("x < y & #0072b2")
    axes.pcolormesh([0, 1], [0, 1], [[1]], rasterized=True)
    return figure


def test_the_same_figure_gives_the_same_bytes_and_no_date() -> None:
    first, second = svg(picture()), svg(picture())
    assert first == second == svg(picture())
    assert not re.search(r"20\d\d-\d\d-\d\d|matplotlib v", first, re.IGNORECASE)


def test_drawing_leaves_the_users_style_alone_and_ignores_it() -> None:
    with matplotlib.rc_context({"lines.markersize": 20, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        text = svg(picture())
        assert dict(matplotlib.rcParams) == before
    assert text == svg(picture())


def test_text_stays_text() -> None:
    root = ElementTree.fromstring(svg(picture()))
    texts = [element.text for element in root.iter(f"{NS}text")]
    assert {"x < y & #0072b2", "0.0", "−0.5"} <= set(texts)


def test_an_inline_figure_takes_colours_font_and_width_from_the_page() -> None:
    text = inline_svg(picture(), "f1", "A title", "What it shows.")
    root = ElementTree.fromstring(text)
    styles = " ".join(element.get("style", "") for element in root.iter())
    house = {light for light, _ in COLORS.values()} | {"#000000"}
    assert not set(re.findall(r"#[0-9a-f]{6}", styles)) & house
    assert {"var(--blue)", "var(--paper)", "var(--mute)"} <= set(re.findall(r"var\S+\)", styles))
    assert "font-family" not in text
    assert "width" not in root.attrib
    assert root.get("viewBox")


def test_an_inline_figure_keeps_what_it_says_and_how_it_looks() -> None:
    bare, whole = inline_svg(picture(), "f1", "A title", "What it shows."), svg(picture())
    texts = [element.text for element in ElementTree.fromstring(bare).iter("text")]
    assert texts == [e.text for e in ElementTree.fromstring(whole).iter(f"{NS}text")]
    for tag in ("path", "use", "image", "g", "clipPath"):
        assert len(re.findall(f"<{tag}\\b", bare)) == len(re.findall(f"<{tag}\\b", whole))
    rounded = [
        float(n) for d in re.findall(r' d="([^"]*)"', bare) for n in re.findall(r"[-\d.]+", d)
    ]
    exact = [
        float(n) for d in re.findall(r' d="([^"]*)"', whole) for n in re.findall(r"[-\d.]+", d)
    ]
    assert max(abs(a - b) for a, b in zip(rounded, exact, strict=True)) <= 0.005 + 1e-9


def test_an_inline_figure_is_announced_and_its_ids_are_its_own() -> None:
    root = ElementTree.fromstring(inline_svg(picture(), "f7", "A <title>", "What it shows."))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "f7-title f7-description"
    assert [(child.tag, child.text) for child in list(root)[:2]] == [
        ("title", "A <title>"),
        ("desc", "What it shows."),
    ]
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(str(each).startswith("f7-") for each in ids)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', ElementTree.tostring(root, encoding="unicode"))
    assert used
    assert set(used) <= set(ids)


def contrast(one: str, other: str) -> float:
    """Of two colours, as the Web Content Accessibility Guidelines 2.2 define it."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_can_be_told_from_the_paper_in_light_and_in_the_dark() -> None:
    for dark in (False, True):
        colors = {name: pair[dark] for name, pair in COLORS.items()}
        for name in colors.keys() - {"paper", "rule"}:
            # 3 is asked of graphics, 4.5 of text.
            least = 4.5 if name in ("ink", "mute") else 3.0
            assert contrast(colors[name], colors["paper"]) >= least, name
        assert f"--ink: {colors['ink']};" in page_colors(dark)
    assert contrast(INK, PAPER) > 12
