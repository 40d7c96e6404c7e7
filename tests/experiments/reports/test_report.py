"""The report as a file: it stands alone, says everything, and is the same every time."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from deephedge.agents.policy_figure import policy_map
from deephedge.baselines import BandHedge, DeltaHedge, StaticHedge
from deephedge.envs import Scenario
from deephedge.experiments.evaluation import evaluate, example_paths
from deephedge.experiments.reports import figures
from deephedge.experiments.reports.report import Section, write_report
from deephedge.experiments.statistics import Estimate

VOID = {"meta", "wbr", "br", "hr", "img", "input", "link"}
NAMES = ["none", "delta", "optimal", "static", "band", "ppo"]
COMMAND = "deephedge compare short-call-jumps --agent ppo"


class Learned:
    """A band under a name that no baseline has."""

    name, rule = "ppo", BandHedge(width=0.2)

    def start(self, n: int) -> Any:
        return self.rule.start(n)

    def act(self, known: Any, state: Any) -> Any:
        return self.rule.act(known, state)


class Page(HTMLParser):
    """Reads a page, holding every element to account for its end tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def section(brief: Callable[..., Scenario]) -> Section:
    scenario = brief("short-call-jumps")
    hedgers = [StaticHedge(), BandHedge(), Learned()]
    return Section(
        evaluation=evaluate(scenario, hedgers, 2000),
        examples=example_paths(scenario, [DeltaHedge(), Learned()]),
        maps={"ppo": policy_map(scenario, Learned(), spots=21)},
        curves={"ppo": [(0, 0.9), (1000, 0.4), (2000, 0.3), (3000, 0.35)]},
        notes=["One training.", "Its seed is 0."],
    )


@pytest.fixture(scope="module")
def plain(section: Section) -> Section:
    """The same with its tables and three figures only."""
    return replace(section, examples=[], maps={}, curves={}, notes=[])


@pytest.fixture(scope="module")
def text(section: Section, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, "A comparison", [section], COMMAND)
    assert path.stat().st_size < 500_000
    return path.read_text(encoding="utf-8")


def written(folder: Path, *sections: Section) -> str:
    path = folder / "report.html"
    write_report(path, "A comparison", list(sections), COMMAND)
    return path.read_text(encoding="utf-8")


def rows(page: Page) -> list[str]:
    """The row headers of all tables."""
    headers = zip(page.texts["th"], page.attributes("th"), strict=True)
    return [text.strip() for text, attributes in headers if attributes["scope"] == "row"]


