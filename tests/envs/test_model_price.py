"""Model prices on paths: against the series, Monte Carlo, differences and the payoff."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deephedge.envs import load_scenario, simulate
from deephedge.envs.instruments import Call, Claim, EuropeanOption, Path, Put
from deephedge.envs.instruments.digital import Digital, DigitalCall, DigitalPut
from deephedge.envs.markets import GeometricBrownianMotion, Market, MarketPaths, Merton, Uniform
from deephedge.envs.markets.bates import Bates
from deephedge.envs.markets.heston import Heston
from deephedge.envs.markets.kou import Kou
from deephedge.envs.markets.rough_bergomi import RoughBergomi
from deephedge.envs.markets.sabr import Sabr
from deephedge.envs.presets import changed
from deephedge.envs.pricing.black_scholes import Greeks
from deephedge.envs.pricing.model_price import model_price
from deephedge.envs.pricing.terms import Terms

FLOAT64 = torch.float64
MARKETS: dict[str, Market] = {
    "gbm": GeometricBrownianMotion(rate=0.05, dividend=0.02, drift=0.1),
    "gbm-range": GeometricBrownianMotion(sigma=Uniform(low=0.1, high=0.5), rate=0.03),
    "merton": Merton(rate=0.05, dividend=0.02, drift=0.1),
    "merton-range": Merton(sigma=Uniform(low=0.1, high=0.3), rate=0.05, jump_premium=0.5),
    "kou": Kou(rate=0.05, dividend=0.02),
    "heston": Heston(rate=0.05, dividend=0.02, drift=0.1),
    "bates": Bates(rate=0.05, dividend=0.02, intensity=1.0),
    "sabr": Sabr(rate=0.05, dividend=0.02, drift=0.1, nu=0.3),
    "sabr-beta": Sabr(rate=0.05, dividend=0.02, drift=0.1, alpha=2.0, beta=0.5, nu=0.3),
}
CLAIMS: dict[str, EuropeanOption | Digital] = {
    "call": Call(strike=103.0),
    "put": Put(strike=95.0),
    "digital-call": DigitalCall(strike=102.0, cash=10.0),
    "digital-put": DigitalPut(strike=98.0, cash=10.0),
}
# Bates is Heston's and Merton's characteristic functions in one: each alone is fast enough.
each_market = pytest.mark.parametrize(
    "market",
    [
        pytest.param(market, id=name, marks=[pytest.mark.slow] * (name == "bates"))
        for name, market in MARKETS.items()
    ],
)
# Parity, tested by itself, gives the other two.
each_claim = pytest.mark.parametrize(
    "claim", [CLAIMS["call"], CLAIMS["digital-put"]], ids=["call", "digital-put"]
)


def terms_of(
    market: Market,
    paths: int,
    *,
    years: float = 0.25,
    steps: int = 4,
    clock: float = 1.0,
    dtype: torch.dtype = FLOAT64,
    seed: int = 0,
) -> Terms:
    """Terms of a claim that matures with the paths; ``clock`` years of variance a year."""
    times = torch.linspace(0, years, steps + 1, dtype=FLOAT64)[:, None]
    rng = torch.Generator().manual_seed(seed)
    drawn = market.simulate(times, paths, rng, dtype, None if clock == 1 else clock * times)
    return Terms(
        paths=drawn,
        maturity=times[-1],
        rate=market.rate,
        dividends=(market.dividend,),
        quoted=(drawn.implied_vol,),
    )


def on_dates(terms: Terms, dates: list[int]) -> Terms:
    """The same on some of the dates."""
    own = terms.own

    def some(y: Tensor) -> Tensor:
        return y if len(y) == 1 else y[dates]

    paths = MarketPaths(
        times=own.times[dates],
        spot=own.spot[dates],
        log_spot=own.log_spot[dates],
        implied_vol=some(own.implied_vol),
        latents={name: some(y) for name, y in own.latents.items()},
    )
    return Terms(**vars(terms) | {"paths": paths, "quoted": (paths.implied_vol,)})


@each_claim
@each_market
def test_the_price_is_the_discounted_mean_under_the_pricing_measure(
    market: Market, claim: EuropeanOption | Digital
) -> None:
    """From time 0 and, by the tower law, from the middle: E[price there] = E[payoff]."""
    terms = on_dates(terms_of(market.risk_neutral(), 40_000, steps=24), [0, 12, 24])
    price = model_price(claim, market.risk_neutral(), terms).price
    times = terms.paths.times
    payoff = claim.payoff(Path(times, terms.spot)) * math.exp(-market.rate * float(times[-1]))
    middle = price[1] * torch.exp(-market.rate * times[1])
    for sample in (payoff, middle):
        gap = sample - price[0].expand_as(sample)
        error = float(gap.std()) / math.sqrt(len(gap))
        # Hagan's formula and the schemes' steps are not exact.
        bias = 0.01 if isinstance(claim, EuropeanOption) else 0.02
        assert abs(float(gap.mean())) < 4 * error + bias * (not is_exact(market))


def is_exact(market: Market) -> bool:
    return isinstance(market, GeometricBrownianMotion | Merton | Kou)


@each_claim
@each_market
def test_greeks_are_central_differences(market: Market, claim: EuropeanOption | Digital) -> None:
    """In the spot, the state's vol and the time left; the state is held when the spot moves."""
    terms = terms_of(market, 200, steps=2)
    ours = model_price(claim, market, terms)
    h = 1e-4

    def moved(spot: float = 0.0, later: float = 0.0) -> Greeks:
        own = terms.own
        paths = type(own)(
            **vars(own)
            | {
                "log_spot": own.log_spot + math.log1p(spot) + market.drift * later,
                "spot": own.spot * (1 + spot) * math.exp(market.drift * later),
                "times": own.times + later,
            }
        )
        return model_price(claim, market, Terms(**vars(terms) | {"paths": paths}))

    at = slice(0, 2)
    up, down = moved(spot=h), moved(spot=-h)
    spot = terms.spot
    unit = claim.strike if isinstance(claim, EuropeanOption) else claim.cash
    delta = (up.price - down.price) / (2 * h * spot)
    gamma = (up.delta - down.delta) / (2 * h * spot)
    scale = unit / 100
    torch.testing.assert_close(ours.delta[at], delta[at], rtol=1e-4, atol=1e-3 * scale)
    torch.testing.assert_close(ours.gamma[at], gamma[at], rtol=1e-2, atol=1e-3 * scale)
    if market.drift == 0:
        late, early = moved(later=h / 10), moved(later=-h / 10)
        theta = (late.price - early.price) / (h / 5)
        torch.testing.assert_close(ours.theta[at], theta[at], rtol=1e-3, atol=0.05 * scale)


