"""A deal that closes or breaks: published numbers, martingales, what closing pays, options."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from deephedge.envs import parse_scenario, simulate
from deephedge.envs.instruments import Call, EuropeanOption, Put
from deephedge.envs.markets import Asset, Deal, MarketPaths
from deephedge.envs.presets import ScenarioError
from deephedge.envs.pricing.black_scholes import black_scholes
from deephedge.envs.pricing.model_price import model_price
from deephedge.envs.pricing.terms import Terms

PATHS = 10_000
CASH = Deal(rate=0.04)
ACQUIRER = (Asset(spot=60, drift=0.04, sigma=0.3),)
INDEX = (Asset(spot=100, drift=0.09, sigma=0.16, dividend=0.01),)
DEALS: dict[str, Deal] = {
    "cash": CASH,
    "called-off": Deal(rate=0.04, hazard=0.3, spot=45.0),
    "fixed-fallback": Deal(rate=0.04, fallback_sigma=0.0),
    "index": Deal(rate=0.04, spot=47.5, others=INDEX, correlation=0.6, hazard=0.1),
    "stock": Deal(rate=0.04, offer=0.0, ratio=0.83, others=ACQUIRER, correlation=0.7),
    "mixed": Deal(
        rate=0.04,
        spot=46.0,
        offer=20.0,
        ratio=0.5,
        others=ACQUIRER,
        correlation=-0.5,
        hazard=0.1,
        premium=0.5,
    ),
}
each_deal = pytest.mark.parametrize("deal", DEALS.values(), ids=list(DEALS))


def dates(*years: float) -> Tensor:
    return torch.tensor(years, dtype=torch.float64)[:, None]


def drawn(deal: Deal, times: Tensor, paths: int = PATHS, seed: int = 0) -> MarketPaths:
    return deal.simulate(times, paths, torch.Generator().manual_seed(seed))


def score(sample: Tensor, expected: float) -> float:
    """How many standard errors the mean of ``sample [N]`` is off."""
    return float(sample.mean() - expected) / (float(sample.std()) / math.sqrt(len(sample)) + 1e-12)


def test_the_implied_probability_and_the_spreads() -> None:
    """B = 50, D = 38, S = 48.5, r = 0.04, half a year: 0.9537; without carry it would be 0.875."""
    assert round(CASH.implied_probability, 4) == 0.9537
    assert CASH.probability == CASH.implied_probability
    naive = Deal(rate=0.0)
    assert naive.implied_probability == pytest.approx(0.875, abs=1e-12)
    assert round(CASH.gross_spread, 4) == 0.0309
    assert round(CASH.annualised_spread, 4) == 0.0628


@each_deal
def test_discounted_prices_are_martingales_on_any_dates(deal: Deal) -> None:
    """The target's and the other asset's, before and after the closing, and given the past."""
    pricing = deal.risk_neutral()
    times = dates(0.0, 0.01, 0.2, 0.45, 0.5, 0.8)
    paths = drawn(pricing, times)
    dividends = pricing.dividends
    for asset, spot, dividend in zip(paths.assets, pricing.spots, dividends, strict=True):
        discounted = asset.spot * torch.exp((dividend - 0.04) * times)
        for row in discounted[1:]:
            assert abs(score(row, spot)) < 4
    discounted = paths.spot * torch.exp(-0.04 * times)
    moved = discounted[3] - discounted[2]
    middle = paths.latents["probability"][2] > 0.9
    assert abs(score(moved * middle, 0.0)) < 4


@each_deal
def test_it_closes_as_often_as_its_probability_says(deal: Deal) -> None:
    paths = drawn(deal, dates(0.0, 0.3, 0.5))
    closed = (paths.latents["probability"][-1] == 1).double()
    assert set(paths.latents["probability"][-1].tolist()) <= {0.0, 1.0}
    assert abs(score(closed, deal.probability)) < 4
    if deal.premium:
        assert deal.probability > deal.implied_probability + 0.01
        pricing = drawn(deal.risk_neutral(), dates(0.0, 0.5), seed=1)
        assert abs(score(pricing.latents["probability"][-1], deal.implied_probability)) < 4


@each_deal
def test_the_closing_pays_the_offer_or_leaves_the_fallback(deal: Deal) -> None:
    """And afterwards the target is cash at the rate, or shares."""
    times = dates(0.0, 0.25, 0.5, 0.75)
    paths = drawn(deal, times, 2000)
    closed = paths.latents["probability"][-1] == 1
    for row, years in ((2, 0.5), (3, 0.75)):
        offer = torch.full_like(paths.spot[row], deal.offer * math.exp(0.04 * (years - 0.5)))
        if deal.ratio:
            offer += deal.ratio * paths.others[0].spot[row]
        fallback = paths.latents["fallback"][row] * math.exp(0.04 * years)
        torch.testing.assert_close(paths.spot[row], torch.where(closed, offer, fallback))


def test_what_is_called_off_falls_to_the_fallback_at_once() -> None:
    deal = DEALS["called-off"]
    times = torch.linspace(0, 0.5, 51, dtype=torch.float64)[:, None]
    paths = drawn(deal, times, 5_000)
    assert paths.jump is not None
    off = paths.jump != 0
    share = off[:-1].any(dim=0).double()
    assert abs(score(share, 1 - math.exp(-0.3 * 0.49))) < 4
    assert int(off.sum(dim=0).max()) == 1
    fallback = paths.latents["fallback"] * torch.exp(0.04 * times)
    gone = off.cumsum(dim=0) > 0
    torch.testing.assert_close(paths.spot[gone], fallback[gone])
    assert float(paths.latents["probability"][gone].max()) == 0
    assert float(paths.jump[off].median()) < -0.1
    before = paths.spot[:-1][off[1:]].log() + paths.jump[1:][off[1:]]
    assert float((before - fallback[1:][off[1:]].log()).abs().median()) < 0.02
    assert float(drawn(CASH, times, 500).jump.abs().max()) == 0  # type: ignore[union-attr]


def test_what_is_expected_of_a_step_with_a_premium() -> None:
    deal = DEALS["mixed"]
    paths = drawn(deal, torch.linspace(0, 0.5, 6, dtype=torch.float64)[:, None])
    assert paths.expected is not None
    surprise = paths.spot[1:] / paths.spot[:-1] - paths.expected
    for row, q in zip(surprise, paths.latents["probability"], strict=False):
        assert abs(score(row, 0.0)) < 4
        assert abs(score(row * (q > 0.9), 0.0)) < 4
    assert float(paths.expected[0, 0]) > math.exp(0.04 * 0.1) + 1e-3
    assert drawn(CASH, dates(0.0, 0.5), 5).expected is None


def test_deals_break_more_often_when_the_index_has_fallen() -> None:
    paths = drawn(DEALS["index"], dates(0.0, 0.5))
    index = paths.others[0].spot[-1]
    broken = paths.latents["probability"][-1] == 0
    low = index < index.quantile(0.2)
    assert float(broken[low].double().mean()) > 3 * float(broken[~low].double().mean())


# Options ----------------------------------------------------------------------------------------


def terms_of(paths: MarketPaths, deal: Deal, asset: int = 0, years: float = 0.5) -> Terms:
    quoted = tuple(one.implied_vol for one in paths.assets)
    maturity = torch.tensor([years], dtype=torch.float64)
    return Terms(paths, maturity, deal.rate, deal.dividends, quoted, asset=asset)


def test_the_call_of_the_reference() -> None:
    """e^{-r tau} q (B - K) + (1 - q) C_BS(D), K = 45, vol 0.35: 4.7525; simulated 4.754."""
    deal = Deal(rate=0.04, fallback_sigma=0.35)
    paths = drawn(deal, dates(0.0, 0.5), 100_000)
    price = model_price(Call(strike=45.0), deal, terms_of(paths, deal)).price
    assert round(float(price[0, 0]), 4) == 4.7525
    payoff = (paths.spot[-1] - 45).clamp(min=0) * math.exp(-0.02)
    assert abs(score(payoff, 4.7525)) < 4


@pytest.mark.parametrize("option", [Call(strike=46.0), Put(strike=46.0), Put(strike=55.0)])
@pytest.mark.parametrize("name", ["cash", "called-off", "index"])
def test_an_option_is_its_discounted_mean_from_any_date(option: EuropeanOption, name: str) -> None:
    """From time 0, from a middle date on by the tower law, and after the closing."""
    deal = DEALS[name].risk_neutral()
    times = dates(0.0, 0.3, 0.5, 0.7)
    paths = drawn(deal, times)
    price = model_price(option, deal, terms_of(paths, deal, years=0.7)).price
    payoff = torch.clamp(option.sign * (paths.spot[-1] - option.strike), min=0)
    torch.testing.assert_close(price[-1], payoff)
    for row, years in ((1, 0.3), (2, 0.5), (3, 0.7)):
        assert abs(score(price[row] * math.exp(-0.04 * years), float(price[0, 0]))) < 4


def test_parity_and_the_bounds_of_deltas() -> None:
    deal = DEALS["called-off"]
    paths = drawn(deal, dates(0.0, 0.1, 0.4, 0.5), 500)
    terms = terms_of(paths, deal)
    call, put = (model_price(kind(strike=47.0), deal, terms) for kind in (Call, Put))
    forward = paths.spot - 47 * torch.exp(-0.04 * terms.tau)
    torch.testing.assert_close(call.price - put.price, forward)
    assert ((call.delta >= 0) & (call.delta <= 1)).all()
    inside = (call.delta > 1e-9) & (call.delta < 1 - 1e-9)
    gap = (call.delta - put.delta)[inside]
    torch.testing.assert_close(gap, torch.ones_like(gap))


def test_greeks_are_differences() -> None:
    """Delta as the probability moves; vega in the fallback's vol; theta at fixed S and D."""
    deal, option = CASH, Put(strike=46.0)
    paths = drawn(deal, dates(0.0, 0.1, 0.4), 50)
    terms = terms_of(paths, deal)
    ours = model_price(option, deal, terms)
    grown = torch.exp(0.04 * paths.times)
    width = (paths.latents["offer"] - paths.latents["fallback"]) * grown

    def price(dq: Tensor | float = 0.0, vol: float = 0.3, later: float = 0.0) -> Tensor:
        times = paths.times + later
        latents = paths.latents | {
            "probability": paths.latents["probability"] + dq,
            "offer": paths.latents["offer"] * math.exp(0.04 * later),
        }
        moved = replace(paths, times=times, latents=latents)
        other = deal.model_copy(update={"fallback_sigma": vol})
        return model_price(option, other, terms_of(moved, other)).price

    h, q = 1e-5, paths.latents["probability"]
    open_ = (q > 0.01) & (q < 0.99)
    delta = (price(h) - price(-h)) / (2 * h * width)
    torch.testing.assert_close(ours.delta[open_], delta[open_], rtol=1e-6, atol=1e-8)
    assert (ours.gamma[open_] == 0).all()
    vega = (price(vol=0.3 + h) - price(vol=0.3 - h)) / (2 * h)
    torch.testing.assert_close(ours.vega, vega, rtol=1e-5, atol=1e-7)
    # At fixed spot the probability falls as the offer accrues: dq = -q r O / (O - D) dt.
    offer = paths.latents["offer"] * grown
    dq = -q * 0.04 * offer / width
    theta = (price(dq * h, later=h) - price(-dq * h, later=-h)) / (2 * h)
    torch.testing.assert_close(
        ours.theta[:2][open_[:2]], theta[:2][open_[:2]], rtol=1e-4, atol=1e-5
    )


