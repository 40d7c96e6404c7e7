"""The put overlay: a holding of the asset insured with puts that are rolled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..envs.hedger import Known, stack
from ..envs.instruments import RolledOption
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline
from .rule_inputs import no_asset_held, soon


class PutOverlayHedge(Baseline):
    """Buys puts whenever the rolled put is listed anew and keeps them to expiry.

    ``ratio`` puts for each share, or as many as ``budget`` pays for, a share of the holding's value
    each time. With ``monetise`` they are sold once their price has reached that many times what
    they cost; the money stays in cash until the next listing. The asset itself is kept.
    Source: Cboe, "PPUT index methodology" (one 5 % out-of-the-money put a share, each month).
    Evidence: tests/baselines/test_put_overlay.py.
    """

    kind: Literal["put-overlay"] = "put-overlay"
    ratio: Annotated[float, Field(gt=0)] = 1.0
    budget: Annotated[float, Field(gt=0)] | None = None
    monetise: Annotated[float, Field(gt=1)] | None = None

    @field_validator("budget")
    @classmethod
    def _one_of_them(cls, budget: float | None, info: ValidationInfo) -> float | None:
        ratio = info.data.get("ratio", 1.0)
        if budget is not None and ratio != 1.0:
            raise PydanticCustomError(
                "both", "with ratio {ratio} too: give one of them", {"ratio": ratio}
            )
        return budget

    def refusal(self, scenario: Scenario) -> str | None:
        """For a holding of the asset and a rolled put on it."""
        reason = no_asset_held(scenario)
        if reason is None and _put(scenario) is None:
            return (
                "the scenario has no put to roll: list a rolled-option with option: put in hedges"
            )
        return reason

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """Each of the three."""
        return {"ratio": (0.02, 2.0), "budget": (1e-4, 0.02), "monetise": (1.2, 50.0)}

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """The puts of the last listing, none of them once they are sold; no underlying."""
        found = _put(known.scenario)
        assert found is not None
        k, tenor = found
        price, now = known.price[:, k], float(known.time[0])
        if state is None or now > state[0] + tenor - soon(known):
            state = now, self._bought(known, price), price, price < 0.0
        listed, units, cost, sold = state
        if self.monetise is not None:
            sold = sold | (price >= self.monetise * cost)
        nothing = 0.0 * price
        columns = [nothing] * known.contract.instruments
        columns[k] = known.ops.where(sold, nothing, units)
        return stack(tuple(columns)), (listed, units, cost, sold)

    def _bought(self, known: Known, price: X) -> X:
        size = known.contract.size
        if self.budget is None:
            return self.ratio * size + 0.0 * price
        return self.budget * size * known.spot / price


def _put(scenario: Scenario) -> tuple[int, float] | None:
    """The first rolled put on the first asset and its tenor."""
    for k, hedge in enumerate(scenario.hedges):
        put = hedge.instrument
        if isinstance(put, RolledOption) and put.option == "put" and put.asset == 0:
            return k, put.tenor
    return None