@each_market
def test_vega_is_to_the_vol_of_the_state(market: Market) -> None:
    claim, h = Call(strike=103.0), 1e-4
    terms = terms_of(market, 100, steps=2)
    own = terms.own
    ours = model_price(claim, market, terms).vega

    def bumped(by: float) -> Tensor:
        latents, quoted, changed = dict(own.latents), own.implied_vol, market
        if "variance" in latents:
            latents["variance"] = (latents["variance"].sqrt() + by) ** 2
        elif "alpha" in latents:
            assert isinstance(market, Sabr)
            unit = torch.exp((1 - market.beta) * (own.log_spot - market.drift * own.times))
            latents["alpha"] = latents["alpha"] + by * unit
        else:
            sigma = market.sigma  # type: ignore[attr-defined]
            if isinstance(sigma, Uniform):
                jumps = getattr(market, "priced_jump_variance", 0.0)
                quoted = (((quoted**2 - jumps).sqrt() + by) ** 2 + jumps).sqrt()
            else:
                changed = market.model_copy(update={"sigma": sigma + by})
                quoted = quoted + by  # of GBM; a jump market does not read it
        paths = type(own)(**vars(own) | {"latents": latents, "implied_vol": quoted})
        return model_price(claim, changed, Terms(**vars(terms) | {"paths": paths})).price

    expected = (bumped(h) - bumped(-h)) / (2 * h)
    torch.testing.assert_close(ours[:2], expected[:2], rtol=1e-3, atol=1e-2)


@each_claim
@each_market
def test_at_expiry_the_payoff_and_on_both_dtypes_finite(
    market: Market, claim: EuropeanOption | Digital
) -> None:
    for dtype in (torch.float64, torch.float32):
        terms = terms_of(market, 300, steps=2, dtype=dtype)
        found = model_price(claim, market, terms)
        payoff = claim.payoff(Path(terms.paths.times, terms.spot))
        torch.testing.assert_close(found.price[-1].expand_as(payoff), payoff, rtol=0, atol=1e-3)
        for name in ("price", "delta", "gamma", "vega", "theta"):
            values = getattr(found, name)
            assert values.dtype == dtype, name
            assert values.isfinite().all(), name
        assert (found.price >= 0).all()


@each_market
def test_parity(market: Market) -> None:
    terms = terms_of(market, 300, steps=2)
    call, put = (model_price(kind(strike=100.0), market, terms) for kind in (Call, Put))
    tau, rate, dividend = terms.tau, market.rate, market.dividend
    asset = terms.spot * torch.exp(-dividend * tau)
    forward = asset - 100 * torch.exp(-rate * tau)
    torch.testing.assert_close(call.price - put.price, forward, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        call.delta - put.delta, torch.exp(-dividend * tau).expand_as(asset), rtol=0, atol=1e-9
    )
    digital = [model_price(kind(strike=100.0), market, terms) for kind in (DigitalCall, DigitalPut)]
    total = digital[0].price + digital[1].price
    torch.testing.assert_close(total, torch.exp(-rate * tau).expand_as(total))