def test_an_option_on_the_index_is_black_scholes() -> None:
    deal = DEALS["index"]
    paths = drawn(deal, dates(0.0, 0.2), 20)
    terms = terms_of(paths, deal, asset=1, years=0.3)
    found = model_price(Call(strike=100.0, asset=1), deal, terms)
    tau = torch.tensor([[0.3], [0.1]], dtype=torch.float64)
    vol = torch.full((1, 1), 0.16, dtype=torch.float64)
    log_spot = paths.others[0].log_spot
    wanted = black_scholes(log_spot, 100.0, tau, vol, sign=1, rate=0.04, dividend=0.01)
    torch.testing.assert_close(found.price, wanted.price)


def test_a_rolled_option_costs_what_a_listed_one_does() -> None:
    """In units of the spot: on its listing date the strike is that of a listed option."""

    def put(instrument: dict[str, Any]) -> Tensor:
        tree = scenario_tree()
        tree["hedges"].insert(0, {"instrument": instrument})
        return simulate(parse_scenario(tree), 50, torch.Generator().manual_seed(0)).price[:, :, 0]

    rolled = put({"kind": "rolled-option", "option": "put", "moneyness": 0.95, "tenor": 0.5})
    listed = put({"kind": "listed-option", "option": {"kind": "put", "strike": 0.95 * 48.5}})
    torch.testing.assert_close(rolled[:-1], listed[:-1])


