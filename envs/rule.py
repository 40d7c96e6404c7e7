"""A rule: a hedger that is a part of a description, such as what a policy's action starts from."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from .namespace import X
from .part import Kind


class Rule(Kind):
    """A `Hedger` whose options are checked like any part's; the baselines are its kinds.

    They register themselves, so that here a description may name one without knowing any.
    """

    sees_pnl: ClassVar[bool] = False  # whether its holdings depend on the P&L so far

    @property
    @abstractmethod
    def name(self) -> str:
        """As the command line spells it."""

    def refusal(self, scenario: Any) -> str | None:
        """Why the rule does not fit the scenario, with the mend; null where it does."""
        return None

    def waits(self, scenario: Any) -> bool:
        """Whether it waits outside the region that it trades to, as under a fee for every trade."""
        return False

    @abstractmethod
    def start(self, n: int) -> Any:
        """The state before the first decision on ``n`` paths."""

    @abstractmethod
    def act(self, known: Any, state: Any) -> tuple[X, Any]:
        """Target holdings ``[N, K]`` over (t, t+1], and the next state."""