@pytest.mark.parametrize(
    "market", [Heston(rate=0.05), Kou(), Sabr()], ids=["heston", "kou", "sabr"]
)
def test_a_slow_clock_is_a_short_time(market: Market) -> None:
    """Half the variance: the price of half the time, but for interest."""
    slow, claim = terms_of(market, 50, clock=0.5, years=0.5), Call(strike=103.0)
    first = model_price(claim, market, slow)
    forward = 100 * math.exp(market.rate * 0.5)
    short = terms_of(market.model_copy(update={"rate": 0.0, "spot": forward}), 50, years=0.25)
    if isinstance(market, Heston | Kou):
        free = market.model_copy(update={"rate": 0.0, "spot": forward})
        undiscounted = model_price(claim, free, short).price[0, 0]
        price = float(undiscounted) * math.exp(-market.rate * 0.5)
        assert float(first.price[0, 0]) == pytest.approx(price, abs=1e-5)
    h, own = 1e-5, slow.own
    assert own.clock is not None
    start = torch.zeros_like(own.times)
    start[0] = 1.0
    late = type(own)(
        **vars(own) | {"times": own.times + h * start, "clock": own.clock + h / 2 * start}
    )
    later = model_price(claim, market, Terms(**vars(slow) | {"paths": late}))
    decay = (later.price - first.price)[0, 0] / h
    assert float(first.theta[0, 0]) == pytest.approx(float(decay), rel=1e-3)


def test_premiums_are_priced() -> None:
    """Jumps that come more often under the pricing measure, and dearer variance, cost more."""
    claim = Put(strike=90.0)
    for fair, dear in (
        (Merton(), Merton(jump_premium=1.0)),
        (Heston(), Heston(variance_premium=-1.0)),
    ):
        prices = [model_price(claim, m, terms_of(m, 10)).price[0, 0] for m in (fair, dear)]
        assert float(prices[1]) > float(prices[0]) + 0.02


@pytest.mark.parametrize("spot", [1e-9, 1e12])
@each_market
def test_finite_for_zero_and_huge_spots(market: Market, spot: float) -> None:
    terms = terms_of(market, 20, steps=2)
    own, shift = terms.own, math.log(spot / 100)
    paths = type(own)(
        **vars(own) | {"log_spot": own.log_spot + shift, "spot": own.spot * spot / 100}
    )
    for claim in CLAIMS.values():
        found = model_price(claim, market, Terms(**vars(terms) | {"paths": paths}))
        for name in ("price", "delta", "gamma", "vega", "theta"):
            assert getattr(found, name).isfinite().all(), name


@pytest.mark.slow
def test_zero_variance_is_priced() -> None:
    market = Heston(variance=0.0, theta=0.0, rate=0.05)
    found = model_price(Call(strike=100.0), market, terms_of(market, 20))
    assert float(found.price[0, 0]) == pytest.approx(100 - 100 * math.exp(-0.05 * 0.25), abs=1e-4)
    assert found.gamma.isfinite().all()


def test_pairs_without_a_model_price_are_refused() -> None:
    class Odd(Claim):
        def payoff(self, path: Path) -> Tensor:
            return path.spot[-1]

    terms = terms_of(Heston(), 5)
    with pytest.raises(TypeError, match="Odd has no price in the model of Heston"):
        model_price(Odd(), Heston(), terms)
    with pytest.raises(TypeError, match="Call has no price in the model of RoughBergomi: "):
        model_price(Call(strike=100.0), RoughBergomi(), terms)


def test_a_prepaid_forward_is_the_share_less_its_dividends_in_every_model() -> None:
    scenario = load_scenario(
        "heston-call",
        {
            "market.dividend": "0.03",
            "position.legs": "[{quantity: 2, claim: {kind: prepaid-forward}}]",
        },
    )
    for kind in ("model", "market-vol"):
        one = changed(scenario, {"marking": {"kind": kind}})
        episodes = simulate(one, 50, torch.Generator().manual_seed(0))
        left = (episodes.times[-1] - episodes.times)[:-1]
        wanted = 2 * episodes.spot[:-1] * torch.exp(-0.03 * left)
        torch.testing.assert_close(episodes.mark[:-1], wanted)
        torch.testing.assert_close(episodes.delta[:-1], wanted / episodes.spot[:-1])
        torch.testing.assert_close(episodes.theta[:-1], 0.03 * wanted)
        torch.testing.assert_close(episodes.cash_flow[-1], 2 * episodes.spot[-1])