# What is refused --------------------------------------------------------------------------------


def scenario_tree(**market: Any) -> dict[str, Any]:
    return {
        "name": "deal",
        "market": {"kind": "deal", "rate": 0.04} | market,
        "calendar": {"kind": "uniform", "days": 182.5, "steps": 10},
        "position": {"legs": [{"quantity": 1, "claim": {"kind": "prepaid-forward"}}]},
        "hedges": [{"instrument": {"kind": "underlying"}}],
        "marking": {"kind": "model"},
        "objective": {"kind": "quadratic"},
    }


@pytest.mark.parametrize(
    ("market", "words"),
    [
        ({"spot": 50.0}, ["spot 50", "fallback, 38", "49.0099", "move one"]),
        ({"spot": 37.0}, ["spot 37", "between"]),
        ({"drift": 0.1}, ["drift 0.1", "premium"]),
        ({"ratio": 0.5}, ["ratio 0.5", "others"]),
        ({"correlation": 0.5}, ["correlation 0.5", "others"]),
        (
            {"ratio": 0.5, "offer": 20.0, "others": [{"spot": 60.0, "drift": 0.1}]},
            ["others.0", "rate, 0.04"],
        ),
    ],
)
def test_impossible_deals_are_refused(market: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(scenario_tree(**market))
    assert all(word in str(caught.value) for word in words), caught.value


def test_options_without_a_price_are_refused() -> None:
    def listed(option: dict[str, Any], **market: Any) -> dict[str, Any]:
        tree = scenario_tree(**market)
        tree["hedges"].insert(0, {"instrument": {"kind": "listed-option", "option": option}})
        return tree

    early = {"kind": "put", "strike": 45.0, "maturity": 0.25}
    stock = {"offer": 20.0, "ratio": 0.5, "others": [{"spot": 60.0, "drift": 0.04}]}
    for tree in (listed(early), listed({"kind": "put", "strike": 45.0}, **stock)):
        with pytest.raises(ScenarioError, match="has a price in cash deals"):
            parse_scenario(tree)
    late = parse_scenario(listed({"kind": "put", "strike": 45.0}, closing=0.75))
    with pytest.raises(ValueError, match=r"matures at 0\.5 years, before the deal closes at 0\.75"):
        simulate(late, 5, torch.Generator())