def test_it_is_whole_html_that_asks_for_nothing(text: str) -> None:
    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "base", "img"}
    assert "://" not in text
    assert "@import" not in text
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in {"href", "src", "xlink:href", "action"} & set(attributes):
            assert attributes[key].startswith(("#", "data:image/png;base64,"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_every_id_is_unique_and_every_reference_is_answered(
    section: Section, plain: Section, tmp_path: Path
) -> None:
    page = Page(written(tmp_path, section, plain))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    wanted = set()
    for _, attributes in page.elements:
        wanted |= set(attributes.get("aria-labelledby", "").split())
        for value in attributes.values():
            wanted |= set(re.findall(r"url\(#([^)]*)\)", value))
            wanted |= {value[1:]} if re.fullmatch(r"#s\w+-?\w*", value) else set()
    assert len(wanted) > 50
    assert wanted <= set(ids)


def test_every_part_is_there(text: str, section: Section) -> None:
    page = Page(text)
    headings = page.texts["h1"] + page.texts["h2"] + page.texts["h3"]
    assert headings == [
        "A comparison",
        "short-call-jumps",
        "How this was made",
        "All figures",
        "Outcomes",
        "Single paths",
        "Learning",
        "Policy ppo",
        "Conventions",
    ]
    assert len(page.texts["figure"]) == 3 + 3 + 1 + 3
    terms = ["Market", "Position", "Hedged with", "Calendar", "Marking", "Risk", "Evaluated on"]
    assert page.texts["dt"][:7] == terms
    assert section.evaluation.scenario.description in "".join(page.texts["p"])
    assert page.texts["li"][:2] == section.notes
    assert page.texts["pre"][0] == COMMAND
    assert "kind: merton" in page.texts["pre"][1]
    assert any("2,000 evaluation paths, seed 0" in line for line in page.texts["dd"])
    assert any("deephedge 0." in line for line in page.texts["dd"])
    assert any("log E[exp(a L)] / a" in line for line in page.texts["li"])


def test_both_tables_have_every_hedger_lowest_risk_first(text: str, section: Section) -> None:
    best_first = [result.name for result in figures.by_risk(section.evaluation)]
    assert sorted(best_first) == sorted(NAMES)
    found = rows(Page(text))
    # On a phone the first table says there, too, how the hedger stands to delta.
    assert [row.split()[0] for row in found] == [*best_first, *best_first, "ppo"]


def test_better_and_worse_are_marked_where_the_interval_leaves_out_0(
    text: str, section: Section
) -> None:
    page = Page(text)
    marks = [a["class"].split() for a in page.attributes("td") if "standing" in a.get("class", "")]
    expected = []
    for result in figures.by_risk(section.evaluation):
        versus = result.versus_delta
        if versus is None:
            expected.append("reference")
        else:
            assert versus.low is not None
            assert versus.high is not None
            better, worse = versus.high < 0, versus.low > 0
            expected.append("better" if better else "worse" if worse else "not")
    assert {"better", "worse"} <= set(expected)
    assert [mark[1] for mark in marks] == expected


def test_tables_and_figures_can_be_read_aloud(text: str) -> None:
    page = Page(text)
    assert {a["scope"] for a in page.attributes("th")} == {"row", "col"}
    assert len(page.attributes("caption")) == len(page.attributes("table")) == 3
    drawings = [a for a in page.attributes("svg") if "viewbox" in a]
    assert len(drawings) == len(page.attributes("figure"))
    assert {a["role"] for a in drawings} == {"img"}
    assert all(len(title) > 3 for title in page.texts["title"])
    assert all(len(description) > 40 for description in page.texts["desc"])


def test_what_a_user_names_is_text_and_nothing_else(plain: Section, tmp_path: Path) -> None:
    name = "<b>&\"'</title><script>"
    evaluation = plain.evaluation
    scenario = evaluation.scenario.model_copy(update={"name": name, "description": name})
    hedgers = [*evaluation.hedgers[:4], replace(evaluation.hedgers[4], name=name)]
    odd = replace(evaluation, scenario=scenario, hedgers=tuple(hedgers))
    path = tmp_path / "report.html"
    write_report(path, name, [replace(plain, evaluation=odd, notes=[name])], name)
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.attributes("b") + page.attributes("script")
    assert page.texts["h1"] == page.texts["pre"][:1] == [name]
    assert page.texts["li"][0] == name
    assert any(row.startswith(name) for row in rows(page))
    assert name in "".join(page.texts["text"])  # in the figures


def test_the_same_input_gives_the_same_bytes_whatever_the_users_style(
    section: Section, text: str, tmp_path: Path
) -> None:
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert written(tmp_path, section) == text
        assert dict(matplotlib.rcParams) == before


def test_one_hedger_and_nothing_else(plain: Section, tmp_path: Path) -> None:
    for name in ("delta", "ppo"):
        alone = replace(plain.evaluation, hedgers=(plain.evaluation.result(name),))
        page = Page(written(tmp_path, replace(plain, evaluation=alone)))
        assert len(page.attributes("figure")) == 3
        assert "no other hedger was evaluated" in page.texts["section"][0]


def test_where_no_interval_is_honest_the_report_says_so(plain: Section, tmp_path: Path) -> None:
    evaluation = plain.evaluation
    warning = "one path carries 9 % of it"
    doubtful = []
    for result in evaluation.hedgers:
        risk = replace(result.risk, low=None, high=None, warning=warning)
        versus = result.versus_delta and replace(result.versus_delta, low=None, high=None)
        doubtful.append(replace(result, risk=risk, versus_delta=versus, effectiveness=None))
    page = Page(
        written(tmp_path, replace(plain, evaluation=replace(evaluation, hedgers=tuple(doubtful))))
    )
    shown = [text for text in page.texts["td"] if text.endswith("no interval")]
    assert len(shown) == 6 + 5 + 5  # risks, differences, standings
    assert sum(warning in text for text in page.texts["p"]) == 1  # once, for all of them
    assert "effectiveness" not in page.texts["th"]
    assert "no honest interval" in page.texts["section"][0]


def test_a_known_optimum_adds_a_column(plain: Section, tmp_path: Path) -> None:
    nowhere = [replace(result, gap_closed=None) for result in plain.evaluation.hedgers]
    unknown = replace(plain.evaluation, hedgers=tuple(nowhere))
    page = Page(written(tmp_path, replace(plain, evaluation=unknown)))
    assert "gap closed" not in page.texts["th"]
    results = [
        replace(r, gap_closed=Estimate(0.975, None, None)) for r in plain.evaluation.hedgers[:2]
    ]
    known = replace(
        plain.evaluation, hedgers=(*results, replace(results[0], name="x", gap_closed=None))
    )
    page = Page(written(tmp_path, replace(plain, evaluation=known)))
    assert "gap closed" in page.texts["th"]
    assert page.texts["td"].count("97.5\u00a0%") == 2


def test_several_scenarios_have_a_list_of_verdicts_at_the_top(
    plain: Section, tmp_path: Path
) -> None:
    page = Page(written(tmp_path, plain, plain))
    assert [a["href"] for a in page.attributes("a")] == ["#s1", "#s2"]
    assert "has the lowest risk" in page.texts["nav"][0]
    assert "nav" not in Page(written(tmp_path, plain)).texts


def test_nothing_is_left_half_written(
    plain: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old one")

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_report(path, "A comparison", [plain], COMMAND)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "the old one"


def test_a_report_needs_a_section(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one section"):
        write_report(tmp_path / "report.html", "Empty", [], COMMAND)
    assert not list(tmp_path.iterdir())


def test_a_million_paths_are_as_small_a_file(plain: Section, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pnl = rng.standard_t(4, 1_000_000)
    results = [replace(result, pnl=pnl) for result in plain.evaluation.hedgers[:2]]
    many = replace(plain.evaluation, paths=len(pnl), hedgers=tuple(results))
    assert math.log10(len(written(tmp_path, replace(plain, evaluation=many)))) < 5.2
