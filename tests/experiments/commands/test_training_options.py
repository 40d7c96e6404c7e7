"""How a training is asked for: read, refused in one line, and found again in the saved run."""

from __future__ import annotations

import pytest

from deephedge.baselines import DeltaHedge, ZakamoulineHedge
from deephedge.envs import Variation
from deephedge.experiments.commands.training_options import setting_changes, variation_of


def test_the_options_say_what_a_variation_says() -> None:
    vary = ["aversion=0.01..1", "cost=0.25..4", "market.sigma=1.5e-1..0.25", "marking.vol=0.2..0.2"]
    worst = ["market.kind=merton,market.intensity=6", "market.sigma=0.3"]
    assert variation_of(vary, worst) == Variation(
        aversion=(0.01, 1.0),
        cost=(0.25, 4.0),
        uniform={"market.sigma": (0.15, 0.25), "marking.vol": (0.2, 0.2)},
        worst_of=({"market.kind": "merton", "market.intensity": 6}, {"market.sigma": 0.3}),
    )


def test_without_options_nothing_changes() -> None:
    assert setting_changes(None, None, None) == {}
    assert setting_changes(5, [], None) == {"steps": 5}
    assert not variation_of(None, None)


def test_a_base_and_a_model_are_baselines_by_name() -> None:
    changes = setting_changes(base="zakamouline:aversion=0.2", imitate="delta")
    assert changes == {"base": ZakamoulineHedge(aversion=0.2), "imitate": DeltaHedge()}
    with pytest.raises(ValueError, match="unknown hedger 'zakamoulin': did you mean"):
        setting_changes(base="zakamoulin")


@pytest.mark.parametrize(
    ("vary", "worst", "words"),
    [
        (["aversion=1"], [], "--vary 'aversion=1': give KEY=LOW..HIGH"),
        (["cost=a..b"], [], "--vary 'cost=a..b': give KEY=LOW..HIGH"),
        (["cost=1..2", "cost=1..3"], [], "cost stands twice"),
        (["cost=2..1"], [], "cost: from 2 to 1: give the smaller end first"),
        (["cost=nan..1"], [], "cost: "),
        (["hedges.0.costs.0.rate=0..1"], [], "key 'hedges.0.costs.0.rate': only those of market"),
        ([], ["market.sigma"], "--worst-of 'market.sigma': give KEY=VALUE"),
        ([], ["market.sigma=0.3"], "worst_of has one variant"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    vary: list[str], worst: list[str], words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        variation_of(vary, worst)
    assert str(caught.value).startswith(words.partition("cost stands")[0])
    assert words in str(caught.value) and "\n" not in str(caught.value)
