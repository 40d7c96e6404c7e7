"""The single environment: one path at a time, in plain floats."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from .learning import LearningProblem
from .ledger import Account
from .namespace import SCALAR
from .scenario import Scenario
from .stream import EpisodeStream
from .variation import Variation
from .view import View

Observation = NDArray[np.float32]


class HedgingEnv(gym.Env[Observation, Any]):
    """Hedge an options position, one decision date at a time.

    ## Description
    A position (a book of options, usually short) has been taken on for a premium. At every decision
    date the agent chooses holdings of the hedge instruments, pays the cost of trading to them and
    holds them until the next date. The scenario fixes market, position, costs, limits, objective.

    ## Action space
    `Box(-1, 1)` with the numbers of the view's action map for every instrument, or `Discrete`.

    | map | numbers | meaning |
    |---|---|---|
    | band (default) | 2 | lower and upper edge around the delta-neutral holding |
    | target | 1 | the holding as a fraction of its bounds |
    | trade | 1 | the trade |
    | residual | 1 | a correction to the delta-neutral holding |
    | discrete | a choice | one of a grid of any of these |

    ## Observation space
    `Box(-5, 5)` of the features in `columns`, each defined in `deephedge.envs.observation`.

    ## Rewards
    The fall of the pointwise loss of marked wealth over the money scale: its sum over an episode is
    the terminal objective up to a constant (gamma = 1). The view may choose another.

    ## Starting state
    Nothing held, the premium in cash; every episode is a fresh path.

    ## Episode end
    `terminated` at the end of the calendar, or when the marked loss reaches `loss_limit`. Never
    `truncated`.

    ## Arguments
    `scenario`: a preset's name, a YAML file or a `Scenario`; `view` replaces the scenario's own;
    `render_mode` is `ansi` (a blotter line) or `rgb_array` (a picture of the episode); `variation`
    draws aversion, costs or market anew for every group of paths.

    ## Version history
    v0: first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        scenario: str | Scenario = "short-call-jumps",
        view: View | None = None,
        render_mode: str | None = None,
        variation: Variation | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = ", ".join(self.metadata["render_modes"])
            raise ValueError(f"render_mode {render_mode!r}: choose one of {modes}")
        self.problem = LearningProblem(scenario, view, SCALAR, variation)
        self.scenario = self.problem.scenario
        self.observation_space = self.problem.observation_space  # type: ignore[assignment]
        self.action_space = self.problem.action_space
        self.render_mode = render_mode
        self._desk, self._choices = self.problem.desk, self.problem.choices
        self._width = self._desk.numbers
        self._first_own = self.problem.first_own
        self._stream: EpisodeStream | None = None
        self._t = -1
        self.history: list[dict[str, float]] = []

    @property
    def columns(self) -> list[str]:
        """The names of the observation's columns."""
        return self.problem.columns

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next episode; with ``seed``, the first of that seed's episodes."""
        super().reset(seed=seed)
        if seed is not None or self._stream is None:
            self._stream = self.problem.stream(1, int(self.np_random.integers(2**63)))
            self._episode = -1
        self._episode += 1
        self._stream.release(self._episode)
        self._tape = self._stream.single(self._episode)
        self._account = self._desk.open(self._tape)
        self._terms = self.problem.terms_of(self._tape)
        self._t, self._level = 0, self.problem.level(0.0, 0.0, self._terms)
        self._traded = self._cost = 0.0
        info = self._info(self._account, 0.0, self._account.wealth, 0.0)
        self.history = [info] if self.render_mode else []
        return self._observe(), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Trade to the holdings that the action asks for and hold them to the next date.

        Raises:
            ValueError: for an action of the wrong shape, with NaN, or not among the choices; the
                episode is as before.
        """
        if self._t < 0:
            raise gym.error.ResetNeeded("call reset before step")
        tape, t, before = self._tape, self._t, self._account
        requested = self._desk.targets(self._numbers(action), before, tape, t)
        final = t == tape.steps - 1
        dealt = self._desk.advance(before, requested, tape, t, final)
        account, entries = dealt.account, dealt.entries
        terminated = final or bool(dealt.stopped)
        cash = account.wealth if terminated else account.cash
        level = self.problem.level(account.wealth, cash, self._terms)
        books = None
        if tape.reference is not None:
            start = (before.wealth, before.cash) if t else (0.0, 0.0)
            books = self.problem.books(start, (account.wealth, cash), dealt, tape, t, terminated)
        reward = self.problem.earned(level - self._level, books, self._terms)
        self._account, self._level, self._t = account, level, t + 1
        self._tape = dealt.tape
        self._cost += entries.cost
        self._traded += entries.traded
        pnl = account.wealth - (before.wealth if t else 0.0)
        info = self._info(account, entries.cost, pnl, self._desk.clipped(dealt))
        if terminated:
            info |= {
                "total_pnl": account.wealth,
                "total_cost": self._cost,
                "turnover": self._traded / tape.spot[0],
            }
        if self.render_mode:
            self.history.append(info)
        observation = self._observe()
        if terminated:
            self._t = -1
        return observation, reward, terminated, False, info

    def _numbers(self, action: Any) -> tuple[float, ...]:
        if self._choices is not None:
            if not self.action_space.contains(action):
                raise ValueError(f"action {action!r} is not one of {len(self._choices)} choices")
            return tuple(self._choices[int(action)].tolist())
        try:
            numbers = action.tolist() if type(action) is np.ndarray else [float(x) for x in action]
            finite = all(map(math.isfinite, numbers))
        except (TypeError, ValueError):  # nested, no sequence or no numbers
            numbers = []
        if len(numbers) != self._width:
            given = f"of shape {action.shape}" if isinstance(action, np.ndarray) else repr(action)
            raise ValueError(f"action {given}: give {self._width} numbers in [-1, 1]")
        if not finite:
            raise ValueError(
                f"action {numbers} has a NaN or infinite entry: give numbers in [-1, 1]"
            )
        return tuple([-1.0 if x < -1.0 else 1.0 if x > 1.0 else x for x in numbers])

    def _observe(self) -> Observation:
        observation: Observation = self._tape.features[self._t].copy()  # type: ignore[index]
        own = self._desk.own_columns(self._account, self._tape, self._t)
        for column, value in enumerate(own, self._first_own):
            observation[column] = value
        return observation

    def _info(self, account: Account, cost: float, pnl: float, clipped: float) -> dict[str, Any]:
        t, tape = self._t, self._tape
        info = {
            "pnl": pnl,
            "cost": cost,
            "wealth": account.wealth,
            "spot": tape.spot[t],
            "holding": account.holding[self._desk.options],
            "delta": tape.delta[0][t],
            "gamma": tape.gamma[t],
            "vega": tape.vega[t],
            "clipped": clipped,
        }
        for k, key in self._desk.further_holdings:
            info[key] = account.holding[k]
        return info

    def render(self) -> Any:
        """The blotter line (``ansi``) or a picture of the episode so far (``rgb_array``)."""
        from .render import blotter, picture

        if self.render_mode is None or not self.history:
            return None
        if self.render_mode == "ansi":
            return blotter(self.history, self.scenario)
        return picture(self.history, self.scenario)
