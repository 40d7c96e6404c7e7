"""A hedger that was made for one scenario at work in another: it sees everything as at home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..envs import Episodes, Hedger, Known, Scenario, mark
from ..envs.hedger import Observations
from ..envs.markets import MarketPaths
from ..envs.namespace import X
from ..envs.tape import Tape

Floats = NDArray[np.float64]


def at_home(home: Scenario, away: Scenario) -> Scenario:
    """What someone believes who was made for ``home`` and hedges the deal of ``away``.

    The deal is a fact: position and calendar are those of ``away``. All else is belief: market,
    marking, costs, frictions and objective are those of ``home``, and with them the scales of what
    a policy sees.

    Raises:
        ValueError: where the two trade other instruments or start at other prices, or where trades
            move the market for good.
    """
    pair = f"from {home.name!r} to {away.name!r}"
    if [h.instrument for h in home.hedges] != [h.instrument for h in away.hedges]:
        raise ValueError(f"{pair}: they trade other instruments: give them the same hedges")
    if home.market.spots != away.market.spots:
        raise ValueError(
            f"{pair}: prices start at {home.market.spots} and at {away.market.spots}: give them "
            "the same market.spot"
        )
    if home.moves_prices or away.moves_prices:
        raise ValueError(f"{pair}: a permanent impact marks the market anew: leave it out")
    if (home.position, home.calendar) == (away.position, away.calendar):
        return home
    deal = {"position": away.position, "calendar": away.calendar}
    return Scenario.model_validate(dict(home) | deal)


class HomeView:
    """A batch of episodes of one scenario as the believer of another one sees it.

    Prices, quoted vols, holdings and trades are what they are. Marks, Greeks and the scales of
    features are those of ``home``, as `at_home` gives it, on the same prices; so is the P&L so far,
    which counts the premium and the marks of ``home``. ``orders`` is the generator from which the
    batch's client orders were drawn, as it was before.
    """

    def __init__(
        self, home: Scenario, paths: MarketPaths, episodes: Episodes, orders: torch.Generator
    ) -> None:
        try:
            believed = mark(home, paths, orders, episodes.frictions)
        except KeyError as error:
            raise ValueError(
                f"the marking of {home.name!r} needs {error}, which the market does not show: "
                "choose another marking"
            ) from None
        tape = Tape.of(believed)
        self._known = Known(home, believed.numpy(), tape, Observations(believed, True))
        self._cash = _premium(believed) - _premium(episodes)
        self._books = self._cash + (believed.numpy().mark - episodes.numpy().mark)

    def at(self, known: Known) -> Known:
        """What is known at the present date, seen from home."""
        t, account = known.t, known.account
        books = account._replace(
            cash=account.cash + self._cash[t], wealth=account.wealth + self._books[t]
        )
        return self._known._at(t, books)


@dataclass(frozen=True)
class FromHome:
    """A hedger that looks at the market through a `HomeView`.

    Attributes:
        name: of the hedger in this place.
        hedger: what was made for the view's home.
        view: of the batch that is hedged.

    Evidence: tests/experiments/test_transfer.py (at home it is the hedger itself, bit for bit; a
    delta hedger from a vol is the delta hedge at that vol; a policy sees the scales of home).
    """

    name: str
    hedger: Hedger
    view: HomeView

    def start(self, n: int) -> Any:
        """The hedger's."""
        return self.hedger.start(n)

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """The hedger's, of what it believes it sees."""
        return self.hedger.act(self.view.at(known), state)


def _premium(episodes: Episodes) -> Floats:
    """The premium with the interest on it, money ``[T+1, N]``."""
    arrays = episodes.numpy()
    premium = np.broadcast_to(arrays.premium, (arrays.steps + 1, arrays.paths))
    if arrays.growth is None:
        return np.array(premium)
    factor = np.cumprod(1.0 + np.asarray(arrays.growth), axis=0)
    return np.concatenate([premium[:1], premium[1:] * factor])
