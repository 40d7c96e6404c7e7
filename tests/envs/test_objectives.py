"""Objectives: their laws, their minimum forms, their exactness and their one arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import optimize

from deephedge.envs.namespace import NUMPY, SCALAR, TORCH
from deephedge.envs.objectives import (
    CVaR,
    Entropic,
    Expectile,
    MeanStd,
    MeanVariance,
    Objective,
    Quadratic,
    RootMeanSquare,
    SemiQuadratic,
    VaR,
)
from deephedge.envs.part import Part
from deephedge.envs.sample import Losses
from deephedge.envs.shortfall import Shortfall

MONOTONE, CONVEX, CASH, HOMOGENEOUS = "monotone", "convex", "cash-invariant", "homogeneous"
LAWS: dict[Objective, set[str]] = {
    Entropic(aversion=0.7): {MONOTONE, CONVEX, CASH},
    CVaR(level=0.93): {MONOTONE, CONVEX, CASH, HOMOGENEOUS},
    MeanStd(weight=1.5): {CONVEX, CASH, HOMOGENEOUS},
    MeanVariance(aversion=0.7): {CONVEX, CASH},
    Quadratic(): {CONVEX, HOMOGENEOUS},
    SemiQuadratic(): {MONOTONE, CONVEX, HOMOGENEOUS},
    Expectile(level=0.9): {MONOTONE, CONVEX, CASH, HOMOGENEOUS},
    VaR(level=0.93): {MONOTONE, CASH, HOMOGENEOUS},
    Shortfall(threshold=2.0, weight=3.0): {MONOTONE, CONVEX},
}
ALL = list(LAWS)
TRAINABLE = [objective for objective in ALL if objective.trainable]
MINIMA = [objective for objective in ALL if type(objective) in (Entropic, CVaR, MeanVariance)]


class Held(Part):
    objective: Objective


def by_kind(objective: Objective) -> str:
    return type(objective).__name__


def losses_of(seed: int, n: int = 61, scale: float = 1.0) -> Losses:
    rng = np.random.default_rng(seed)
    return scale * rng.standard_t(4, n) + rng.normal()


def violation(law: str, objective: Objective, seed: int) -> float:
    """By how much one random case breaks the law; at most rounding where the law holds."""
    rng = np.random.default_rng(seed)
    x, y, cash = losses_of(seed), losses_of(seed + 10_000), rng.normal()
    rho: Callable[[Losses], float] = objective.risk
    if law == MONOTONE:
        spike = rng.exponential(9.0, 61) * (np.arange(61) == rng.integers(61))
        return rho(x - spike - rng.exponential(0.01, 61)) - rho(x)
    if law == CONVEX:
        return rho(0.3 * x + 0.7 * y) - 0.3 * rho(x) - 0.7 * rho(y)
    if law == CASH:
        return abs(rho(x + cash) - rho(x) - cash)
    return abs(rho(3.0 * x) - 3.0 * rho(x))


@pytest.mark.parametrize("law", [MONOTONE, CONVEX, CASH, HOMOGENEOUS])
@pytest.mark.parametrize("objective", ALL, ids=by_kind)
def test_obeys_exactly_its_laws(objective: Objective, law: str) -> None:
    worst = max(violation(law, objective, seed) for seed in range(200))
    if law in LAWS[objective]:
        assert worst < 1e-12
    else:
        assert worst > 1e-2


@pytest.mark.parametrize("objective", [Quadratic(), SemiQuadratic()], ids=by_kind)
def test_roots_move_by_at_most_the_cash(objective: Objective) -> None:
    losses = losses_of(1)
    for cash in (0.5, 3.0):
        assert 0.0 < abs(objective.risk(losses + cash) - objective.risk(losses)) < cash


def test_values_by_hand() -> None:
    losses = np.array([4.0, -2.0, 1.0, 3.0, -1.0])  # mean 1, variance 26 / 5
    assert MeanStd(weight=2.0).risk(losses) == pytest.approx(1.0 + 2.0 * math.sqrt(5.2))
    assert MeanVariance(aversion=0.5).risk(losses) == pytest.approx(1.0 + 0.25 * 5.2)
    # 4 and 3 are 1.5 and 0.5 beyond 2.5
    assert Shortfall(threshold=2.5, weight=10.0).risk(losses) == pytest.approx(1.0 + 10 * 2.0 / 5)
    assert Quadratic().risk(losses) == pytest.approx(math.sqrt(31 / 5))
    assert SemiQuadratic().risk(losses) == pytest.approx(math.sqrt(26 / 5))
    assert VaR(level=0.6).risk(losses) == 1.0  # 3 of 5 losses are at most 1
    assert VaR(level=0.61).risk(losses) == 3.0
    assert CVaR(level=0.6).risk(losses) == pytest.approx(3.5)
    assert CVaR(level=0.7).risk(losses) == pytest.approx((4.0 + 0.5 * 3.0) / 1.5)
    # 3 (4 - e) + 3 (3 - e) = (e - 1) + (e + 1) + (e + 2) in between 1 and 3: 9 e = 19
    assert Expectile(level=0.75).risk(losses) == pytest.approx(19 / 9)
    assert Entropic(aversion=2.0).risk(losses) == pytest.approx(
        0.5 * math.log(sum(math.exp(2.0 * x) for x in losses) / 5)
    )


@pytest.mark.parametrize("objective", MINIMA, ids=by_kind)
def test_risk_is_the_minimum_over_one_theta(objective: Objective) -> None:
    losses = losses_of(2, n=201)  # 201 * 0.93 is not whole, else CVaR has many thetas

    def mean(theta: float) -> float:
        return float(objective.pointwise(losses, (theta,), NUMPY).mean())

    found = optimize.minimize_scalar(
        mean,
        bounds=(-20.0, 20.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert objective.risk(losses) == pytest.approx(found.fun, abs=1e-8)
    assert objective.theta(losses)[0] == pytest.approx(found.x, abs=1e-5)


def test_mean_std_is_the_minimum_over_centre_and_scale() -> None:
    objective, losses = MeanStd(weight=1.5), losses_of(2, n=200)

    def mean(theta: Losses) -> float:
        return float(objective.pointwise(losses, (theta[0], math.exp(theta[1])), NUMPY).mean())

    found = optimize.minimize(mean, x0=np.zeros(2), tol=1e-10)
    centre, scale = objective.theta(losses)
    assert objective.risk(losses) == pytest.approx(found.fun, abs=1e-8)
    assert centre == pytest.approx(found.x[0], abs=1e-4)
    assert scale == pytest.approx(math.exp(found.x[1]), abs=1e-4)


@pytest.mark.parametrize("objective", TRAINABLE, ids=by_kind)
def test_mean_pointwise_loss_at_its_theta_is_the_risk(objective: Objective) -> None:
    losses = losses_of(3, n=500)
    mean = objective.pointwise(losses, objective.theta(losses), NUMPY).mean()
    risk = objective.risk(losses)
    rooted = isinstance(objective, RootMeanSquare)
    assert mean == pytest.approx(risk**2 if rooted else risk, rel=1e-12)


@pytest.mark.parametrize("level", [0.51, 0.9, 0.999])
@pytest.mark.parametrize("centre", [0.0, 1e6])
def test_expectile_is_the_root_of_its_condition(level: float, centre: float) -> None:
    losses = centre + losses_of(4, n=333)
    root = Expectile(level=level).risk(losses)

    def condition(e: float) -> float:
        up, down = np.maximum(losses - e, 0.0).mean(), np.maximum(e - losses, 0.0).mean()
        return float(level * up - (1.0 - level) * down)

    found = optimize.brentq(condition, losses.min(), losses.max(), xtol=1e-13, rtol=1e-15)
    assert root - centre == pytest.approx(found - centre, abs=1e-12 * max(centre, 1.0))
    assert Expectile(level=level).risk(np.full(3, centre + 1.0)) == centre + 1.0


def test_expectile_is_below_theta_exactly_where_the_mean_loss_is() -> None:
    objective, losses = Expectile(level=0.9), losses_of(5)
    risk = objective.risk(losses)
    for theta in (risk - 2.0, risk - 1e-6, risk + 1e-6, risk + 2.0):
        mean = objective.pointwise(losses, (theta,), NUMPY).mean()
        assert (mean <= theta) == (risk <= theta)


@pytest.mark.parametrize("n", [1, 7, 61, 100])
@pytest.mark.parametrize("level", ["0.05", "0.5", "0.93", "0.95", "0.975"])
def test_cvar_is_the_integral_of_the_quantiles(level: str, n: int) -> None:
    losses, exact = losses_of(6, n=n), Fraction(level)
    integral = Fraction(0)
    for i, loss in enumerate(np.sort(losses)):  # q(u) = loss on (i / n, (i + 1) / n]
        width = Fraction(i + 1, n) - max(Fraction(i, n), exact)
        integral += Fraction(float(loss)) * max(width, Fraction(0))
    cvar = CVaR(level=float(level)).risk(losses)
    assert cvar == pytest.approx(float(integral / (1 - exact)), rel=1e-13)


def test_cvar_and_var_with_ties() -> None:
    losses = np.array([0.0, 2.0, 2.0, 2.0, 5.0])
    assert VaR(level=0.5).risk(losses) == 2.0
    assert CVaR(level=0.5).risk(losses) == pytest.approx((5.0 + 1.5 * 2.0) / 2.5)


@pytest.mark.parametrize("level", [k / 100 for k in range(1, 100)])
def test_var_reads_its_level_as_the_decimal_written(level: float) -> None:
    # 100 * 0.07 in floats is above 7: the eighth loss would be wrong.
    losses = np.random.default_rng(7).permutation(np.arange(1.0, 101.0))
    assert VaR(level=level).risk(losses) == round(100 * level)


@pytest.mark.parametrize("scale", [1e3, 1e6])
@pytest.mark.parametrize("objective", ALL, ids=by_kind)
def test_huge_losses_and_gains_stay_finite(objective: Objective, scale: float) -> None:
    losses = np.array([-scale, 0.0, scale])
    risk = objective.risk(losses)
    assert math.isfinite(risk) and 0.0 <= risk <= scale * scale
    assert np.isfinite(objective.theta(losses)).all()
    assert np.isfinite(objective.influence(losses)).all()
    if objective.trainable:
        # Theta from a sample that knew nothing of such losses.
        theta = objective.theta(np.array([-0.1, 0.0, 0.1]))
        for x in (losses, -losses):
            assert np.isfinite(objective.pointwise(x, theta, NUMPY)).all()


def test_entropic_of_huge_losses_is_right() -> None:
    objective = Entropic(aversion=1.0)
    for scale in (1e3, 1e5):
        risk = objective.risk(np.array([-scale, scale]))
        assert risk == pytest.approx(scale - math.log(2.0), rel=1e-15)
        assert objective.risk(np.full(4, -scale)) == -scale


def test_entropic_of_small_aversion_is_mean_variance() -> None:
    losses = losses_of(8, n=400)
    entropic = Entropic(aversion=1e-7).risk(losses)
    assert entropic == pytest.approx(MeanVariance(aversion=1e-7).risk(losses), abs=1e-12)


def test_entropic_tangent_continues_value_and_slope() -> None:
    objective = Entropic(aversion=2.0)
    edge = 30.0  # aversion * edge = 60
    below, at, above = (objective.pointwise(edge + x, (0.0,), SCALAR) for x in (-1e-6, 0.0, 1e-6))
    assert (above - at) == pytest.approx(at - below, rel=1e-5)
    assert (above - at) / 1e-6 == pytest.approx(math.exp(60.0), rel=1e-5)


@pytest.mark.parametrize("objective", TRAINABLE, ids=by_kind)
def test_scalar_and_numpy_agree_bit_for_bit(objective: Objective) -> None:
    rng = np.random.default_rng(9)
    losses = np.concatenate([losses_of(9, n=1000), rng.normal(0, 1e3, 1000), [0.0, -0.0, 1e6]])
    theta = objective.theta(losses_of(10))
    whole = objective.pointwise(losses, theta, NUMPY)
    single = [objective.pointwise(float(x), theta, SCALAR) for x in losses]
    assert all(type(x) is float for x in single)
    assert np.array_equal(whole, np.array(single))


@pytest.mark.parametrize("objective", TRAINABLE, ids=by_kind)
def test_torch_agrees_and_its_gradient_is_the_slope(objective: Objective) -> None:
    losses, theta = losses_of(11), objective.theta(losses_of(12))
    tensor = torch.tensor(losses, requires_grad=True)
    loss = objective.pointwise(tensor, theta, TORCH)
    np.testing.assert_allclose(
        loss.detach().numpy(), objective.pointwise(losses, theta, NUMPY), rtol=1e-14, atol=1e-14
    )
    loss.sum().backward()
    assert tensor.grad is not None
    bump = 1e-6
    up, down = (objective.pointwise(losses + d, theta, NUMPY) for d in (bump, -bump))
    np.testing.assert_allclose(tensor.grad.numpy(), (up - down) / (2 * bump), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("objective", TRAINABLE, ids=by_kind)
def test_gradients_of_huge_losses_are_finite_and_pull(
    objective: Objective, dtype: torch.dtype
) -> None:
    losses = torch.tensor([-1e3, 0.0, 1e3], dtype=dtype, requires_grad=True)
    theta = objective.theta(np.array([-1.0, 0.0, 1.0]))
    objective.pointwise(losses, theta, TORCH).sum().backward()
    assert losses.grad is not None and bool(torch.isfinite(losses.grad).all())
    assert losses.grad[2] > 0.0


SMOOTH = [objective for objective in ALL if not isinstance(objective, VaR)]


@pytest.mark.parametrize("objective", SMOOTH, ids=by_kind)
def test_influence_is_the_risk_of_a_little_more_weight(objective: Objective) -> None:
    losses, copies = losses_of(13, n=40), 500
    influence = objective.influence(losses)
    assert influence.mean() == pytest.approx(0.0, abs=1e-12)
    many = np.tile(losses, copies)
    base = objective.risk(many)
    slopes = [(objective.risk(np.append(many, x)) - base) * (len(many) + 1) for x in losses]
    # Second order: the square of an influence over the sample's size, with room for curvature.
    slack = 20.0 * np.max(influence**2) / len(many)
    np.testing.assert_allclose(influence, slopes, rtol=1e-3, atol=slack)


def test_influence_of_var_is_the_quantiles() -> None:
    # Uniform on (0, 1): density 1, so the influence is (1{L > q} - (1 - level)).
    losses = np.random.default_rng(14).random(200_000)
    influence = VaR(level=0.9).influence(losses)
    below, above = influence[losses <= 0.89], influence[losses >= 0.91]
    # The slope of m = 2 * 2 * 134 spacings has a relative standard error of 1 / sqrt(m) = 4.3 %.
    assert below.max() == pytest.approx(-0.1, rel=0.15)
    assert above.min() == pytest.approx(0.9, rel=0.15)


@pytest.mark.parametrize("objective", ALL, ids=by_kind)
def test_losses_that_do_not_vary(objective: Objective) -> None:
    losses = np.full(5, 2.0)
    expected = 2.0
    assert objective.risk(losses) == expected
    assert np.array_equal(objective.influence(losses), np.zeros(5))
    assert np.array_equal(objective.influence(np.zeros(5)), np.zeros(5))
    if isinstance(objective, MeanStd):
        assert objective.theta(losses)[1] > 0.0


def test_one_heavy_path_is_noticed() -> None:
    objective = Entropic(aversion=1.0)
    losses = np.append(np.zeros(999), math.log(999.0))  # e^L: 999 times 1, once 999
    assert objective.largest_weight(losses) == pytest.approx(0.5)
    assert objective.caution(losses) is not None and "50 %" in str(objective.caution(losses))
    assert objective.largest_weight(np.zeros(1000)) == pytest.approx(1e-3)
    assert objective.caution(np.zeros(1000)) is None
    assert objective.largest_weight(np.array([1e4, -1e4])) == 1.0


def test_a_thin_tail_is_noticed() -> None:
    objective = CVaR(level=0.95)
    assert objective.caution(losses_of(15, n=100)) is None  # 5 beyond
    assert "4 of 99" in str(objective.caution(losses_of(15, n=99)))


def test_few_paths_below_the_floor_are_noticed() -> None:
    objective = Shortfall(threshold=1.0, weight=2.0)
    assert objective.caution(np.zeros(99)) is None  # none falls below it
    assert objective.caution(np.append(np.zeros(99), np.full(5, 2.0))) is None
    assert "4 of 103" in str(objective.caution(np.append(np.zeros(99), np.full(4, 2.0))))


def test_var_cannot_be_trained_on() -> None:
    assert not VaR(level=0.9).trainable
    with pytest.raises(ValueError, match=r"cvar, level: 0\.9"):
        VaR(level=0.9).pointwise(1.0, (), SCALAR)


def test_only_entropic_needs_no_pnl() -> None:
    assert [by_kind(objective) for objective in ALL if not objective.needs_pnl] == ["Entropic"]


@pytest.mark.parametrize("objective", ALL, ids=by_kind)
@pytest.mark.parametrize(
    ("losses", "match"),
    [([], "non-empty"), ([[1.0]], "shape"), ([1.0, math.nan, math.inf], "2 of 3")],
)
def test_bad_samples_are_refused(objective: Objective, losses: list[float], match: str) -> None:
    for method in (objective.risk, objective.influence):
        with pytest.raises(ValueError, match=match):
            method(np.array(losses))


@pytest.mark.parametrize("objective", ALL, ids=by_kind)
def test_survives_the_tagged_union(objective: Objective) -> None:
    data = objective.model_dump()
    assert Held.model_validate({"objective": data}).objective == objective
    assert Objective.kinds[data["kind"]] is type(objective)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "entropic", "aversion": 0.0},
        {"kind": "entropic", "aversion": math.nan},
        {"kind": "cvar", "level": 1.0},
        {"kind": "cvar", "level": 95},
        {"kind": "mean-std", "weight": -0.1},
        {"kind": "mean-variance", "aversion": -1.0},
        {"kind": "expectile", "level": 0.5},
        {"kind": "var", "level": 0.0},
        {"kind": "shortfall", "threshold": 20.0, "weight": 0.0},
        {"kind": "quadratic", "level": 0.5},
        {"kind": "entropy", "aversion": 1.0},
    ],
    ids=str,
)
def test_impossible_parameters_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"^1 validation error for Held\nobjective"):
        Held.model_validate({"objective": data})


def test_labels() -> None:
    assert [objective.label for objective in ALL] == [
        "entropic risk (aversion 0.7)",
        "CVaR 93 %",
        "mean + 1.5 std",
        "mean-variance (aversion 0.7)",
        "quadratic risk",
        "semi-quadratic risk",
        "expectile 90 %",
        "VaR 93 %",
        "mean + 3 shortfall beyond 2",
    ]
    assert CVaR(level=0.975).label == "CVaR 97.5 %"
